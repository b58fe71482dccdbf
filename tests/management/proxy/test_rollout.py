"""Own addresses while replicas come and go: updates, scaling down, replicas that die, and models that sleep."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from tests.management.proxy.conftest import IDLE_SECONDS, deployed
from tests.support.calls import status, until
from tests.support.management_servers import Management
from tests.support.victims import pid_of, ready


@pytest.fixture
def api(own_addresses: Management) -> Iterator[httpx.Client]:
    with own_addresses.client() as client:
        yield client
        for name in ("moving", "asleep"):
            client.delete(f"/models/{name}", params={"force": True, "wait": 60})


@contextmanager
def at(server: Management, model_id: str) -> Iterator[httpx.Client]:
    with server.client() as client:
        client.base_url = httpx.URL(f"{server.url}/models/{model_id}")
        yield client


def update(api: httpx.Client, model_id: str, bento: str) -> None:
    config = {"version": "2.0.0", "docker_image": f"any/{bento}:1.0.0", "environment_variables": {"MANY": "2"}}
    answer = api.put(f"/models/{model_id}", params={"wait": 90}, json={"config": config})
    assert answer.status_code == 200, answer.text


def seen_by(server: Management, replica_id: str, name: str) -> int:
    """Return how many requests that wait for the name have reached a replica."""
    transport = httpx.HTTPTransport(uds=str(server.home / "replicas" / replica_id / "http.sock"))
    with httpx.Client(transport=transport, base_url="http://replica") as client:
        return int(client.get(f"/app/seen/{name}").json())


class Callers:
    """Callers that each call an own address after an answer, until the block ends."""

    def __init__(self, server: Management, model_id: str, number: int = 2) -> None:
        self.statuses: Counter[int] = Counter()
        self.revisions: set[str] = set()
        self.refusals: list[str] = []
        self._stop = threading.Event()
        self._server, self._model_id = server, model_id
        self._threads = [threading.Thread(target=self._call) for _ in range(number)]

    def _call(self) -> None:
        with at(self._server, self._model_id) as model:
            while not self._stop.is_set():
                answer = model.post("/greet", json={"name": "you"}, headers={"Idempotency-Key": "k"})
                self.statuses[answer.status_code] += 1
                self.revisions.add(answer.headers.get("X-Atelier-Revision", ""))
                if answer.status_code != 200:
                    self.refusals.append(answer.text)

    def __enter__(self) -> Callers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def test_no_request_fails_while_a_bento_is_updated(own_addresses: Management, api: httpx.Client) -> None:
    deployed(api, "many", "moving")
    with Callers(own_addresses, "moving") as callers:
        until(lambda: callers.statuses[200] > 5)
        update(api, "moving", "many")
        until(lambda: "2" in callers.revisions)
    assert set(callers.statuses) == {200}, callers.refusals[:3]
    assert callers.revisions == {"1", "2"}


@pytest.mark.parametrize("finishes", [True, False])
def test_a_stream_in_an_update_is_drained_up_to_a_limit(
    own_addresses: Management, api: httpx.Client, *, finishes: bool
) -> None:
    deployed(api, "many", "moving")
    with at(own_addresses, "moving") as model, model.stream("GET", "/app/events/drain", timeout=60) as answer:
        lines = answer.iter_lines()
        assert next(lines).startswith("data: ")
        if finishes:  # its old replica is no longer called, so that the end is called before the update ends it
            model.post("/app/go/stop-drain")
            model.post("/app/go/drain")
        update(api, "moving", "many")
        with at(own_addresses, "moving") as other:
            assert other.get("/app/seen/x").headers["X-Atelier-Revision"] == "2"
        rest = "\n".join(lines)
    assert ("event: error" in rest) is not finishes, rest


def test_a_stream_of_a_model_that_is_scaled_to_nothing_ends_readably(
    own_addresses: Management, api: httpx.Client
) -> None:
    deployed(api, "many", "moving", min_replicas=0)
    with at(own_addresses, "moving") as model, model.stream("GET", "/app/events/gone", timeout=60) as answer:
        lines = answer.iter_lines()
        assert next(lines).startswith("data: ")
        began = time.monotonic()
        scaled = api.post("/models/moving/scale", json={"replicas": 0})
        assert scaled.status_code in (200, 202), scaled.text
        rest = "\n".join(lines)
    assert "event: error" in rest
    assert "MODEL_FAILED" in rest
    assert time.monotonic() - began < 40


def test_a_request_of_a_replica_that_is_killed_is_repeated_only_if_that_is_safe(
    own_addresses: Management, api: httpx.Client
) -> None:
    deployed(api, "many", "moving", min_replicas=2)
    answers: dict[str, httpx.Response] = {}

    def ask(method: str) -> None:
        with at(own_addresses, "moving") as model:
            answers[method] = model.request(method, "/app/wait/killed")

    threads = [threading.Thread(target=ask, args=(method,)) for method in ("GET", "POST")]
    for thread in threads:
        thread.start()
    with at(own_addresses, "moving") as model:
        replicas = ready(api, "moving")
        until(lambda: sum(seen_by(own_addresses, replica, "killed") for replica in replicas) == 2)
        for replica in replicas:
            os.kill(pid_of(own_addresses.home, replica), signal.SIGKILL)
        threads[1].join(60)
        until(lambda: "POST" in answers)

        def released() -> bool:
            model.post("/app/go/killed", headers={"X-Atelier-Timeout": "5"})
            return not threads[0].is_alive()

        until(released, 90)
    assert (answers["POST"].status_code, answers["POST"].headers["X-Atelier-Error"]) == (502, "MODEL_FAILED")
    assert answers["GET"].status_code == 200, answers["GET"].text


def test_a_model_that_sleeps_is_woken_by_a_path_that_it_serves_and_by_no_other(
    own_addresses: Management, api: httpx.Client
) -> None:
    deployed(api, "echo", "asleep", min_replicas=0)
    until(lambda: status(api, "asleep")["replicas"]["current"] == 0)
    with at(own_addresses, "asleep") as model:
        for path in ("/nothing", "/infer/", "/.env"):
            answer = model.get(path)
            assert (answer.status_code, answer.headers["X-Atelier-Error"]) == (404, "NOT_FOUND")
        assert status(api, "asleep")["replicas"]["current"] == 0
        answer = model.post("/infer", json={"requests": [{"input_data": {"n": 1}}]})
        assert answer.status_code == 200
        assert float(answer.headers["X-Atelier-Queue-Time"]) > 0.1


def test_a_model_with_an_open_stream_does_not_go_to_sleep(own_addresses: Management, api: httpx.Client) -> None:
    deployed(api, "many", "asleep", min_replicas=0)
    with at(own_addresses, "asleep") as model, model.stream("GET", "/app/events/awake", timeout=60) as answer:
        lines = answer.iter_lines()
        assert next(lines).startswith("data: ")
        late = time.monotonic() + 3 * IDLE_SECONDS
        while time.monotonic() < late:
            assert status(api, "asleep")["replicas"]["current"] == 1
            time.sleep(0.2)
    until(lambda: status(api, "asleep")["replicas"]["current"] == 0)


def test_every_replica_knows_a_task_also_those_that_start_later(own_addresses: Management) -> None:
    with own_addresses.client() as api:
        deployed(api, "many", "tasks", min_replicas=2)
        try:
            with at(own_addresses, "tasks") as model:
                task = model.post("/square/submit", json={"number": 7}).json()["task_id"]
                until(lambda: fetched(model, "status", task)["status"] == "completed")
                for replica in ready(api, "tasks"):
                    os.kill(pid_of(own_addresses.home, replica), signal.SIGKILL)
                assert [fetched(model, "get", task) for _ in range(4)] == [49] * 4
        finally:
            api.delete("/models/tasks", params={"force": True, "wait": 60})
    assert not list((own_addresses.home / "tasks").glob("tasks.db*")), "they go with the model"


def fetched(model: httpx.Client, what: str, task: str) -> Any:
    answer = model.get(f"/square/{what}", params={"task_id": task})
    assert answer.status_code == 200, answer.text
    return answer.json()
