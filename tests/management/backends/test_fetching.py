"""Bentos of a shared store are here before anything is made of them, and a store that hangs holds up no turn."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from management.backends import fetching
from management.backends.fetching import FetchingPreparer
from management.backends.preparation import EnvironmentState, ImageIsEnvironment
from management.domain.bento_tag import StoredKind, Tag
from management.errors import SharedStoreUnavailable
from management.packaging.archives.upload import Upload
from management.packaging.build import BentoHome
from management.packaging.shared.client import ObstoreClient
from management.packaging.shared.shared_store import SharedStore
from management.settings import BentoSettings
from tests.support.bentos.bento_archives import files, tar
from tests.support.bentos.uploading import pushed_through

HELLO, IMAGE = Tag("hello", "1.0.0"), "bentos/hello:1.0.0"
READY, PREPARING, FAILED = EnvironmentState.READY, EnvironmentState.PREPARING, EnvironmentState.FAILED


@pytest.fixture
def planes(tmp_path: Path) -> tuple[SharedStore, SharedStore]:
    (tmp_path / "shared").mkdir()
    url = f"file://{tmp_path}/shared"
    ours, theirs = (SharedStore(ObstoreClient(url), BentoHome(tmp_path / name)) for name in ("a", "b"))
    pushed_through(Upload(ours.home, BentoSettings(), {}, ours.take_in), tar(files()), ours.home)
    return ours, theirs


def deleted(plane: SharedStore) -> None:
    pointer = plane.delete(StoredKind.BENTO, HELLO)
    assert pointer is not None
    plane.forget(StoredKind.BENTO, HELLO, pointer)


async def outcome(preparer: FetchingPreparer, since: float = 0.0) -> Any:
    """Ask until there is an outcome, as the turns of a leader do."""
    async with asyncio.timeout(30):
        while (seen := await preparer.prepare(IMAGE, since)).state is PREPARING:
            pass
    return seen


async def test_a_bento_is_fetched_before_it_is_ready(planes: tuple[SharedStore, SharedStore]) -> None:
    preparer = FetchingPreparer(ImageIsEnvironment(), planes[1])
    assert (await outcome(preparer)).state is READY
    assert planes[1].is_whole(HELLO)
    await preparer.close()


async def test_an_image_that_the_store_does_not_have_is_left_to_the_backend(
    planes: tuple[SharedStore, SharedStore],
) -> None:
    preparer = FetchingPreparer(ImageIsEnvironment(), planes[1])
    assert (await preparer.prepare("registry/other:1", 0.0)).state is READY
    await preparer.check("registry/other:1")
    await preparer.close()


async def test_a_copy_of_a_deleted_bento_starts_nothing(
    planes: tuple[SharedStore, SharedStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "VALID_SECONDS", 0.0)
    preparer = FetchingPreparer(ImageIsEnvironment(), planes[1])
    await outcome(preparer)
    deleted(planes[0])
    seen = await outcome(preparer)
    assert seen.state is FAILED
    assert "does not have it" in seen.reason
    await preparer.close()


async def test_a_copy_is_used_while_the_store_is_away_and_others_are_waited_for(
    planes: tuple[SharedStore, SharedStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "VALID_SECONDS", 0.0)
    monkeypatch.setattr(fetching, "RETRY_SECONDS", 0.0)
    ours, theirs = planes
    read, away = theirs.objects.read, threading.Event()

    def reading(*given: Any) -> Any:
        if away.is_set():
            raise SharedStoreUnavailable
        return read(*given)

    monkeypatch.setattr(theirs.objects, "read", reading)
    monkeypatch.setattr(ours.objects, "read", reading)
    away.set()
    assert (await outcome(FetchingPreparer(ImageIsEnvironment(), ours))).state is READY
    preparer = FetchingPreparer(ImageIsEnvironment(), theirs)
    assert (await preparer.prepare(IMAGE, 0.0)).state is PREPARING
    shown = await preparer.look(IMAGE)
    assert shown is not None
    assert shown.state is PREPARING
    away.clear()
    assert (await outcome(preparer)).state is READY
    await preparer.close()


async def test_a_store_that_hangs_holds_up_no_turn(
    planes: tuple[SharedStore, SharedStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs = threading.Event()
    monkeypatch.setattr(planes[1].objects, "read", lambda *_: hangs.wait(60))
    monkeypatch.setattr(fetching, "WAIT_SECONDS", 0.01)
    preparer = FetchingPreparer(ImageIsEnvironment(), planes[1])
    try:
        turns = [(await preparer.prepare(IMAGE, 0.0)).state for _ in range(20)]
        assert turns == [PREPARING] * 20
    finally:
        hangs.set()
        await preparer.close()


async def test_a_failure_is_an_outcome_until_another_attempt_is_due(
    planes: tuple[SharedStore, SharedStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch = planes[1].fetch

    def fails(*_: Any, **__: Any) -> None:
        raise KeyError

    monkeypatch.setattr(planes[1], "fetch", fails)
    preparer = FetchingPreparer(ImageIsEnvironment(), planes[1])
    failed = await outcome(preparer)
    assert (failed.state, failed.temporary) == (FAILED, True)
    monkeypatch.setattr(planes[1], "fetch", fetch)
    assert (await preparer.prepare(IMAGE, 0.0)).state is FAILED
    assert (await outcome(preparer, time.time() + 1)).state is READY
    await preparer.close()
