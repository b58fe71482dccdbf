"""A Word document's zip: judged by what it declares, and then read no further than allowed, whatever it declares."""

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
"""Most bytes that all members may declare."""
MAX_PART: Final = 64 * 1024 * 1024
"""Most bytes of one part that is read: text of a million characters with all its marks."""
MAX_RATIO: Final = 300
"""Most times that a part may grow, once it is larger than ``SMALL``: XML grows 10 to 50 times, a bomb 1,000 times."""
SMALL: Final = 4 * 1024 * 1024
MAX_READ: Final = 128 * 1024 * 1024
"""Most bytes that are read of all parts together but pictures, those of documents inside the document included."""
CHUNK: Final = 64 * 1024

DAMAGED: Final = "the Word document is damaged, or ends too early"
BOMB: Final = "the Word document unpacks to too many bytes"


DAMAGE: Final = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError, RuntimeError)
"""What zlib and zipfile raise for an archive that is not whole."""


@dataclass
class Unpacked:
    """Bytes that were unpacked of a document, and of those inside it."""

    total: int = 0


class Archive:
    """The parts of a Word document, by their names, in which neither case counts nor which way the slashes lean."""

    def __init__(self, zipped: zipfile.ZipFile, unpacked: Unpacked) -> None:
        self._zip = zipped
        self._parts = {part_name(member.filename): member for member in zipped.infolist()}
        self.unpacked = unpacked

    def __contains__(self, name: str) -> bool:
        return part_name(name) in self._parts

    def chunks(self, name: str) -> Iterator[bytes]:
        """A part's bytes, a few at a time. Raises InvalidDocument and PayloadTooLarge."""
        for chunk in self._chunks(name):
            self.unpacked.total += len(chunk)
            if self.unpacked.total > MAX_READ:
                raise PayloadTooLarge(BOMB)
            yield chunk

    def picture(self, name: str) -> bytes:
        """A part that is no XML, as a whole. Raises InvalidDocument and PayloadTooLarge."""
        found = bytearray()
        for chunk in self._chunks(name):
            found += chunk
            check_bytes(len(found))
        return bytes(found)

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
    """A part's name from a path in the zip, or in a relationship."""
    return posixpath.normpath("/" + path.replace("\\", "/")).lstrip("/").lower()


@contextmanager
def opened(data: bytes, unpacked: Unpacked) -> Iterator[Archive]:
    """Raises InvalidDocument and PayloadTooLarge."""
    if data.count(b"PK\1\2") > MAX_MEMBERS:  # before an object is made of each
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
