"""Inference through a real server: timeouts, full queues, callers who leave, batches, and what is refused."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from tests.support.calls import deploy, infer, until
from tests.support.management_servers import Management, echo_config, managing
from tests.support.metrics import occupied
from tests.support.running.figures import SLACK


def test_a_request_has_its_timeout_and_waiting_counts(api: httpx.Client) -> None:
    deploy(api)
    started = time.monotonic()
    late = infer(api, {"sleep": 20}, timeout=1)
    assert (late.status_code, late.json()["error"]["code"]) == (408, "INFERENCE_TIMEOUT")
    assert time.monotonic() - started < 1 + 2 * SLACK


@pytest.mark.slow
def test_a_full_queue_is_said_with_a_time_to_come_again_and_who_leaves_frees_a_place(
    api: httpx.Client, management: Management
) -> None:
    deploy(api)
    with ThreadPoolExecutor(4) as pool:
        leavers = [pool.submit(_leave, management) for _ in range(4)]  # two are served, two wait
        until(lambda: occupied(api) == (2, 2))
        full = infer(api, {})
        assert (full.status_code, full.json()["error"]["code"]) == (503, "INSUFFICIENT_RESOURCES")
        assert 1 <= int(full.headers["retry-after"]) <= 60
        for task in leavers:
            task.result()
    assert infer(api, {}, timeout=60).status_code == 200


def _leave(management: Management) -> None:
    """Asks for what takes long, and hangs up after a moment."""
    with management.client() as client, suppress(httpx.ReadTimeout):
        client.post("/models/echo/inference", json={"input_data": {"sleep": 6}}, timeout=5)


def test_an_items_own_error_is_422_alone_and_in_its_place_in_a_batch(api: httpx.Client) -> None:
    deploy(api)
    error = {"error": {"code": "UNKNOWN_SYMPTOMS", "message": "none is known", "status": 422}}
    alone = infer(api, error)
    assert (alone.status_code, alone.json()["error"]["code"]) == (422, "UNKNOWN_SYMPTOMS")
    items = [{"input_data": error if number % 10 == 3 else {"n": number}} for number in range(64)]
    batch = api.post("/models/echo/batch_inference", json={"requests": items}).json()
    assert [
        item.get("error", {}).get("code", item["output_data"] and item["output_data"]["echo"]["n"]) for item in batch
    ] == ["UNKNOWN_SYMPTOMS" if number % 10 == 3 else number for number in range(64)]
    assert len({item["request_id"] for item in batch}) == 64


def test_the_same_idempotency_key_deploys_once(api: httpx.Client) -> None:
    body = {"config": echo_config("once")}
    headers = {"Idempotency-Key": "one"}
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: api.post("/models/deploy", json=body, headers=headers), range(8)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["deployment_id"] for answer in answers}) == 1
    other = api.post("/models/deploy", json={"config": echo_config("other")}, headers=headers)
    assert (other.status_code, other.json()["error"]["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")


def test_more_than_the_machine_holds_is_refused_with_what_there_is(api: httpx.Client) -> None:
    answer = deploy(api, resource_requirements={"cpu": "100k", "memory": "1Gi", "nvidia.com/gpu": "99"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "INSUFFICIENT_RESOURCES")
    details = answer.json()["error"]["details"]
    assert details["requested"]["nvidia.com/gpu"] == "99"
    assert int(details["available"]["cpu"].removesuffix("m")) > 0


def test_an_image_that_is_not_in_the_store_names_those_that_are(api: httpx.Client) -> None:
    answer = deploy(api, docker_image="tests/echo:9.9.9")
    assert answer.status_code == 400
    (problem,) = answer.json()["error"]["details"]["problems"]
    assert "echo:1.0.0, echo:2.0.0" in problem["message"]
    assert "bentoml build --version 9.9.9" in problem["message"]


def test_who_waits_for_a_model_that_is_deleted_is_told_at_once(api: httpx.Client) -> None:
    deploy(api)
    with ThreadPoolExecutor(4) as pool:
        started = time.monotonic()
        calls = [pool.submit(infer, api, {"sleep": 2}, timeout=60) for _ in range(4)]  # two are served, two wait
        until(lambda: occupied(api) == (2, 2))
        api.delete("/models/echo", params={"wait": 30})
        answers = sorted(call.result().status_code for call in calls)
    assert answers == [200, 200, 404, 404]
    assert time.monotonic() - started < 20


@pytest.mark.slow
def test_a_machine_that_became_too_small_lets_models_be_stopped(echo_bentos: Path) -> None:
    with managing(echo_bentos) as large, large.client() as api:
        deploy(api)
        os.kill(large.pid, signal.SIGKILL)
        with managing(echo_bentos, home=large.home, ATELIER_CPUS="0.01") as small, small.client() as again:
            refused = again.post("/models/echo/scale", json={"replicas": 2})
            assert refused.json()["error"]["code"] == "INSUFFICIENT_RESOURCES"
            assert again.post("/models/echo/scale", params={"wait": 30}, json={"replicas": 0}).status_code == 200
