"""Small JSON files of pushes, each replaced by one rename, in a folder that only this user may open.

Some names of files there are permissions to upload or to download.
"""

from __future__ import annotations

import fcntl
import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from management.domain.bento_tag import StoredKind, Tag, is_tag
from management.packaging import bounded_yaml
from management.packaging.build import BentoHome
from management.packaging.pushes.refusals import InvalidTag, TooLong

FOLDER: Final = ".pushes"
"""Folder of pushes in the BentoML home."""
MAX_BYTES: Final = 1024 * 1024
"""Bytes of the longest record."""
_LOCK: Final = "lock"


def folder_of(home: BentoHome, *parts: str) -> Path:
    """Return a folder for pushes in the BentoML home; it is made where it is missing."""
    root = home.home / FOLDER
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder = root.joinpath(*parts)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def locked(home: BentoHome) -> Iterator[None]:
    """Hold the lock of all records, for as long as it takes to read and write one."""
    with (folder_of(home) / _LOCK).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def write(file: Path, content: Mapping[str, Any]) -> None:
    """Replace the file, whose folder exists, with what JSON can carry of the content. Raises TooLong and OSError."""
    text = text_of(content)
    new = file.with_name(f".{secrets.token_hex(8)}")
    try:
        new.write_text(text, encoding="ascii")
        new.rename(file)
    finally:
        new.unlink(missing_ok=True)


def text_of(content: Mapping[str, Any]) -> str:
    """Return what JSON can carry of the content. Raises TooLong."""
    try:
        text = json.dumps(bounded_yaml.plain(content))
    except RecursionError:
        raise TooLong from None
    if len(text) > MAX_BYTES:
        raise TooLong
    return text


def read(file: Path) -> dict[str, Any] | None:
    """Return the content of a file; None where there is none, or it cannot be read."""
    try:
        if file.stat().st_size > MAX_BYTES:
            return None
        content = json.loads(file.read_text(encoding="ascii"))
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def address(kind: StoredKind, tag: Tag) -> dict[str, str]:
    """Return what a record says of whom it is about. Raises InvalidTag."""
    if not is_tag(tag):
        raise InvalidTag
    return {"kind": kind.value, "name": tag.name, "version": tag.version}


def addressed(content: Mapping[str, Any] | None) -> tuple[StoredKind, Tag] | None:
    """Return whom a record is about; None for one that does not say it."""
    if content is None:
        return None
    try:
        kind, tag = StoredKind(content["kind"]), Tag(str(content["name"]), str(content["version"]))
    except (KeyError, ValueError):
        return None
    return (kind, tag) if is_tag(tag) else None


def age(path: Path, now: float) -> float:
    """Return the seconds since a file or folder was last changed; 0 when it has just gone."""
    try:
        return now - path.stat().st_mtime
    except OSError:
        return 0.0
