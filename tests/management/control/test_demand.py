"""Models on demand and models that follow their load: real servers, real replicas, real requests."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import httpx
import pytest

from management.domain.clock import now
from tests.support.calls import Load, deploy, hosts, infer, status, until
from tests.support.management_servers import Management, managing

ON_DEMAND = {"min_replicas": 0, "max_replicas": 2}


@pytest.fixture(scope="module")
def lazy(echo_bentos: Path) -> Iterator[Management]:
    """A server whose models on demand sleep soon, and whose load counts soon."""
    with managing(
        echo_bentos,
        ATELIER_IDLE_SECONDS="2",
        ATELIER_QUIET_SECONDS="4",
        ATELIER_HOLD_SECONDS="1",
        ATELIER_CONCURRENCY="2",
    ) as server:
        yield server


@pytest.fixture
def api(lazy: Management) -> Iterator[httpx.Client]:
    with lazy.client(**{"Accept-Language": "en"}) as client:
        yield client
        for model in client.get("/models").json():
            client.delete(f"/models/{model['model_id']}", params={"force": True, "wait": 30})


def actions(api: httpx.Client, model_id: str = "echo") -> list[str]:
    """What has happened to the deployment that is there now, the first first."""
    own = status(api, model_id)["deployment_id"]
    events = api.get(f"/models/{model_id}/events").json()
    return [event["action"] for event in events if event["deployment_id"] == own][::-1]


def test_a_model_that_nobody_asks_is_ended_and_the_next_request_starts_it_and_waits(
    api: httpx.Client, lazy: Management
) -> None:
    deploy(api, scaling_config=ON_DEMAND)
    until(lambda: status(api)["status"] == "stopped" and not hosts(lazy))
    assert status(api)["message"] == "Asleep: the next request starts it"
    assert api.get("/health").json()["status"] == "healthy"
    assert infer(api, {"n": 1}).status_code == 200
    assert status(api)["replicas"]["ready"] == 1
    assert [action for action in actions(api) if action in {"rest", "wake"}] == ["rest", "wake"]


def test_many_who_ask_at_once_start_it_once_and_are_all_answered(api: httpx.Client, lazy: Management) -> None:
    deploy(api, scaling_config=ON_DEMAND)
    until(lambda: not hosts(lazy))
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda number: infer(api, {"n": number}), range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["output_data"]["pid"] for answer in answers}) == 1
    slept = [action for action in actions(api) if action in {"rest", "wake"}]
    assert slept[:3] in (["rest", "wake"], ["rest", "wake", "rest"]), "nobody woke it twice"


@pytest.mark.slow
def test_who_gives_a_sleeping_model_no_time_is_told_so_and_it_starts_for_the_next(
    api: httpx.Client, lazy: Management
) -> None:
    deploy(api, scaling_config=ON_DEMAND, environment_variables={"ECHO_START_SECONDS": "2"})
    until(lambda: not hosts(lazy))
    assert infer(api, {}, timeout=1).json()["error"]["code"] == "INFERENCE_TIMEOUT"
    assert infer(api, {}, timeout=30).status_code == 200


@pytest.mark.slow
def test_a_model_that_somebody_stopped_stays_so(api: httpx.Client, lazy: Management) -> None:
    deploy(api, scaling_config=ON_DEMAND)
    api.post("/models/echo/scale", params={"wait": 30}, json={"replicas": 0})
    until(lambda: not hosts(lazy))
    assert infer(api, {}).json()["error"]["code"] == "MODEL_NOT_READY"
    assert not hosts(lazy)


@pytest.mark.slow
def test_a_sleeping_model_that_is_updated_shows_that_the_update_works(api: httpx.Client, lazy: Management) -> None:
    deploy(api, scaling_config=ON_DEMAND)
    until(lambda: not hosts(lazy))
    bad = {"config": {"version": "2.0.0", "environment_variables": {"ECHO_FAIL": "1"}}}
    assert api.put("/models/echo", params={"wait": 60}, json=bad).json()["error"]["code"] == "DEPLOYMENT_FAILED"
    assert infer(api, {}).json()["output_data"]["version"] == "1.0.0"


@pytest.mark.slow
def test_where_there_is_no_room_the_longest_idle_makes_place(echo_bentos: Path) -> None:
    with managing(echo_bentos, ATELIER_MEMORY="300Mi", ATELIER_OVERCOMMIT="1") as server, server.client() as api:
        for name in ("first", "second"):
            assert deploy(api, name, scaling_config=ON_DEMAND).status_code == 200
        until(lambda: _idle_for(api, "first", 11.0), 30)
        assert deploy(api, "third", scaling_config={"max_replicas": 1}).status_code == 200
        assert status(api, "first")["status"] == "stopped"
        assert status(api, "second")["status"] == "running"
        until(lambda: infer(api, {}, "first").status_code == 200, 30)
        assert status(api, "second")["status"] == "stopped"
        assert deploy(api, "large", resource_requirements={"memory": "290Mi"}).status_code == 503
        assert status(api, "first")["status"] == "running", "nobody is ended in vain"


def _idle_for(api: httpx.Client, model_id: str, seconds: float) -> bool:
    ready: str = status(api, model_id)["replica_details"][0]["ready_at"]
    return (now() - datetime.fromisoformat(ready)).total_seconds() > seconds


@pytest.mark.slow
def test_replicas_follow_the_load_up_at_once_and_down_after_a_quiet_time(api: httpx.Client, lazy: Management) -> None:
    deploy(api, scaling_config={"min_replicas": 1, "max_replicas": 3}, resource_requirements={"cpu": "4"})
    with Load(lazy, callers=8, input_data={"sleep": 0.2}) as load:
        until(lambda: status(api)["replicas"]["ready"] == 3, 30)
    assert set(load.statuses) <= {200, 503}
    until(lambda: status(api)["replicas"]["current"] == 1, 40)
    own = status(api)["deployment_id"]
    events = [event for event in api.get("/models/echo/events").json() if event["deployment_id"] == own]
    scaled = [event for event in events if event["action"] == "scale"]
    assert {event["actor"] for event in scaled} == {"autoscaler"}
    numbers = [(event["details"]["from"], event["details"]["to"]) for event in scaled[::-1]]
    grown = [low < high for low, high in numbers]
    assert grown == sorted(grown, reverse=True), f"up, then down, and not up again: {numbers}"
    assert numbers[-1][1] == 1
    assert "requests wait" in scaled[-1]["details"]["reason"]
