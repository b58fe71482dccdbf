"""A Word document's zip: checked by its declared sizes, and read no further than the limits, whatever it declares."""

from __future__ import annotations

import posixpath
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Final

from runners.documents.formats import LOCKED
from runners.errors import InvalidDocument, PayloadTooLarge
from runners.limits import check_bytes

MAX_MEMBERS: Final = 5_000
MAX_UNPACKED: Final = 512 * 1024 * 1024
"""Bytes that all members may declare together."""
MAX_PART: Final = 64 * 1024 * 1024
"""Bytes that one part may unpack to: enough for the markup of a million characters."""
MAX_RATIO: Final = 300
"""Ratio of unpacked to packed bytes for parts larger than ``SMALL``: XML grows 10 to 50 times, a bomb 1,000 times."""
SMALL: Final = 4 * 1024 * 1024
MAX_READ: Final = 128 * 1024 * 1024
"""Bytes that all parts except pictures may unpack to, including those of documents inside the document."""
CHUNK: Final = 64 * 1024

DAMAGED: Final = "the Word document is damaged, or ends too early"
BOMB: Final = "the Word document unpacks to too many bytes"


DAMAGE: Final = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError, RuntimeError)
"""Exceptions that zlib and zipfile raise for a damaged archive."""


@dataclass
class Unpacked:
    """Count of the bytes unpacked so far, including documents inside the document."""

    total: int = 0


class Archive:
    """The parts of a Word document by name; names ignore case and the direction of slashes."""

    def __init__(self, zipped: zipfile.ZipFile, unpacked: Unpacked) -> None:
        self._zip = zipped
        self._parts = {part_name(member.filename): member for member in zipped.infolist()}
        self.unpacked = unpacked

    def __contains__(self, name: str) -> bool:
        return part_name(name) in self._parts

    def chunks(self, name: str) -> Iterator[bytes]:
        """Yield a part's bytes in chunks. Raises InvalidDocument and PayloadTooLarge."""
        for chunk in self._chunks(name):
            self.unpacked.total += len(chunk)
            if self.unpacked.total > MAX_READ:
                raise PayloadTooLarge(BOMB)
            yield chunk

    def picture(self, name: str) -> bytes:
        """Return the bytes of a picture. Raises InvalidDocument and PayloadTooLarge."""
        content = bytearray()
        for chunk in self._chunks(name):
            content += chunk
            check_bytes(len(content))
        return bytes(content)

    def _chunks(self, name: str) -> Iterator[bytes]:
        if name not in self:
            raise InvalidDocument(DAMAGED)
        member = self._parts[part_name(name)]
        _check_part(member)
        done = 0
        try:
            with self._zip.open(member) as part:
                while chunk := part.read(CHUNK):
                    done += len(chunk)
                    if done > MAX_PART:
                        raise PayloadTooLarge(BOMB)
                    yield chunk
        except DAMAGE:
            raise InvalidDocument(DAMAGED) from None


def part_name(path: str) -> str:
    """Normalize a path from the zip or from a relationship to a part's name."""
    return posixpath.normpath("/" + path.replace("\\", "/")).lstrip("/").lower()


@contextmanager
def opened(data: bytes, unpacked: Unpacked) -> Iterator[Archive]:
    """Open the zip and check its declared sizes. Raises InvalidDocument and PayloadTooLarge."""
    if data.count(b"PK\1\2") > MAX_MEMBERS:  # before zipfile allocates an object for each
        raise PayloadTooLarge(BOMB)
    try:
        zipped = zipfile.ZipFile(BytesIO(data))
    except DAMAGE:
        raise InvalidDocument(DAMAGED) from None
    with zipped:
        _check(zipped.infolist())
        yield Archive(zipped, unpacked)


def _check(members: list[zipfile.ZipInfo]) -> None:
    if sum(member.file_size for member in members) > MAX_UNPACKED:
        raise PayloadTooLarge(BOMB)
    if any(member.flag_bits & 1 for member in members):
        raise InvalidDocument(LOCKED)


def _check_part(part: zipfile.ZipInfo) -> None:
    if part.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise InvalidDocument(DAMAGED)
    if part.file_size > MAX_PART or part.file_size > max(SMALL, MAX_RATIO * part.compress_size):
        raise PayloadTooLarge(BOMB)
