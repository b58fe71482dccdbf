"""The digest of a Bento's or a model's content: of the paths, the contents and the execute bits of its files.

Neither times nor owners count, nor what Python compiles beside the sources while a replica runs.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

COMPILED: Final = "__pycache__"
"""Folders with what Python compiled; they are no content."""
MODELS: Final = "models"
"""Folder of an exported Bento with its models, which are kept in the model store."""
CONTENT_DIGEST: Final = "atelier.content"
"""File in a Bento with the digest of its content, where the Bento came in by an archive."""
_PIECE_BYTES: Final = 1024 * 1024


@dataclass(frozen=True)
class Entry:
    """A file of a tree."""

    path: str
    """Relative to the tree, by ``/``."""
    is_executable: bool
    sha256: str


def digest_of(entries: Iterable[Entry]) -> str:
    """Return the digest of a tree with these files, in any order."""
    total = hashlib.sha256()
    for entry in sorted(entries, key=lambda entry: entry.path):
        total.update(f"{entry.path}\0{int(entry.is_executable)}\0{entry.sha256}\n".encode("utf-8", "surrogateescape"))
    return total.hexdigest()


def digest_of_bento(folder: Path) -> str:
    """Return the digest of a Bento in a store, as it is noted there, or of its files."""
    try:
        return (folder / CONTENT_DIGEST).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return digest_of(entry for entry in entries_of(folder) if is_content(entry.path))


def is_content(path: str) -> bool:
    """Return whether a path in a Bento is part of its content."""
    parts = path.split("/")
    return COMPILED not in parts and parts[0] not in (MODELS, CONTENT_DIGEST)


def entries_of(folder: Path) -> Iterator[Entry]:
    """Yield the files of a folder, without links."""
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != COMPILED]
        for file in (Path(place) / name for name in names):
            if file.is_file() and not file.is_symlink():
                executable = bool(file.stat().st_mode & 0o111)
                yield Entry(file.relative_to(folder).as_posix(), executable, _sha256(file))


def _sha256(file: Path) -> str:
    total = hashlib.sha256()
    with file.open("rb") as content:
        while piece := content.read(_PIECE_BYTES):
            total.update(piece)
    return total.hexdigest()
