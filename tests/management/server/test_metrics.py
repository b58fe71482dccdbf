"""What the management tells Prometheus: real servers, real requests, and what is gone when a model is."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from management.counters import Outcome, Rejection, ReplicaCounters
from management.domain.records import (
    GATEWAY,
    LoadReport,
)
from management.gateway.queue import QueueLimits
from management.gateway.route_table import RouteTable
from management.metrics import Metrics
from management.store import Store
from tests.doubles.management import deployment
from tests.support.calls import deploy, hosts, infer, status, until
from tests.support.management_servers import Management, managing
from tests.support.metrics import scraped, total
from tests.support.servers import ROOT

INFERENCE = "/api/v1/models/{model_id}/inference"


def models(api: httpx.Client) -> set[str]:
    """Every model that any series names."""
    return {told["model"] for series in scraped(api).values() for told, _ in series if "model" in told}


def test_the_documentation_names_every_outcome_and_reason() -> None:
    page = (ROOT / "docs" / "management.md").read_text()
    for series, label, words in (("requests", "outcome", Outcome), ("rejections", "reason", Rejection)):
        (row,) = re.findall(rf"^\| `atelier_model_{series}_total`.*$", page, re.MULTILINE)
        assert set(re.findall(r"`(\w+)`", row.split("|")[2])) == {"model", "worker", label, *words}


def test_what_becomes_of_each_request_is_counted_for_its_model(api: httpx.Client) -> None:
    deploy(api)
    for _ in range(3):
        assert infer(api, {"n": 1}).status_code == 200
    assert infer(api, {"error": {"code": "TOO_ODD", "message": "no"}}).status_code == 422
    assert infer(api, {"sleep": 2}, timeout=1).status_code == 408
    outcomes = {told["outcome"]: value for told, value in scraped(api)["atelier_model_requests_total"]}
    assert outcomes == {"answered": 4, "rejected": 1, "failed": 0, "left": 0}
    assert total(api, "atelier_model_rejections_total", reason="timeout") == 1
    assert total(api, "atelier_model_inference_seconds_count") == 4
    assert total(api, "atelier_model_inference_seconds_bucket", le="+Inf") == 4
    assert 0 < total(api, "atelier_model_inference_seconds_sum") < 60
    assert total(api, "atelier_model_queue_seconds_count") == 5


@pytest.mark.slow
def test_a_full_queue_is_seen_in_flight_waiting_and_in_the_rejections(api: httpx.Client) -> None:
    deploy(api)
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(infer, api, {"sleep": 2}) for _ in range(8)]
        until(lambda: total(api, "atelier_model_rejections_total", reason="queue_full") == 4)
        assert total(api, "atelier_model_in_flight") == 2
        assert total(api, "atelier_model_waiting") == 2
        assert total(api, "atelier_model_places") == 2
        statuses = sorted(answer.result().status_code for answer in answers)
    assert statuses == [200] * 4 + [503] * 4
    assert total(api, "atelier_model_requests_total", outcome="rejected") == 4
    assert total(api, "atelier_model_queue_seconds_sum") > 2
    assert total(api, "atelier_model_waiting") == total(api, "atelier_model_in_flight") == 0


def test_a_model_that_breaks_has_failures_and_one_that_is_not_there_no_series(
    api: httpx.Client, management: Management
) -> None:
    deploy(api)
    assert infer(api, {}, "nobody").status_code == 404
    hosts(management)[0].kill()
    until(lambda: total(api, "atelier_model_replica_failures_total", model="echo") == 1)
    until(lambda: total(api, "atelier_model_replica_starts_total", model="echo") == 2)
    until(lambda: status(api)["replicas"]["ready"] == 1)
    assert total(api, "atelier_model_replicas", model="echo", state="ready") == 1
    assert total(api, "atelier_model_replicas", model="echo", state="failed") == 1
    assert total(api, "atelier_model_replicas_wanted", model="echo") == 1
    assert total(api, "atelier_model_status", model="echo", status="running") == 1
    assert total(api, "atelier_model_status", model="echo") == 1
    assert models(api) == {"echo"}


def test_deleting_a_model_deletes_its_series_and_its_successor_begins_at_nought(api: httpx.Client) -> None:
    deploy(api)
    deploy(api, "other")
    infer(api, {"n": 1})
    assert models(api) == {"echo", "other"}
    api.delete("/models/echo", params={"wait": 30})
    assert models(api) == {"other"}
    deploy(api)
    assert total(api, "atelier_model_requests_total", model="echo") == 0
    assert total(api, "atelier_model_replica_starts_total", model="echo") == 1


def test_requests_are_labelled_by_route_template_and_nothing_a_caller_writes_becomes_a_label(
    api: httpx.Client, management: Management
) -> None:
    def refused() -> Counter[tuple[str, str]]:
        """By method and route."""
        series = scraped(api)["atelier_requests_total"]
        return Counter({(told["method"], told["route"]): int(n) for told, n in series if told["status"] == "4xx"})

    before = refused()
    infer(api, {}, "nobody-1")
    with management.client(key=None) as stranger:
        assert infer(stranger, {}, "nobody-2").status_code == 401
    api.get("/models/nobody-3/inference")
    api.get("/nowhere/nobody-4")
    api.request("PROPFIND", "/nowhere/nobody-5")
    api.request("PROPFIND", "/models/nobody-6/inference")
    assert refused() - before == {
        ("POST", INFERENCE): 2,
        ("GET", INFERENCE): 1,
        ("other", INFERENCE): 1,
        ("other", "other"): 2,
    }
    assert "nobody" not in api.get("/metrics").text
    labels = {told["route"] for told, _ in scraped(api)["atelier_requests_total"]}
    assert "/api/v1/metrics" in labels
    assert total(api, "atelier_request_seconds_count", method="POST", route=INFERENCE) >= 2


def test_the_series_want_a_key_and_a_viewers_will_do(management: Management) -> None:
    with management.client(key=None) as stranger:
        assert stranger.get("/metrics").status_code == 401
    with management.client() as api:
        answer = api.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    with httpx.Client(trust_env=False, headers={"Authorization": "Bearer your-api-key"}) as bearer:
        assert bearer.get(f"{management.url}/api/v1/metrics").status_code == 200


def test_the_platform_says_how_it_is(api: httpx.Client) -> None:
    assert total(api, "atelier_management_database_up") == 1
    assert total(api, "atelier_management_lease_held") == 1
    assert 0 < total(api, "atelier_management_disk_free_bytes") < total(api, "atelier_management_disk_bytes")


@pytest.fixture(scope="module")
def crowd(echo_bentos: Path) -> Iterator[Management]:
    """A server of two workers."""
    with managing(echo_bentos, workers=2) as server:
        yield server


async def test_without_its_database_a_worker_tells_what_it_knows_by_itself(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/missing/db")
    routes = RouteTable(QueueLimits(1, 1, 1, 1.0))
    routes.learn([deployment()], [])
    metrics = Metrics(store, routes, {}, "worker", tmp_path)
    text = (await metrics.text()).decode()
    assert "atelier_management_database_up 0.0" in text
    assert 'atelier_model_waiting{model="echo"} 0.0' in text
    assert "atelier_model_replicas" not in text


async def test_of_what_is_demanded_every_workers_line_counts_and_no_request_twice(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/db")
    store.migrate()
    asked = deployment()
    at = time.time()
    with store.writing() as session:
        session.deployments.add(asked)
        session.load_reports.put(
            [
                LoadReport("other", asked.id, 2, 3, 4, at, at),
                LoadReport("worker", asked.id, 50, 50, 50, at, at),
                LoadReport(GATEWAY, asked.id, 0, 1, 0, at, at),
            ]
        )
    routes = RouteTable(QueueLimits(1, 1, 1, 1.0))
    routes.learn([asked], [])
    text = (await Metrics(store, routes, {}, "worker", tmp_path).text()).decode()
    store.close()
    for name, number in (("in_flight", 2), ("waiting", 3), ("places", 4)):
        assert f'atelier_model_{name}{{model="echo"}} {number}.0' in text


async def test_what_was_counted_of_a_deployment_that_is_gone_is_forgotten(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/db")
    store.migrate()
    tallies = {"gone": ReplicaCounters(starts=1)}
    metrics = Metrics(store, RouteTable(QueueLimits(1, 1, 1, 1.0)), tallies, "worker", tmp_path)
    assert b"atelier_management_database_up 1.0" in await metrics.text()
    assert not tallies
    store.close()


@pytest.mark.slow
def test_of_several_workers_each_tells_what_it_counted_and_all_tell_what_is_recorded(crowd: Management) -> None:
    def worker() -> tuple[str, float, float]:
        with crowd.client() as fresh:  # a new connection: either worker may take it
            found = scraped(fresh)
        (labels, _), *_ = found["atelier_model_inference_seconds_count"]
        answered = sum(value for _, value in found["atelier_model_inference_seconds_count"])
        return labels["worker"], answered, found["atelier_model_replicas_wanted"][0][1]

    with crowd.client() as api:
        deploy(api)
        for _ in range(40):
            with crowd.client() as fresh:
                assert infer(fresh, {"n": 1}).status_code == 200
    told: dict[str, tuple[float, float]] = {}

    def asked() -> bool:
        name, answered, wanted = worker()
        told[name] = (answered, wanted)
        return len(told) == 2

    until(asked)
    assert sum(answered for answered, _ in told.values()) == 40
    assert {wanted for _, wanted in told.values()} == {1}


@pytest.mark.slow
def test_the_autoscalers_decisions_are_counted(echo_bentos: Path) -> None:
    with (
        managing(
            echo_bentos,
            ATELIER_CONCURRENCY="2",
            ATELIER_IDLE_SECONDS="2",
            ATELIER_QUIET_SECONDS="2",
            ATELIER_HOLD_SECONDS="0",
        ) as server,
        server.client() as api,
    ):
        deploy(api, scaling_config={"min_replicas": 0, "max_replicas": 2})
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: infer(api, {"sleep": 1}), range(24)))
        until(lambda: total(api, "atelier_model_scalings_total", direction="rest") == 1)
        assert total(api, "atelier_model_scalings_total", direction="up") >= 1
        assert infer(api, {"n": 1}).status_code == 200
        assert total(api, "atelier_model_queue_seconds_sum") > 0.5, "whoever wakes a model waits for it"
