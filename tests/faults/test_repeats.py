"""One change that is asked for many times at once, under one Idempotency-Key, is made once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import httpx
import pytest

from tests.support.calls import hosts, infer, status, until
from tests.support.management_servers import Management, echo_config
from tests.support.running.figures import Figure

pytestmark = pytest.mark.slow

CALLERS = 50
WAIT = 60


@pytest.fixture
def clients(management: Management, api: httpx.Client) -> Iterator[list[httpx.Client]]:
    """Each with a connection of its own."""
    opened = [management.client() for _ in range(CALLERS)]
    yield opened
    for connection in opened:
        connection.close()


@pytest.mark.parametrize("wait", [0, WAIT])
def test_many_deployments_at_once_under_one_key_are_one(
    management: Management, api: httpx.Client, clients: list[httpx.Client], figure: Figure, wait: int
) -> None:
    together = Barrier(CALLERS)
    body = {"config": echo_config()}

    def ask(client: httpx.Client) -> tuple[httpx.Response, int]:
        """The answer, and how often it was told to come again before."""
        together.wait()
        deadline = time.monotonic() + WAIT
        again = 0
        while True:
            headers = {"Idempotency-Key": f"once-{wait}"}
            answer = client.post("/models/deploy", params={"wait": wait}, json=body, headers=headers)
            if answer.status_code != 409 or answer.json()["error"]["code"] != "REQUEST_RUNNING":
                return answer, again
            assert time.monotonic() < deadline
            again += 1
            time.sleep(int(answer.headers["retry-after"]))

    with ThreadPoolExecutor(CALLERS) as pool:
        told = list(pool.map(ask, clients))
    answers = [answer for answer, _ in told]
    assert {answer.status_code for answer in answers} == {200 if wait else 202}
    bodies: list[dict[str, Any]] = [answer.json() for answer in answers]
    assert all(body == bodies[0] for body in bodies)
    assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 1
    until(lambda: infer(api, {}).status_code == 200)
    assert status(api)["deployment_id"] == bodies[0]["deployment_id"]
    events = api.get("/models/echo/events", params={"limit": 1000}).json()
    own = [event["action"] for event in events if event["deployment_id"] == bodies[0]["deployment_id"]]
    assert sorted(own) == ["deploy", "replica_ready"]
    assert len(api.get("/models").json()) == 1
    assert len(hosts(management)) == 1
    figure(
        f"{CALLERS} equal answers ({answers[0].status_code}; {sum(again for _, again in told)} times told to come "
        f"again), 1 deployment, 1 process",
        goal=f"{CALLERS} equal answers, 1 deployment, 1 process",
    )
