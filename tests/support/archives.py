"""Archives of back-ups, valid and invalid."""

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
    """Return an SQLite database with the tables that a restore checks."""
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
    entries = {
        name: {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()} for name, content in files.items()
    }
    return json.dumps({"format": FORMAT, "made_at": "2026-11-27T20:00:00.000Z", "files": entries, **fields}).encode()


def member(name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = "") -> Member:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = len(content), kind, link
    return info, content


def archive(*members: Member) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as file:
        for info, content in members:
            file.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def whole(files: Files, **fields: object) -> bytes:
    """Return a valid archive of the files."""
    members = [member(name, content) for name, content in files.items()]
    return archive(*members, member(MANIFEST, manifest(files, **fields)))
