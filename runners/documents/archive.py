"""A Word document's zip: judged by what it declares, and then read no further than allowed, whatever it declares."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Final

from runners.documents.kinds import LOCKED
from runners.errors import InvalidDocument, PayloadTooLarge

MAX_MEMBERS: Final = 5_000
MAX_UNPACKED: Final = 512 * 1024 * 1024
"""Most bytes that all members may declare; pictures among them are never unpacked."""
MAX_PART: Final = 64 * 1024 * 1024
"""Most bytes of one part that is read: text of a million characters with all its marks."""
MAX_RATIO: Final = 300
"""Most times that a part may grow, once it is larger than ``SMALL``: XML grows 10 to 50 times, a bomb 1,000 times."""
SMALL: Final = 4 * 1024 * 1024
CHUNK: Final = 64 * 1024

DAMAGED: Final = "the Word document is damaged, or ends too early"
BOMB: Final = "the Word document unpacks to too many bytes"


class Archive:
    """The parts of a Word document, by their names."""

    def __init__(self, zipped: zipfile.ZipFile) -> None:
        self._zip = zipped

    def __contains__(self, name: str) -> bool:
        return name in self._zip.NameToInfo

    def chunks(self, name: str) -> Iterator[bytes]:
        """A part's bytes, a few at a time. Raises InvalidDocument and PayloadTooLarge."""
        if name not in self:
            raise InvalidDocument(DAMAGED)
        _check_part(self._zip.getinfo(name))
        done = 0
        with self._zip.open(name) as part:
            while chunk := part.read(CHUNK):
                done += len(chunk)
                if done > MAX_PART:
                    raise PayloadTooLarge(BOMB)
                yield chunk


@contextmanager
def opened(data: bytes) -> Iterator[Archive]:
    """Raises InvalidDocument and PayloadTooLarge, also for what zlib or zipfile meet while the archive is open."""
    if data.count(b"PK\1\2") > MAX_MEMBERS:  # before an object is made of each
        raise PayloadTooLarge(BOMB)
    try:
        with zipfile.ZipFile(BytesIO(data)) as zipped:
            _check(zipped.infolist())
            yield Archive(zipped)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError, RuntimeError):
        raise InvalidDocument(DAMAGED) from None


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
