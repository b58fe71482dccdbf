"""Bentos of a shared store that are not on this machine yet are fetched before anything is made of them.

It runs beside the turns of the leader, which wait for a small part of a second at most: a store that hangs holds up
nothing. A copy that is here is used while the store does not answer; while it answers, only if it is still what the
store has.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

from typing_extensions import override

from management.backends.launcher import ImageRefused
from management.backends.preparation import EnvironmentPreparer, EnvironmentState, Preparation
from management.domain.bento_tag import StoredKind, Tag, tag_of
from management.errors import BentoNotFound, SharedArchiveDamaged, SharedStoreUnavailable, StoredModelNotFound
from management.packaging.archives.refusals import DiskFull
from management.packaging.shared.shared_store import SharedStore
from management.packaging.shared.shelves import FETCHERS, THREADS

WAIT_SECONDS: Final = 0.3
"""Seconds that a turn waits for the store."""
CHECK_SECONDS: Final = 20.0
"""Seconds that the check of a deployment waits for the Bento's files, without its models."""
VALID_SECONDS: Final = 5.0
"""Seconds for which the outcome of a look at the store is used."""
RETRY_SECONDS: Final = 2.0
"""Seconds between two attempts while the store does not answer."""

Answer = TypeVar("Answer")
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Outcome:
    """What came of a fetch."""

    at: float
    """Unix time."""
    reason: str = ""
    """Why it failed; empty where the Bento is here."""
    temporary: bool = False


class FetchingPreparer(EnvironmentPreparer):
    """Fetches the Bento of an image, and lets another preparer do the rest."""

    def __init__(self, inner: EnvironmentPreparer, shared: SharedStore) -> None:
        self._inner, self._shared = inner, shared
        self._fetching: dict[str, asyncio.Task[_Outcome]] = {}
        self._outcomes: dict[str, _Outcome] = {}

    @override
    async def check(self, image: str) -> None:
        tag = _tag(image)
        if tag is not None and await _in(THREADS, self._is_shared, tag):
            try:
                async with asyncio.timeout(CHECK_SECONDS):
                    await _in(FETCHERS, self._fetch_files, tag)
            except TimeoutError:
                raise SharedStoreUnavailable(retry_after=int(RETRY_SECONDS)) from None
            except (BentoNotFound, DiskFull):
                raise ImageRefused("bento", wanted=str(tag), found="-", command="-", push="-") from None
        await self._inner.check(image)

    @override
    async def prepare(self, image: str, since: float) -> Preparation:
        tag = _tag(image)
        if tag is None:
            return await self._inner.prepare(image, since)
        outcome = await self._outcome(image, tag, since)
        if outcome is None:
            return Preparation(EnvironmentState.PREPARING)
        if outcome.reason:
            return Preparation(EnvironmentState.FAILED, reason=outcome.reason, temporary=outcome.temporary)
        return await self._inner.prepare(image, since)

    async def _outcome(self, image: str, tag: Tag, since: float) -> _Outcome | None:
        """Return what came of fetching the Bento; None while it is fetched."""
        known, now = self._outcomes.get(image), time.time()
        if known is not None and (known.at >= since if known.reason else now - known.at <= VALID_SECONDS):
            return known
        task = self._fetching.get(image)
        if task is None:
            task = self._fetching[image] = asyncio.create_task(self._fetched(image, tag))
        await asyncio.wait({task}, timeout=WAIT_SECONDS)
        return task.result() if task.done() and not task.cancelled() else None

    async def _fetched(self, image: str, tag: Tag) -> _Outcome:
        try:
            outcome = await self._until_here(tag)
        finally:
            self._fetching.pop(image, None)
        self._outcomes[image] = outcome
        return outcome

    async def _until_here(self, tag: Tag) -> _Outcome:
        while True:
            try:
                if await _in(THREADS, self._is_shared, tag):
                    await _in(FETCHERS, self._shared.fetch, StoredKind.BENTO, tag)
                return _Outcome(time.time())
            except SharedArchiveDamaged:
                return _Outcome(time.time(), "its archive in the shared store is damaged")
            except SharedStoreUnavailable:
                if await _in(None, self._shared.is_whole, tag):
                    return _Outcome(time.time())
                logger.info("%s is not here, and the shared store does not answer", tag)
            except (BentoNotFound, StoredModelNotFound):
                return _Outcome(time.time(), "the shared store does not have it, or one of its models, any more")
            except DiskFull:
                return _Outcome(time.time(), "the disk of the Bento store is full", temporary=True)
            except Exception:
                logger.exception("%s cannot be fetched", tag)
                return _Outcome(time.time(), "it cannot be fetched from the shared store", temporary=True)
            await asyncio.sleep(RETRY_SECONDS)

    def _is_shared(self, tag: Tag) -> bool:
        """Return whether the store has the Bento; an image that a registry has need not be in it."""
        return self._shared.pointers.get(StoredKind.BENTO, tag) is not None or not self._gone(tag)

    def _gone(self, tag: Tag) -> bool:
        return self._shared.copies.held(StoredKind.BENTO, tag) is None

    def _fetch_files(self, tag: Tag) -> None:
        self._shared.fetch(StoredKind.BENTO, tag, models=False)

    @override
    async def look(self, image: str) -> Preparation | None:
        tag = _tag(image)
        if tag is not None and image in self._fetching and not await self._is_held(tag):
            return Preparation(EnvironmentState.PREPARING)
        return await self._inner.look(image) if await self._may_look(image) else None

    async def _may_look(self, image: str) -> bool:
        """Return whether the files that the environment is made from are here, or the image is no shared Bento."""
        tag = _tag(image)
        if tag is None or self._shared.pointers.remembered(StoredKind.BENTO, tag) is None:
            return True
        return await self._is_held(tag)

    async def _is_held(self, tag: Tag) -> bool:
        return await asyncio.to_thread(self._shared.copies.held, StoredKind.BENTO, tag) is not None

    @override
    async def packages(self, image: str) -> Sequence[str]:
        return await self._inner.packages(image) if await self._may_look(image) else ()

    @override
    async def log(self, image: str, lines: int) -> list[str]:
        return await self._inner.log(image, lines) if await self._may_look(image) else []

    @override
    async def retain(self, images: Collection[str]) -> None:
        self._outcomes = {image: outcome for image, outcome in self._outcomes.items() if image in images}
        await self._inner.retain([image for image in images if await self._may_look(image)])

    @override
    async def close(self) -> None:
        fetching = list(self._fetching.values())
        for task in fetching:
            task.cancel()
        await asyncio.gather(*fetching, return_exceptions=True)
        await self._inner.close()


async def _in(executor: Executor | None, work: Callable[..., Answer], *given: object) -> Answer:
    return await asyncio.get_running_loop().run_in_executor(executor, partial(work, *given))


def _tag(image: str) -> Tag | None:
    with suppress(ValueError):
        return tag_of(image)
    return None
