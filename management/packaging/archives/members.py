"""What an archive holds, one member after the other, be it a tar or a ZIP archive."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from management.packaging.archives.refusals import ArchiveRefused

MAX_PATH_BYTES: Final = 1024
"""Bytes of the longest path in an archive."""
MAX_NAME_BYTES: Final = 255
"""Bytes of the longest name of a file or folder, which file systems share."""
SHOWN_CHARACTERS: Final = 200
"""Characters of a path that an error shows."""
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Member:
    """A file or folder."""

    path: str
    """Relative path, by ``/``, without ``.`` and ``..``; empty for the archive's root."""
    is_folder: bool = False
    is_executable: bool = False
    size: int = 0
    """Bytes of a file, as the archive says."""


class Archive(Protocol):
    """An archive that is open."""

    def members(self) -> Iterator[Member]:
        """Yield the members in their order. Raises ArchiveRefused for one that is neither a file nor a folder."""

    def content(self) -> Iterator[bytes]:
        """Yield the content of the file that was yielded last, in pieces. Raises ArchiveRefused when it is broken."""


def relative(name: str) -> str:
    """Return the path that a member's name means. Raises ArchiveRefused for one that leads out of the archive."""
    if name.startswith("/") or _CONTROL.search(name) or not _is_unicode(name):
        raise ArchiveRefused("archive_path", shown(name))
    parts = [part for part in name.split("/") if part not in ("", ".")]
    path = "/".join(parts)
    too_long = len(path.encode()) > MAX_PATH_BYTES or any(len(part.encode()) > MAX_NAME_BYTES for part in parts)
    if too_long or ".." in parts or "\\" in name:
        raise ArchiveRefused("archive_path", shown(name))
    return path


def shown(name: str) -> str:
    """Return a member's name in a form that is safe to show."""
    return "".join(letter if letter.isprintable() else "?" for letter in name[:SHOWN_CHARACTERS])


def _is_unicode(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
