"""Answers of an engine that nobody can read: they hide nothing else, and no deployment for ever."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from management.backends.bentocloud.engine import BentoCloud
from management.backends.engine import EnginePhase, EngineStatus
from management.configuration import Settings
from management.domain.records import Deletion
from tests.doubles.bentocloud import engine as bentocloud_engine
from tests.doubles.bentocloud.engine import bentocloud, order, seen, serving
from tests.doubles.bentocloud.server import LocalCloud
from tests.doubles.engine import EngineStage, FailingEngine
from tests.doubles.management import revision

pytestmark = pytest.mark.asyncio(loop_scope="module")

cloud, settings = bentocloud_engine.cloud, bentocloud_engine.settings
shared, engine = bentocloud_engine.shared, bentocloud_engine.engine


async def test_somebody_s_deployment_that_cannot_be_read_hides_none_of_ours(
    engine: BentoCloud, cloud: LocalCloud
) -> None:
    found = await serving(engine, order())
    stranger = cloud.deployments["echo"].copy("stranger", "x", instance="other")
    stranger.garbled = True
    cloud.deployments["stranger"] = stranger
    assert await engine.observe() == {"d1": found}


async def test_one_of_ours_whose_configuration_cannot_be_read_is_seen_and_can_be_removed(
    engine: BentoCloud, cloud: LocalCloud
) -> None:
    await serving(engine, order())
    cloud.deployments["echo"].garbled = True
    found = (await engine.observe())["d1"]
    assert (found.name, found.mark, found.phase) == ("echo", None, EnginePhase.RUNNING)
    await engine.remove(found, force=False)
    await engine.remove(await seen(engine, EnginePhase.STOPPED), force=False)
    assert cloud.deployments == {}


@pytest.mark.parametrize("word", ["running", "unhealthy"])
async def test_one_whose_address_cannot_be_asked_hides_no_other_and_is_waited_for(
    engine: BentoCloud, cloud: LocalCloud, settings: Settings, word: str
) -> None:
    await serving(engine, order())
    cloud.deployments["echo"].becomes(word)
    found = (await engine.observe())["d1"]
    other = await anothers(engine)
    anew = bentocloud(settings)
    try:
        cloud.fault, cloud.faulty = "500", re.compile("^/api/v2/deployments/echo$")
        unknown = replace(found, phase=EnginePhase.PENDING, address="", ready=None, reason="")
        assert await anew.observe() == {"d1": unknown, **other}
        cloud.fault = None
        assert await anew.observe() == {"d1": found, **other}
    finally:
        await anew.close()


async def anothers(engine: BentoCloud) -> dict[str, EngineStatus]:
    """Another deployment of ours, that serves."""
    await engine.apply(replace(order(model_id="other"), deployment_id="d2"))
    return {"d2": await seen(engine, EnginePhase.RUNNING, "d2")}


class GarbledEngine(FailingEngine):
    """It says for a while what nobody can read, and nobody has foreseen."""

    garbled = False
    looks_in_vain = 0

    async def observe(self) -> dict[str, EngineStatus]:
        if self.garbled:
            self.looks_in_vain += 1
            raise RuntimeError("what is this?")
        return await super().observe()


async def test_a_model_is_deleted_and_another_given_up_once_the_engine_can_be_read_again(tmp_path: Path) -> None:
    engine = GarbledEngine()
    stage = EngineStage(tmp_path, engine)
    await stage.lead()
    stage.wish()
    await stage.until(lambda: stage.rests(1, 1))
    engine.garbled = True
    stage.wish(deletion=Deletion.GRACEFUL)
    stage.wish("other", target=revision(2))
    for tries in range(1, 6):
        stage.reconciler.wake()
        assert await stage.reconciler.step() < stage.settings.replicas.engine_seconds, "it looks again soon"
        assert engine.looks_in_vain == tries
        assert stage.found() is not None, "nobody knows whether it is gone"
        assert stage.standing() is EnginePhase.RUNNING
    engine.garbled = False
    assert await stage.reconciler.step() < stage.settings.replicas.engine_seconds, "nobody has to wake it"
    await stage.until(lambda: stage.found() is None and stage.told("other").failed)
    assert engine.kept.keys() == {"other"}
    await stage.reconciler.close(stop_replicas=True)
    stage.store.close()
