"""Makes images of Bentos that are in this machine's store and not in the container engine, by ``bentoml containerize``.

An image appears in the engine at once and whole, under its name: whatever is killed leaves none. While it is made, its
log is locked, so that every worker of the server sees it.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import logging
import os
import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Final

from typing_extensions import override

from management.backends.docker.client import DockerEngine
from management.backends.launcher import ImageRefused
from management.backends.preparation import READY_AT_ONCE, EnvironmentPreparer, EnvironmentState, Preparation
from management.domain.bento import Bento
from management.domain.bento_tag import Tag, tag_of
from management.errors import BackendUnavailable
from management.packaging import images
from management.packaging.build import BentoHome
from management.packaging.shelf import BentoShelf

AT_ONCE: Final = 1
"""Images that one control plane makes at a time: a build takes what the machine has."""
LOG_BYTES: Final = 512 * 1024
"""Bytes of the end of a log that are read."""
REASON_LINES: Final = 5
"""Last lines of a failed build in its reason."""
LONGEST_REASON: Final = 1000
DOCKERFILE: Final = Path("env", "docker", "Dockerfile")
"""What ``bentoml build`` writes into a Bento; those of codespaces, whose sources alone are known, have none."""
NAME_LETTERS: Final = 16

logger = logging.getLogger(__name__)


class ImageBuilder(EnvironmentPreparer):
    """The preparer of the docker backend. An image that the engine has is left as it is."""

    def __init__(self, engine: DockerEngine, store: BentoHome, logs: Path, shelf: BentoShelf | None = None) -> None:
        """``logs`` is the folder of logs and outcomes of builds; ``shelf`` may have other Bentos than the home."""
        self._engine, self._store, self._logs = engine, store, logs
        self._shelf = shelf or BentoShelf(store)
        self._making: dict[str, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def bento(self, image: str) -> Bento | None:
        """Return the Bento that an image would be made of; None where the store has none."""
        tag = _tag(image)
        return None if tag is None else await self._shelf.run(self._shelf.describe, tag)

    @override
    async def check(self, image: str) -> None:
        """Refuse a Bento of the store without a Dockerfile; whether there is a Bento is checked with its name."""
        tag = _tag(image)
        if tag is None or not await self._shelf.run(self._lacks_dockerfile, tag):
            return
        if await self._engine.image(image) is None:
            raise ImageRefused("image_no_dockerfile")

    def _lacks_dockerfile(self, tag: Tag) -> bool:
        return self._shelf.has(tag) and not (self._store.folder(tag) / DOCKERFILE).is_file()

    @override
    async def prepare(self, image: str, since: float) -> Preparation:
        if await self._engine.image(image) is not None:
            bento = await self.bento(image) if self._log_of(image).exists() else None
            return READY_AT_ONCE if bento is None else self._described(image, EnvironmentState.READY, bento)
        if (bento := await self.bento(image)) is None:
            return READY_AT_ONCE  # the launcher pulls it, or says that it is not there
        seen = await self._look(image, bento)
        failed_before = seen.state is EnvironmentState.FAILED and self._failed_at(image) < since
        if seen.state is EnvironmentState.ABSENT or failed_before:
            self._making[image] = asyncio.create_task(self._make(image, bento.tag))
            return replace(seen, state=EnvironmentState.PREPARING, reason="")
        return seen

    @override
    async def look(self, image: str) -> Preparation | None:
        try:
            is_made = await self._engine.image(image) is not None
        except BackendUnavailable:
            return None
        if is_made or (bento := await self.bento(image)) is None:
            return None
        return await self._look(image, bento)

    async def _look(self, image: str, bento: Bento) -> Preparation:
        if image in self._making or await asyncio.to_thread(_is_locked, self._log_of(image)):
            return self._described(image, EnvironmentState.PREPARING, bento)
        failure = self._failure(image)
        if failure is None:
            return self._described(image, EnvironmentState.ABSENT, bento)
        return replace(self._described(image, EnvironmentState.FAILED, bento), reason=str(failure.get("reason", "")))

    def _described(self, image: str, state: EnvironmentState, bento: Bento) -> Preparation:
        return Preparation(state, digest=_letters(image), python=bento.python.version)

    @override
    async def packages(self, image: str) -> Sequence[str]:
        """Return nothing: the image has them."""
        return ()

    @override
    async def log(self, image: str, lines: int) -> list[str]:
        return await asyncio.to_thread(_last_lines, self._log_of(image), lines)

    @override
    async def retain(self, images: Collection[str]) -> None:
        """Remove nothing: images are the engine's, and its owner prunes them."""

    @override
    async def close(self) -> None:
        making = list(self._making.values())
        for task in making:
            task.cancel()
        await asyncio.gather(*making, return_exceptions=True)

    async def _make(self, image: str, tag: Tag) -> None:
        reason = ""
        try:
            async with self._slots:
                reason = await self._containerize(image, tag)
        except (images.ImageError, OSError) as error:
            reason = str(error)
        finally:
            self._record(image, reason)
            self._making.pop(image, None)
        logger.info("image %s: %s", image, reason or "made")

    async def _containerize(self, image: str, tag: Tag) -> str:
        """Make the image, and return why that failed; empty where it did not."""
        with tempfile.TemporaryDirectory(prefix="atelier-image-") as folder, _locked(self._log_of(image)) as log:
            command, environment = await asyncio.to_thread(
                images.containerization, self._store, tag, image, Path(folder)
            )
            process = await asyncio.create_subprocess_exec(
                *command, cwd=folder, env=environment, stdout=log, stderr=log, stdin=asyncio.subprocess.DEVNULL
            )
            try:
                status = await process.wait()
            except asyncio.CancelledError:
                with suppress(ProcessLookupError):
                    process.terminate()
                await process.wait()
                raise
        if status == 0:
            return ""
        last = await self.log(image, REASON_LINES)
        return f"the image cannot be made: {' / '.join(line.strip() for line in last)}"[:LONGEST_REASON]

    def _record(self, image: str, reason: str) -> None:
        """Keep the outcome of a build beside its log."""
        outcome = self._log_of(image).with_suffix(".json")
        with suppress(OSError):  # on a full disk no outcome is kept, and the build is tried again
            if reason:
                outcome.write_text(json.dumps({"reason": reason, "at": time.time()}), encoding="utf-8")
            else:
                outcome.unlink(missing_ok=True)

    def _failure(self, image: str) -> dict[str, object] | None:
        try:
            found = json.loads(self._log_of(image).with_suffix(".json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def _failed_at(self, image: str) -> float:
        at = (self._failure(image) or {}).get("at")
        return float(at) if isinstance(at, int | float) else 0.0

    def _log_of(self, image: str) -> Path:
        return self._logs / f"{_letters(image)}.log"


def _tag(image: str) -> Tag | None:
    with suppress(ValueError):
        return tag_of(image)
    return None


def _letters(image: str) -> str:
    """Return a name for files that belong to an image, whose own name has slashes."""
    return hashlib.sha256(image.encode()).hexdigest()[:NAME_LETTERS]


@contextmanager
def _locked(log: Path) -> Iterator[BinaryIO]:
    """Open an empty log, and hold its lock. Raises OSError where another process holds it."""
    log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with log.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        file.truncate(0)
        yield file


def _is_locked(log: Path) -> bool:
    try:
        with log.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _last_lines(log: Path, lines: int) -> list[str]:
    try:
        with log.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - LOG_BYTES))
            return file.read().decode(errors="replace").splitlines()[-lines:]
    except OSError:
        return []
