"""ZIP archives, as ``bentoml export`` writes them: files that are stored or deflated, and a list of them at the end."""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO, Final

from management.packaging.archives.inflate import PIECE_BYTES
from management.packaging.archives.members import Member, relative, shown
from management.packaging.archives.refusals import ArchiveRefused

_ENTRY_BYTES: Final = 46
"""Bytes of a member in the list, beside its name."""
MAX_LIST_BYTES: Final = 32 * 1024 * 1024
"""Bytes of the longest list of members, which is read whole."""
_METHODS: Final = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_ENCRYPTED: Final = 0x1
_END: Final = b"PK\x05\x06"
_END_BYTES: Final = 22
_LONGEST_COMMENT: Final = 65535
_LIST_SIZE: Final = struct.Struct("<12xL")
"""Where the end of an archive says how long the list is."""
_LARGE_END: Final = b"PK\x06\x06"
_LARGE_LIST_SIZE: Final = struct.Struct("<40xQ")
_LARGE_END_BYTES: Final = 56 + 20
"""Bytes of the end of a large archive, and of what points to it, before the ordinary end."""
_BROKEN: Final = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, struct.error, ValueError)


class ZipArchive:
    """A ZIP archive in a file."""

    def __init__(self, file: BinaryIO) -> None:
        """Raises ArchiveRefused for a broken one, or one whose list of members is too long."""
        if _list_bytes(file) > MAX_LIST_BYTES:
            raise ArchiveRefused("archive_files", expected=str(MAX_LIST_BYTES // _ENTRY_BYTES))
        try:
            self._archive = zipfile.ZipFile(file)
        except _BROKEN:
            raise ArchiveRefused("archive_broken") from None
        self._present: zipfile.ZipInfo | None = None

    def members(self) -> Iterator[Member]:
        """Yield the members."""
        for entry in self._archive.infolist():
            self._present = entry
            yield _member(entry)

    def content(self) -> Iterator[bytes]:
        """Yield the content of the file that was yielded last. Its checksum is compared at its end."""
        if self._present is None:
            return
        try:
            with self._archive.open(self._present) as file:
                while piece := file.read(PIECE_BYTES):
                    yield piece
        except _BROKEN:
            raise ArchiveRefused("archive_broken", shown(self._present.filename)) from None


def _member(entry: zipfile.ZipInfo) -> Member:
    mode = entry.external_attr >> 16
    kind = stat.S_IFMT(mode)
    if kind == stat.S_IFLNK:
        raise ArchiveRefused("archive_link", shown(entry.filename))
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise ArchiveRefused("archive_device", shown(entry.filename))
    is_readable = entry.filename and entry.compress_type in _METHODS and not entry.flag_bits & _ENCRYPTED
    if not is_readable:  # zipfile itself fails on an empty name
        raise ArchiveRefused("archive_broken", shown(entry.filename))
    if entry.is_dir():
        return Member(relative(entry.filename), is_folder=True)
    return Member(relative(entry.filename), is_executable=bool(mode & 0o111), size=entry.file_size)


def _list_bytes(file: BinaryIO) -> int:
    """Return the length of the list of members, as the archive's end says it."""
    size = file.seek(0, 2)
    file.seek(max(0, size - _END_BYTES - _LONGEST_COMMENT - _LARGE_END_BYTES))
    tail = file.read()
    file.seek(0)
    position = tail.rfind(_END)
    if position < 0 or len(tail) - position < _END_BYTES:
        raise ArchiveRefused("archive_broken")
    length = int(_LIST_SIZE.unpack_from(tail, position)[0])
    large = tail.rfind(_LARGE_END, 0, position)
    if large >= 0 and position - large >= _LARGE_LIST_SIZE.size:
        length = max(length if length != 0xFFFFFFFF else 0, int(_LARGE_LIST_SIZE.unpack_from(tail, large)[0]))
    return length
