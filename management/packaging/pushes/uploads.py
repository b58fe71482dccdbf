"""Uploads in parts: a folder for each, with a file for each part that has arrived.

The name of an upload's folder is its id, which is the permission to write parts. A part's file has its number and the
digest of its content as a name.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from typing_extensions import override

from management.domain.bento_tag import StoredKind, Tag
from management.packaging.build import BentoHome
from management.packaging.pushes import records, tickets
from management.packaging.pushes.refusals import UnknownUpload

FOLDER: Final = "uploads"
ABOUT: Final = "about.json"
"""File in an upload's folder that says what it is an upload of."""
MAX_PARTS: Final = 10_000
"""Parts of an upload, which are numbered from 1."""
PIECE_BYTES: Final = 1024 * 1024
"""Bytes that are read at a time."""
PART: Final = re.compile(r"(\d{1,5})-([0-9a-f]{64})")


@dataclass(frozen=True)
class PendingUpload(ABC):
    """An upload whose parts arrive. All methods block."""

    kind: StoredKind
    tag: Tag
    is_whole: bool
    """Whether it takes the whole archive at once, and no parts."""

    @abstractmethod
    def parts(self) -> dict[tuple[int, str], int]:
        """Return the bytes of each part, by its number and digest. Raises UnknownUpload when it has ended."""

    @abstractmethod
    def locked(self) -> AbstractContextManager[None]:
        """Hold the upload's lock, so that its parts stay what they are. Raises UnknownUpload when it has ended.

        It may also end before the lock is free: then ``parts`` says so.
        """

    @abstractmethod
    def keep(self, received: Path, number: int, digest: str) -> None:
        """Put a part, which was received into a file, into the upload."""

    @abstractmethod
    def discard(self, number: int, digest: str) -> None:
        """Remove a part."""

    @abstractmethod
    def claim(self, workplace: Path) -> Callable[[int, str], Iterator[bytes]]:
        """End the upload, and return what yields the content of each of its parts once, which then goes.

        Raises UnknownUpload where it has ended.
        """

    @abstractmethod
    def end(self) -> None:
        """Remove the upload with its parts, if it is still there."""


@dataclass(frozen=True)
class LocalUpload(PendingUpload):
    """An upload in a folder of this machine."""

    folder: Path

    @override
    def parts(self) -> dict[tuple[int, str], int]:
        try:
            with os.scandir(self.folder) as listing:
                matched = ((PART.fullmatch(entry.name), entry) for entry in listing)
                return {(int(form[1]), form[2]): entry.stat().st_size for form, entry in matched if form}
        except FileNotFoundError:
            raise UnknownUpload from None

    def file(self, number: int, digest: str) -> Path:
        """Return where a part with this content is kept."""
        return self.folder / f"{number}-{digest}"

    @override
    @contextmanager
    def locked(self) -> Iterator[None]:
        try:
            descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            raise UnknownUpload from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    @override
    def keep(self, received: Path, number: int, digest: str) -> None:
        received.rename(self.file(number, digest))

    @override
    def discard(self, number: int, digest: str) -> None:
        self.file(number, digest).unlink()

    @override
    def claim(self, workplace: Path) -> Callable[[int, str], Iterator[bytes]]:
        taken = workplace / "parts"
        self.folder.rename(taken)

        def pieces(number: int, digest: str) -> Iterator[bytes]:
            part = taken / f"{number}-{digest}"
            with part.open("rb", buffering=0) as source:
                while piece := source.read(PIECE_BYTES):
                    yield piece
            part.unlink()  # so that the disk never holds the archive twice

        return pieces

    @override
    def end(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


class PendingUploads:
    """The uploads of a BentoML home. All methods block."""

    def __init__(self, home: BentoHome) -> None:
        self._home = home

    def start(self, kind: StoredKind, tag: Tag, *, whole: bool = False) -> str:
        """Begin an upload beside any other one of the tag, and return its id. Raises InvalidTag and OSError."""
        about = {**records.address(kind, tag), "whole": whole}
        uploads = records.folder_of(self._home, FOLDER)
        upload_id = secrets.token_urlsafe(tickets.RANDOM_BYTES)
        new = Path(tempfile.mkdtemp(prefix=".", dir=uploads))
        records.write(new / ABOUT, about)
        new.rename(uploads / upload_id)
        return upload_id

    def get(self, upload_id: str) -> PendingUpload:
        """Return the upload. Raises UnknownUpload."""
        if not tickets.FORM.fullmatch(upload_id):
            raise UnknownUpload
        folder = self._home.home / records.FOLDER / FOLDER / upload_id
        content = records.read(folder / ABOUT)
        about = records.addressed(content)
        if content is None or about is None:
            raise UnknownUpload
        return LocalUpload(*about, content.get("whole") is True, folder)
