"""A BentoCloud that is away, refuses or hangs, and what the engine makes of it."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys

import pytest
from pydantic import SecretStr

from management.backends.bentocloud.client import WORKER_FILE
from management.backends.bentocloud.engine import BentoCloud
from management.backends.engine import EnginePhase
from management.backends.launcher import LaunchRefused
from management.configuration import Settings
from management.errors import BackendUnavailable
from tests.doubles.bentocloud import engine as bentocloud_engine
from tests.doubles.bentocloud.engine import SECONDS, bentocloud, callers, order, serving
from tests.doubles.bentocloud.server import TOKEN, LocalCloud

pytestmark = pytest.mark.asyncio(loop_scope="module")

cloud, settings = bentocloud_engine.cloud, bentocloud_engine.settings
shared, engine = bentocloud_engine.shared, bentocloud_engine.engine


@pytest.mark.parametrize("fault", ["500", "503", "429", "401", "reset"])
async def test_a_cloud_that_is_away_is_unavailable_and_found_again(
    engine: BentoCloud, cloud: LocalCloud, fault: str
) -> None:
    found = await serving(engine, order())
    cloud.fault = fault
    for call in (engine.observe(), engine.apply(order(2)), engine.halt(found), engine.remove(found, force=True)):
        with pytest.raises(BackendUnavailable) as raised:
            await call
        assert TOKEN not in str(raised.value.details), "though the cloud says it"
    assert not await engine.answers()
    cloud.fault = None
    assert (await engine.observe())["d1"].phase is EnginePhase.RUNNING
    assert await engine.answers()


async def test_a_token_that_the_cloud_does_not_know_is_named_as_the_reason(
    cloud: LocalCloud, settings: Settings
) -> None:
    cloud.reset()
    stranger = bentocloud(settings, token=SecretStr("a-token-of-nobody"))
    try:
        with pytest.raises(BackendUnavailable) as raised:
            await stranger.observe()
        assert raised.value.details["reason"] == "the token is refused"
        assert not await stranger.answers()
    finally:
        await stranger.close()


async def test_what_the_cloud_refuses_is_told_in_its_words_and_without_the_token(
    engine: BentoCloud, cloud: LocalCloud
) -> None:
    cloud.fault, cloud.faulty = "400", re.compile("^/api/v2/deployments$")
    with pytest.raises(LaunchRefused, match="told to fail") as raised:
        await engine.apply(order())
    assert TOKEN not in str(raised.value)
    assert "***" in str(raised.value)


async def test_a_call_that_hangs_ends_with_its_process(
    engine: BentoCloud, cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    await engine.observe()
    monkeypatch.setattr("management.backends.bentocloud.engine.CALL_SECONDS", 0.5)
    cloud.fault = "hang"
    before = callers()
    with pytest.raises(BackendUnavailable) as raised:
        await engine.observe()
    assert raised.value.details["reason"] == "no answer within 0.5 s"
    assert len(callers()) < len(before)


@pytest.mark.server
async def test_a_call_that_hangs_ends_also_when_nobody_is_left_to_end_it(cloud: LocalCloud) -> None:
    cloud.reset()
    cloud.fault = "hang"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", str(WORKER_FILE), stdin=asyncio.subprocess.PIPE
    )
    told = {"endpoint": cloud.url, "token": TOKEN, "cluster": None, "seconds": 60}
    asked = {"verb": "ping", "seconds": 1, "asked": {}}
    assert process.stdin is not None
    process.stdin.write("".join(json.dumps(one) + "\n" for one in (told, asked)).encode())
    process.stdin.close()
    assert await asyncio.wait_for(process.wait(), SECONDS) == -signal.SIGALRM
