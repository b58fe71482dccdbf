"""Tar archives, read from begin to end: ustar, with the long names of pax and of GNU tar.

Python's own reader keeps every member, and reads a header of any length into memory; this one keeps one member.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from typing import Final

from management.packaging.archives.inflate import PIECE_BYTES, Inflated
from management.packaging.archives.members import Member, relative, shown
from management.packaging.archives.refusals import ArchiveRefused

MAX_HEADER_BYTES: Final = 64 * 1024
"""Bytes of the longest header of a member: of a long name, or of pax records."""
MAX_PADDING_BYTES: Final = 1024 * 1024
"""Bytes that may follow the end of the archive, all of them zeros."""
_BLOCK: Final = tarfile.BLOCKSIZE
_ZEROS: Final = bytes(_BLOCK)
_FILES: Final = frozenset({tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE})
_LINKS: Final = frozenset({tarfile.SYMTYPE, tarfile.LNKTYPE})


class TarArchive:
    """A tar archive in a stream."""

    def __init__(self, stream: Inflated) -> None:
        self._stream = stream
        self._left = 0
        """Bytes of the present file that were not read."""
        self._padding = 0

    def members(self) -> Iterator[Member]:
        """Yield the members."""
        given: dict[str, str] = {}
        while (header := self._next_header()) is not None:
            if header.type == tarfile.XHDTYPE:
                given |= _records(self._header_content(header))
            elif header.type == tarfile.GNUTYPE_LONGNAME:
                given["path"] = _text(self._header_content(header).split(b"\0", 1)[0])
            elif header.type in (tarfile.XGLTYPE, tarfile.GNUTYPE_LONGLINK):
                self._header_content(header)  # neither says anything of files
            else:
                yield self._member(header, given)
                given = {}
        self._check_end()

    def content(self) -> Iterator[bytes]:
        """Yield the content of the file that was yielded last."""
        while self._left:
            piece = self._stream.read(min(self._left, PIECE_BYTES))
            self._left -= len(piece)
            yield piece

    def _next_header(self) -> tarfile.TarInfo | None:
        """Return the next header; None at the end of the archive."""
        for _ in self.content():  # of a file that was not read
            pass
        self._stream.read(self._padding)
        self._padding = 0
        block = self._stream.read(_BLOCK)
        if block == _ZEROS:
            return None
        try:
            return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.TarError:
            raise ArchiveRefused("archive_broken") from None

    def _header_content(self, header: tarfile.TarInfo) -> bytes:
        if not 0 <= header.size <= MAX_HEADER_BYTES:
            raise ArchiveRefused("archive_broken")
        content = self._stream.read(header.size)
        self._stream.read(-header.size % _BLOCK)
        return content

    def _member(self, header: tarfile.TarInfo, given: dict[str, str]) -> Member:
        name = given.get("path", header.name)
        if header.type == tarfile.DIRTYPE or (header.type == tarfile.AREGTYPE and name.endswith("/")):
            return Member(relative(name), is_folder=True)
        if header.type not in _FILES or any(key.startswith("GNU.sparse") for key in given):
            raise ArchiveRefused("archive_link" if header.type in _LINKS else "archive_device", shown(name))
        self._left = _size(given.get("size")) if "size" in given else header.size
        if self._left < 0:
            raise ArchiveRefused("archive_broken")
        self._padding = -self._left % _BLOCK
        return Member(relative(name), is_executable=bool(header.mode & 0o111), size=self._left)

    def _check_end(self) -> None:
        """Read the compressed stream to its end, where its checksum is. Raises ArchiveRefused for further content."""
        seen = 0
        while piece := self._stream.some(PIECE_BYTES):
            seen += len(piece)
            if seen > MAX_PADDING_BYTES or piece.strip(b"\0"):
                raise ArchiveRefused("archive_broken")


def _records(content: bytes) -> dict[str, str]:
    """Return pax records, each a line ``LENGTH KEY=VALUE``. Raises ArchiveRefused for any other form."""
    records, position = {}, 0
    while position < len(content) and content[position]:
        digits, space, _ = content[position : position + 10].partition(b" ")
        length = int(digits) if space and digits.isdigit() else 0
        record = content[position : position + length]
        key, equals, value = record[len(digits) + 1 : -1].partition(b"=")
        if not equals or not record.endswith(b"\n") or len(record) != length:
            raise ArchiveRefused("archive_broken")
        records[_text(key)] = _text(value)
        position += length
    return records


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _size(text: str | None) -> int:
    if text is None or not (text.isascii() and text.isdigit() and len(text) <= 19):
        raise ArchiveRefused("archive_broken")
    return int(text)
