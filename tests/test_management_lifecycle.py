"""Deploy, call, scale, update and delete, with real servers and real replicas of the echo Bento."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.management_servers import Management, echo_config, echo_store, managing

SETTINGS = ("STEADY_SECONDS=2", "RETRY_SECONDS=0.1", "CONCURRENCY=2", "QUEUE_SIZE=2")


@pytest.fixture(scope="module")
def bentos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return echo_store(tmp_path_factory.mktemp("bentos"))


@contextmanager
def quick(bentos: Path, *, home: Path | None = None, workers: int = 1) -> Iterator[Management]:
    """A server that is soon full, and soon tries again."""
    pairs = dict(one.split("=") for one in SETTINGS)
    environment = {f"ATELIER_{name}": value for name, value in pairs.items()}
    with managing(bentos, home=home, workers=workers, **environment) as running:
        yield running


@pytest.fixture(scope="module")
def server(bentos: Path) -> Iterator[Management]:
    with quick(bentos) as running:
        yield running


@pytest.fixture
def api(server: Management) -> Iterator[httpx.Client]:
    """A client; every model that a test leaves is deleted after it."""
    with server.client(**{"Accept-Language": "en"}) as client:
        yield client
        for model in client.get("/models").json():
            client.delete(f"/models/{model['model_id']}", params={"force": True, "wait": 30})


def deploy(api: httpx.Client, model_id: str = "echo", **fields: object) -> httpx.Response:
    usual = {"scaling_config": {"max_replicas": 4}, "environment_variables": {"ECHO_VERSION": "1.0.0"}}
    config = echo_config(model_id, **(usual | fields))  # type: ignore[arg-type]
    return api.post("/models/deploy", params={"wait": 60}, json={"config": config})


def infer(api: httpx.Client, input_data: dict[str, Any], model_id: str = "echo", **fields: object) -> httpx.Response:
    return api.post(f"/models/{model_id}/inference", json={"input_data": input_data, **fields})


def status(api: httpx.Client, model_id: str = "echo") -> dict[str, Any]:
    found: dict[str, Any] = api.get(f"/models/{model_id}/status").json()
    return found


def until(true: Callable[[], object], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.02)


def hosts(server: Management) -> list[psutil.Process]:
    """The replicas' processes of this server."""
    folder = str(server.home / "replicas")
    found = []
    for process in psutil.process_iter():
        try:
            if any(part.startswith(folder) for part in process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


class Load:
    """Callers that ask one after the other until the block ends, and what they were answered."""

    def __init__(self, server: Management, callers: int = 2) -> None:
        self.statuses: Counter[int] = Counter()
        self.versions: Counter[str] = Counter()
        self.refusals: list[str] = []
        self._server, self._stop = server, threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(callers)]

    def _ask(self) -> None:
        with self._server.client() as client:
            while not self._stop.is_set():
                answer = infer(client, {"n": 1})
                self.statuses[answer.status_code] += 1
                if answer.status_code != 200:
                    self.refusals.append(answer.text)
                if answer.status_code == 200:
                    self.versions[answer.json()["output_data"]["version"]] += 1

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def test_a_deployed_model_answers_and_tells_all_of_itself(api: httpx.Client) -> None:
    assert deploy(api, environment_variables={"GREETING": "secret-value"}).status_code == 200
    answer = infer(api, {"text": "头痛"})
    assert answer.status_code == 200
    said = answer.json()
    assert said["output_data"]["echo"] == {"text": "头痛"}
    assert said["request_id"] == answer.headers["x-request-id"]
    assert said["model_id"] == "echo"
    assert 0 < said["processing_time"] < 30
    told = status(api)
    assert told["replicas"] == {"desired": 1, "current": 1, "ready": 1}
    assert told["config"]["environment_variables"] == {"GREETING": "******"}
    until(lambda: status(api)["resource_usage"]["memory"] != "0Mi")
    assert "secret-value" not in api.get("/models/echo/events").text + str(told)
    assert [one["action"] for one in api.get("/models/echo/events").json()] == ["replica_ready", "deploy"]
    assert api.get("/models/echo/logs").json()["replicas"][0]["state"] == "ready"


def test_an_id_is_taken_once_and_free_again_after_deletion(api: httpx.Client) -> None:
    deploy(api)
    assert deploy(api).json()["error"]["code"] == "MODEL_ALREADY_EXISTS"
    first = infer(api, {}).json()["output_data"]["pid"]
    assert api.delete("/models/echo", params={"wait": 30}).status_code == 200
    assert infer(api, {}).json()["error"]["code"] == "MODEL_NOT_FOUND"
    deploy(api, version="2.0.0", environment_variables={"ECHO_VERSION": "2.0.0"})
    second = infer(api, {}).json()["output_data"]
    assert second["version"] == "2.0.0"
    assert second["pid"] != first


def test_scaling_starts_and_ends_replicas_and_stops_the_model_at_none(api: httpx.Client, server: Management) -> None:
    deploy(api)
    said = api.post("/models/echo/scale", params={"wait": 60}, json={"replicas": 3})
    assert (said.status_code, said.json()["current_replicas"], said.json()["target_replicas"]) == (200, 1, 3)
    assert len(hosts(server)) == 3
    assert api.post("/models/echo/scale", json={"replicas": 5}).json()["error"]["code"] == "INVALID_MODEL_CONFIG"
    assert api.post("/models/echo/scale", params={"wait": 60}, json={"replicas": 0}).status_code == 200
    until(lambda: not hosts(server))
    assert status(api)["status"] == "stopped"
    refused = infer(api, {})
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "MODEL_NOT_READY")
    assert int(refused.headers["retry-after"]) >= 1


def test_an_update_fails_no_request_and_ends_with_the_new_version_alone(api: httpx.Client, server: Management) -> None:
    deploy(api)
    api.post("/models/echo/scale", params={"wait": 60}, json={"replicas": 2})
    with Load(server) as load:
        new = {"version": "2.0.0", "docker_image": "tests/echo:2.0.0"}
        new |= {"environment_variables": {"ECHO_VERSION": "2.0.0"}}  # type: ignore[dict-item]
        assert api.put("/models/echo", params={"wait": 60}, json={"config": new}).status_code == 200
        until(lambda: status(api)["replicas"]["current"] == 2)
    assert set(load.statuses) == {200}, load.refusals
    assert set(load.versions) == {"1.0.0", "2.0.0"}
    assert {infer(api, {}).json()["output_data"]["version"] for _ in range(6)} == {"2.0.0"}
    assert status(api)["revision"] == 2


def test_a_version_that_does_not_start_leaves_the_old_one_serving_and_says_why(
    api: httpx.Client, server: Management
) -> None:
    deploy(api)
    with Load(server) as load:
        bad = {"version": "2.0.0", "docker_image": "tests/echo:2.0.0", "environment_variables": {"ECHO_FAIL": "1"}}
        answer = api.put("/models/echo", params={"wait": 60}, json={"config": bad})
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "DEPLOYMENT_FAILED")
    details = answer.json()["error"]["details"]
    assert details["serving"] == "1.0.0"
    assert "exit status" in details["reason"]
    assert any("Error" in line for line in details["log"])
    assert set(load.statuses) == {200}, load.refusals
    assert set(load.versions) == {"1.0.0"}
    told = status(api)
    assert (told["status"], told["version"]) == ("running", "1.0.0")
    assert "2.0.0" in told["message"]


def test_a_model_that_never_starts_is_given_up_with_its_reason(api: httpx.Client) -> None:
    answer = deploy(api, environment_variables={"ECHO_FAIL": "1"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "DEPLOYMENT_FAILED")
    told = status(api)
    assert told["status"] == "failed"
    assert [one["state"] for one in told["replica_details"]] == ["failed"] * 3
    again = api.put(
        "/models/echo", params={"wait": 60}, json={"config": {"environment_variables": {"ECHO_FAIL": None}}}
    )
    assert again.status_code == 200
    assert status(api)["status"] == "running"


def test_a_killed_replica_is_replaced_and_its_callers_are_served_by_another(
    api: httpx.Client, server: Management
) -> None:
    deploy(api)
    api.post("/models/echo/scale", params={"wait": 60}, json={"replicas": 2})
    before = {one.pid for one in hosts(server)}
    with Load(server) as load:
        os.kill(min(before), signal.SIGKILL)
        until(lambda: len({one.pid for one in hosts(server)} - before) == 1 and status(api)["replicas"]["ready"] == 2)
    assert set(load.statuses) == {200}, load.refusals
    failed = [one for one in status(api)["replica_details"] if one["state"] == "failed"]
    assert failed[0]["reason"] == "the process was ended by SIGKILL"


@pytest.mark.parametrize(("force", "expected"), [(False, 200), (True, 503)])
def test_deletion_waits_for_what_is_in_flight_unless_it_is_forced(
    api: httpx.Client, force: bool, expected: int
) -> None:
    deploy(api)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(infer, api, {"sleep": 3})
        time.sleep(1)  # it is on its way to the replica
        assert api.delete("/models/echo", params={"wait": 30, "force": force}).status_code == 200
        assert slow.result().status_code == expected


def test_a_request_has_its_timeout_and_waiting_counts(api: httpx.Client) -> None:
    deploy(api)
    started = time.monotonic()
    late = infer(api, {"sleep": 5}, timeout=1)
    assert (late.status_code, late.json()["error"]["code"]) == (408, "INFERENCE_TIMEOUT")
    assert time.monotonic() - started < 3


def test_a_full_queue_is_said_with_a_time_to_come_again_and_who_leaves_frees_a_place(
    api: httpx.Client, server: Management
) -> None:
    deploy(api)
    with ThreadPoolExecutor(4) as pool:
        leavers = [pool.submit(_leave, server) for _ in range(4)]  # two are served, two wait
        time.sleep(0.7)
        full = infer(api, {})
        assert (full.status_code, full.json()["error"]["code"]) == (503, "INSUFFICIENT_RESOURCES")
        assert 1 <= int(full.headers["retry-after"]) <= 60
        for one in leavers:
            one.result()
    assert infer(api, {}, timeout=30).status_code == 200


def _leave(server: Management) -> None:
    """Asks for what takes long, and hangs up after a moment."""
    with server.client() as client, suppress(httpx.ReadTimeout):
        client.post("/models/echo/inference", json={"input_data": {"sleep": 2}}, timeout=1.5)


def test_an_items_own_error_is_422_alone_and_in_its_place_in_a_batch(api: httpx.Client) -> None:
    deploy(api)
    error = {"error": {"code": "UNKNOWN_SYMPTOMS", "message": "none is known", "status": 422}}
    alone = infer(api, error)
    assert (alone.status_code, alone.json()["error"]["code"]) == (422, "UNKNOWN_SYMPTOMS")
    items = [{"input_data": error if number % 10 == 3 else {"n": number}} for number in range(64)]
    batch = api.post("/models/echo/batch_inference", json={"requests": items}).json()
    assert [
        one.get("error", {}).get("code", one["output_data"] and one["output_data"]["echo"]["n"]) for one in batch
    ] == ["UNKNOWN_SYMPTOMS" if number % 10 == 3 else number for number in range(64)]
    assert len({one["request_id"] for one in batch}) == 64


def test_the_same_idempotency_key_deploys_once(api: httpx.Client) -> None:
    body = {"config": echo_config("once")}
    headers = {"Idempotency-Key": "one"}
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: api.post("/models/deploy", json=body, headers=headers), range(8)))
    assert {one.status_code for one in answers} == {202}
    assert len({one.json()["deployment_id"] for one in answers}) == 1
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
    assert "python -m management build echo --version 9.9.9" in problem["message"]


def test_the_list_is_paged_in_the_order_of_creation(api: httpx.Client) -> None:
    for number in range(5):
        config = echo_config(f"m{number}", scaling_config={"min_replicas": 0, "max_replicas": 0})
        api.post("/models/deploy", json={"config": config})
    first = api.get("/models", params={"limit": 2, "status": "stopped"})
    assert [one["model_id"] for one in first.json()] == ["m0", "m1"]
    assert first.headers["x-total-count"] == "5"
    assert first.headers["link"] == '</api/v1/models?limit=2&offset=2&status=stopped>; rel="next"'
    last = api.get(
        str(httpx.URL(first.headers["link"].split(">")[0][1:]).copy_merge_params({"offset": "4"})).split("v1")[1]
    )
    assert [one["model_id"] for one in last.json()] == ["m4"]
    assert 'rel="prev"' in last.headers["link"]


def test_replicas_outlive_a_killed_server_and_are_adopted_and_a_stop_in_good_order_ends_them(bentos: Path) -> None:
    with quick(bentos) as first, first.client() as api:
        deploy(api)
        before = infer(api, {}).json()["output_data"]["pid"]
        os.kill(first.pid, signal.SIGKILL)
        with quick(bentos, home=first.home) as second:
            with second.client() as again:
                until(lambda: infer(again, {}).status_code == 200)
                assert infer(again, {}).json()["output_data"]["pid"] == before
                assert status(again)["replicas"] == {"desired": 1, "current": 1, "ready": 1}
            assert len(hosts(second)) == 1
        assert not hosts(second)


def test_every_worker_sees_changes_within_a_second(bentos: Path) -> None:
    with quick(bentos, workers=2) as server, server.client() as api:
        deploy(api)
        # Each connection is some worker's: many of them reach both.
        answers = [_anew(server, infer, {}).status_code for _ in range(12)]
        assert set(answers) == {200}
        assert len(hosts(server)) == 1
        api.delete("/models/echo", params={"wait": 30})
        time.sleep(1)
        assert {_anew(server, infer, {}).status_code for _ in range(12)} == {404}


def _anew(server: Management, call: Callable[..., httpx.Response], *arguments: Any) -> httpx.Response:
    with server.client() as client:
        return call(client, *arguments)


def test_the_whole_tree_of_a_bento_of_several_services_ends_with_its_replica(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    store = built(tmp_path_factory.mktemp("duo"), Path(__file__).parent / "duo_bento")
    with quick(store) as server, server.client() as api:
        config = echo_config("duo", docker_image="tests/duo:1.0.0")
        assert api.post("/models/deploy", params={"wait": 90}, json={"config": config}).status_code == 200
        pids = infer(api, {}, "duo").json()["output_data"]
        (host,) = hosts(server)
        os.kill(host.pid, signal.SIGKILL)
        until(lambda: ended(pids["inner"]) and ended(pids["outer"]))
        until(lambda: status(api, "duo")["replicas"]["ready"] == 1, 60)
        pids = infer(api, {}, "duo").json()["output_data"]
        assert api.delete("/models/duo", params={"wait": 30}).status_code == 200
        assert ended(pids["inner"])
        assert ended(pids["outer"])


def ended(pid: int) -> bool:
    """Whether it is gone, or only waits to be reaped by whoever adopted it."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def built(folder: Path, source: Path) -> Path:
    """A BentoML home with the Bento of that folder as 1.0.0."""
    script = "import bentoml; bentoml.bentos.build_bentofile('bentofile.yaml', version='1.0.0', build_ctx='.')"
    environment = {**os.environ, "BENTOML_HOME": str(folder)}
    subprocess.run([sys.executable, "-c", script], cwd=source, env=environment, check=True, capture_output=True)
    return folder
