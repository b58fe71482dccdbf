"""The engine of BentoCloud beside a local BentoCloud: fixtures, and what the tests of it order and look for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio

from management.backends.bentocloud.engine import BentoCloud
from management.backends.engine import EnginePhase, EngineSpec, EngineStatus
from management.configuration import Settings
from management.domain.records import Resources
from tests.doubles.bentocloud.server import TOKEN, LocalCloud, local_cloud
from tests.doubles.management import revision, settings_of

GIB = 2**30
SMALL = Resources(500, GIB, 0)
SECONDS = 20.0


@pytest.fixture(scope="module")
def cloud() -> Iterator[LocalCloud]:
    with local_cloud() as running:
        yield running


@pytest.fixture(scope="module")
def settings(cloud: LocalCloud, echo_bentos: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENTOML_HOME", str(echo_bentos))
        patch.setenv("SOMETHING_SECRET", "of-the-control-plane")
        home = tmp_path_factory.mktemp("home")
        yield settings_of(home=home, backend="bentocloud", cloud_token=TOKEN, cloud_endpoint=cloud.url)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(settings: Settings) -> AsyncIterator[BentoCloud]:
    made = bentocloud(settings)
    yield made
    await made.close()


@pytest_asyncio.fixture(loop_scope="module")
async def engine(shared: BentoCloud, cloud: LocalCloud) -> BentoCloud:
    """One engine for all tests, because each of its processes takes half a second to begin; the cloud is emptied."""
    cloud.reset()
    assert await shared.observe() == {}
    cloud.calls.clear()
    return shared


def bentocloud(settings: Settings, **changes: Any) -> BentoCloud:
    """An engine of these settings, its own changed so."""
    own = settings.backends.bentocloud.model_copy(update=changes)
    return BentoCloud(own, settings.storage, settings.replicas.engine_seconds)


def order(number: int = 1, least: int = 1, most: int = 3, *, model_id: str = "echo", **changes: Any) -> EngineSpec:
    target = revision(number)
    config = {"docker_image": f"tests/echo:{number}.0.0", "resources": SMALL, **changes}
    return EngineSpec("d1", model_id, replace(target, config=replace(target.config, **config)), least, most)


async def seen(engine: BentoCloud, standing: EnginePhase, deployment_id: str = "d1") -> EngineStatus:
    """The deployment when it has come to stand so."""
    async with asyncio.timeout(SECONDS):
        while True:
            found = (await engine.observe()).get(deployment_id)
            if found is not None and found.phase is standing:
                return found
            await asyncio.sleep(0.02)


async def serving(engine: BentoCloud, told: EngineSpec) -> EngineStatus:
    await engine.apply(told)
    return await seen(engine, EnginePhase.RUNNING)


def callers() -> list[psutil.Process]:
    """The processes that call BentoCloud for this one."""
    found = psutil.Process().children(recursive=True)
    return [process for process in found if any("bentocloud/worker.py" in part for part in process.cmdline())]
