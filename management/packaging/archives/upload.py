"""An archive that arrives in pieces, and becomes a Bento or a model in the store."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from management.packaging.archives.admission import Admission, Taken, take_in
from management.packaging.archives.refusals import WrongDigest
from management.packaging.archives.room import Room, full_disk_named
from management.packaging.archives.unpack import unpack
from management.packaging.archives.workplace import workplace
from management.packaging.build import BentoHome
from management.settings import BentoSettings
from web.content_digest import Digests


class Upload:
    """One upload, whose methods block: ``open``, ``write`` for each piece, ``finish``, and ``close`` in any case.

    All but ``stop`` are called in one thread.
    """

    def __init__(
        self,
        home: BentoHome,
        limits: BentoSettings,
        digests: Mapping[str, bytes],
        admit: Admission = take_in,
    ) -> None:
        """``digests`` are those that the whole archive must have, by algorithm; ``admit`` takes in what it holds."""
        self._home, self._limits, self._expected, self._admit = home, limits, digests, admit
        self._digests = Digests(digests)
        self._stack = ExitStack()
        self._stopped = threading.Event()

    def open(self, length: int) -> None:
        """Make the workplace. Raises DiskFull unless ``length`` bytes fit beside what must stay free."""
        with full_disk_named():
            self._folder: Path = self._stack.enter_context(workplace(self._home))
            self._room = Room(self._folder)
            self._room.require(length)
            self._file: BinaryIO = self._stack.enter_context((self._folder / "archive").open("w+b", buffering=0))

    def write(self, piece: bytes) -> None:
        """Add a piece of the archive. Raises DiskFull."""
        self._room.write(self._file, piece)
        self._digests.update(piece)

    def finish(self) -> Taken:
        """Unpack the archive and take in what it holds.

        Raises WrongDigest, ArchiveRefused, BentoTaken, DiskFull, and Stopped after ``stop``.
        """
        if not self._digests.agree(self._expected):
            raise WrongDigest
        folder = self._folder / "unpacked"
        folder.mkdir()
        with full_disk_named():
            entries = unpack(self._file, folder, self._limits, self._room, self._stopped.is_set)
            return self._admit(folder, entries, self._home)

    def stop(self) -> None:
        """Let ``finish`` end soon, because nobody waits for it."""
        self._stopped.set()

    def close(self) -> None:
        """Remove the workplace."""
        self._stack.close()
