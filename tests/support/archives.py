"""Archives of back-ups, as they should be and as they should not."""

from __future__ import annotations

import hashlib
import io
import json
import sqlite3
import tarfile

from management.backup.archive import FORMAT, MANIFEST

Files = dict[str, bytes]
Member = tuple[tarfile.TarInfo, bytes]

MODEL = "store/models/weights/1.0.0/model.yaml"


def database(keys: int = 0, version: str = "0001") -> bytes:
    """An SQLite database with what a restore looks for."""
    connection = sqlite3.connect(":memory:")
    connection.executescript(
        f"CREATE TABLE alembic_version (version_num TEXT); INSERT INTO alembic_version VALUES ('{version}');"
        "CREATE TABLE leases (held_until REAL); CREATE TABLE keys (id INTEGER);"
    )
    connection.executemany("INSERT INTO keys VALUES (?)", [(number,) for number in range(keys)])
    connection.commit()
    content = connection.serialize()
    connection.close()
    return content


def manifest(files: Files, **fields: object) -> bytes:
    told = {name: {"size": len(one), "sha256": hashlib.sha256(one).hexdigest()} for name, one in files.items()}
    return json.dumps({"format": FORMAT, "made_at": "2026-11-27T20:00:00.000Z", "files": told, **fields}).encode()


def member(name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = "") -> Member:
    made = tarfile.TarInfo(name)
    made.size, made.type, made.linkname = len(content), kind, link
    return made, content


def archive(*members: Member) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as made:
        for about, content in members:
            made.addfile(about, io.BytesIO(content))
    return packed.getvalue()


def whole(files: Files, **fields: object) -> bytes:
    """An archive as it should be."""
    members = [member(name, content) for name, content in files.items()]
    return archive(*members, member(MANIFEST, manifest(files, **fields)))
