"""The replicas that BentoCloud keeps of a deployment: how many answer, and what they wrote."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from management.backends.bentocloud import BentoCloud
from tests import bentocloud_engine
from tests.bentocloud_engine import order, serving
from tests.bentocloud_server import LocalCloud
from tests.management_doubles import deployment

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
