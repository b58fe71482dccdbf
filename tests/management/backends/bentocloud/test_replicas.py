"""The replicas that BentoCloud keeps of a deployment: how many answer, and what they wrote."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from management.backends.bentocloud.engine import BentoCloud
from management.errors import BackendUnavailable
from tests.doubles.bentocloud import engine as bentocloud_engine
from tests.doubles.bentocloud.engine import order, serving
from tests.doubles.bentocloud.server import LocalCloud
from tests.doubles.management import deployment

pytestmark = pytest.mark.asyncio(loop_scope="module")

cloud, settings = bentocloud_engine.cloud, bentocloud_engine.settings
shared, engine = bentocloud_engine.shared, bentocloud_engine.engine


async def test_the_replicas_are_counted_and_their_logs_read(engine: BentoCloud, cloud: LocalCloud) -> None:
    await serving(engine, order(least=2))
    lines = await engine.log(replace(deployment("echo"), id="d1"), 1)
    assert lines == [["echo-0: last"], ["echo-1: last"]]
    assert await engine.log(deployment("echo"), 1) == [], "it is another deployment's"


async def test_where_the_replicas_cannot_be_counted_nobody_guesses(engine: BentoCloud, cloud: LocalCloud) -> None:
    cloud.fault, cloud.faulty = "500", re.compile("/pods")
    assert (await serving(engine, order())).ready is None


ECHO = replace(deployment("echo"), id="d1")
GET = "GET /api/v2/deployments/echo"
TAIL = "GET /ws/v1/clusters/first/tail"


async def test_a_replica_that_is_gone_before_its_log_is_read_loses_no_other_s(
    engine: BentoCloud, cloud: LocalCloud
) -> None:
    await serving(engine, order(least=2))

    def shrink(call: str) -> None:
        cloud.deployments["echo"].counted = 1 if call == TAIL else None

    cloud.heard = shrink
    assert await engine.log(ECHO, 1) == [["echo-0: last"]]


async def test_what_a_replica_said_before_it_ended_is_told(engine: BentoCloud, cloud: LocalCloud) -> None:
    await serving(engine, order(least=2))
    cloud.leaving = {"echo-0"}
    assert await engine.log(ECHO, 2) == [[f"echo-{one}: first", f"echo-{one}: last"] for one in range(2)]


async def test_replicas_that_are_all_gone_have_no_logs(engine: BentoCloud, cloud: LocalCloud) -> None:
    await serving(engine, order(least=2))
    cloud.fault, cloud.faulty = "404", re.compile("/tail")
    assert await engine.log(ECHO, 1) == []


@pytest.mark.parametrize("fault", ["400", "403", "500", "reset"])
async def test_logs_that_are_all_refused_are_unavailable_and_no_error_of_ours(
    engine: BentoCloud, cloud: LocalCloud, fault: str
) -> None:
    await serving(engine, order(least=2))
    cloud.fault, cloud.faulty = fault, re.compile("/tail")
    with pytest.raises(BackendUnavailable):
        await engine.log(ECHO, 1)


@pytest.mark.parametrize("fault", ["404", "400"])
async def test_a_deployment_that_goes_before_its_logs_are_read_is_no_error_of_ours(
    engine: BentoCloud, cloud: LocalCloud, fault: str
) -> None:
    await serving(engine, order())
    looks = cloud.calls.count(GET)

    def refuse(call: str) -> None:
        if cloud.calls.count(GET) > looks + 1:
            cloud.fault, cloud.faulty = fault, re.compile("^/api/v2/deployments/echo$")

    cloud.heard = refuse
    if fault == "404":
        assert await engine.log(ECHO, 1) == []
    else:
        with pytest.raises(BackendUnavailable):
            await engine.log(ECHO, 1)
