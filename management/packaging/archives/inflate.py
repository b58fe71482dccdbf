"""The bytes of a tar archive, decompressed piece by piece. Its first bytes say how it is compressed."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from typing import BinaryIO, Final, Protocol

from management.packaging.archives.refusals import ArchiveRefused

PIECE_BYTES: Final = 256 * 1024
"""Bytes that are read at a time."""
XZ_MEMORY_BYTES: Final = 96 * 1024 * 1024
"""Memory of the decompressor in bytes: enough for every preset of xz, the largest of which needs 65 MiB."""
SIGNATURE_BYTES: Final = 6
_GZIP: Final = b"\x1f\x8b"
_XZ: Final = b"\xfd7zXZ\x00"
_BZIP2: Final = b"BZh"
_ZIP: Final = (b"PK\x03\x04", b"PK\x05\x06")
_BROKEN: Final = (EOFError, OSError, lzma.LZMAError, zlib.error)


class Readable(Protocol):
    """A source of bytes."""

    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes; none at the end."""


def signature(file: BinaryIO) -> bytes:
    """Return the file's first bytes, and leave it at its begin."""
    file.seek(0)
    start = file.read(SIGNATURE_BYTES)
    file.seek(0)
    return start


def is_zip(start: bytes) -> bool:
    """Return whether an archive that begins like this is a ZIP archive."""
    return start.startswith(_ZIP)


def inflated(file: BinaryIO, most: int) -> Inflated:
    """Return the tar archive in the file, which may be compressed by gzip, xz or bzip2, of at most so many bytes."""
    start = signature(file)
    if start.startswith(_GZIP):
        return Inflated(gzip.GzipFile(fileobj=file, mode="rb"), most)
    if start.startswith(_BZIP2):
        return Inflated(bz2.BZ2File(file), most)
    return Inflated(_Xz(file) if start == _XZ else file, most)


class Inflated:
    """Reads exactly as many bytes as it is asked for, until there were too many."""

    def __init__(self, source: Readable, most: int) -> None:
        self._source, self._most = source, most
        self._total = 0

    def read(self, size: int) -> bytes:
        """Return ``size`` bytes. Raises ArchiveRefused where the archive ends before, or is broken."""
        pieces, missing = [], size
        while missing:
            piece = self.some(missing)
            if not piece:
                raise ArchiveRefused("archive_broken")
            pieces.append(piece)
            missing -= len(piece)
        return b"".join(pieces)

    def some(self, most: int) -> bytes:
        """Return 1 to ``most`` bytes; none at the end. Raises ArchiveRefused for a broken archive, or a longer one."""
        try:
            piece = self._source.read(min(most, PIECE_BYTES))
        except _BROKEN:
            raise ArchiveRefused("archive_broken") from None
        self._total += len(piece)
        if self._total > self._most:
            raise ArchiveRefused("archive_size", expected=str(self._most))
        return piece


class _Xz:
    """A file compressed by xz; unlike lzma's own, it limits the memory that the file may ask for."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._decompressor = _decompressor()
        self._rest = b""

    def read(self, size: int) -> bytes:
        while True:
            if self._decompressor.eof and not self._begin_next():
                return b""
            if self._decompressor.needs_input and not self._rest:
                self._rest = self._file.read(PIECE_BYTES)
                if not self._rest:
                    raise EOFError
            given, self._rest = self._rest, b""
            if piece := self._decompressor.decompress(given, size):
                return piece

    def _begin_next(self) -> bool:
        """Begin the next stream of the file, after padding of zeros; return whether there is one."""
        rest = self._decompressor.unused_data.lstrip(b"\0")
        while not rest and (piece := self._file.read(PIECE_BYTES)):
            rest = piece.lstrip(b"\0")
        if not rest:
            return False
        self._decompressor, self._rest = _decompressor(), rest
        return True


def _decompressor() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, XZ_MEMORY_BYTES)
