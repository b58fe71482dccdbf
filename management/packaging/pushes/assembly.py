"""The parts of an upload, put together and brought into the store."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from contextlib import ExitStack

from management.packaging.archives.admission import Admission, Taken, admission
from management.packaging.archives.refusals import Stopped
from management.packaging.archives.room import full_disk_named
from management.packaging.archives.upload import Upload
from management.packaging.archives.workplace import workplace
from management.packaging.build import BentoHome
from management.packaging.pushes.refusals import WrongParts
from management.packaging.pushes.uploads import PendingUpload
from management.settings import BentoSettings


class Assembly:
    """An upload that is completed; its methods block and are called as those of ``archives.upload.Upload``.

    Whoever opens it first takes the upload away with its parts, into a workplace that does not outlive the process: it
    can be completed once. Each part is removed when it was read, so that the disk never holds the archive twice.
    """

    def __init__(
        self,
        home: BentoHome,
        limits: BentoSettings,
        upload: PendingUpload,
        parts: Sequence[tuple[int, str]],
        admit: Admission | None = None,
    ) -> None:
        """``parts`` are the numbers and digests of all parts, in any order; ``admit`` takes in what they hold."""
        self._home, self._pending, self._parts = home, upload, sorted(parts)
        self._upload = Upload(home, limits, {}, admit or admission(upload.kind, upload.tag))
        self._stack = ExitStack()
        self._stopped = threading.Event()

    def open(self, _: int) -> None:
        """Take the upload away. Raises UnknownUpload, WrongParts and DiskFull, after each of which it stays."""
        with full_disk_named(), self._pending.locked():
            sizes = self._pending.parts()
            _check(self._parts, sizes)
            self._stack.callback(self._upload.close)
            self._upload.open(max(sizes[part] for part in self._parts))
            self._pieces = self._pending.claim(self._stack.enter_context(workplace(self._home)))
            self._stack.callback(self._pending.end)

    def write(self, _: bytes) -> None:
        """Do nothing: everything has arrived."""

    def finish(self) -> Taken:
        """Put the parts together, and take in what they hold.

        Raises WrongParts for a part that the disk did not keep as it came, and what ``Upload.finish`` raises.
        """
        for number, digest in self._parts:
            self._add(number, digest)
        return self._upload.finish()

    def stop(self) -> None:
        """Let ``finish`` end soon, because its caller has left."""
        self._stopped.set()
        self._upload.stop()

    def close(self) -> None:
        """Remove the workplaces."""
        self._stack.close()

    def _add(self, number: int, digest: str) -> None:
        total = hashlib.sha256()
        for piece in self._pieces(number, digest):
            if self._stopped.is_set():
                raise Stopped
            total.update(piece)
            self._upload.write(piece)
        if total.hexdigest() != digest:
            raise WrongParts("part_other", number)


def _check(parts: Sequence[tuple[int, str]], present: dict[tuple[int, str], int]) -> None:
    """Raise WrongParts unless these are all parts from the first on, each as it has arrived."""
    numbers = {number for number, _ in present}
    for expected, (number, digest) in enumerate(parts, start=1):
        if number != expected or number not in numbers:
            raise WrongParts("part_missing", expected)
        if (number, digest) not in present:
            raise WrongParts("part_other", number)
    if not parts:
        raise WrongParts("part_missing", 1)
