"""Deploy, list, scale, update and delete, with real servers and real replicas of the echo Bento."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.support.calls import Load, deploy, hosts, infer, status, until
from tests.support.management_servers import Management, echo_config
from tests.support.metrics import occupied


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
    newest = api.get("/models/echo/events", params={"limit": 2}).json()
    assert [event["action"] for event in newest] == ["replica_ready", "deploy"]
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


def test_scaling_starts_and_ends_replicas_and_none_stops_the_model(api: httpx.Client, management: Management) -> None:
    deploy(api)
    said = api.post("/models/echo/scale", params={"wait": 60}, json={"replicas": 3})
    assert (said.status_code, said.json()["current_replicas"], said.json()["target_replicas"]) == (200, 3, 3)
    assert len(hosts(management)) == 3
    assert api.post("/models/echo/scale", json={"replicas": 5}).json()["error"]["code"] == "INVALID_MODEL_CONFIG"
    assert api.post("/models/echo/scale", params={"wait": 60}, json={"replicas": 0}).status_code == 200
    until(lambda: not hosts(management))
    assert status(api)["status"] == "stopped"
    refused = infer(api, {})
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "MODEL_NOT_READY")
    assert "retry-after" not in refused.headers
    assert "stopped" in refused.json()["error"]["message"]


def test_an_update_fails_no_request_and_ends_with_the_new_version(api: httpx.Client, management: Management) -> None:
    deploy(api)
    api.post("/models/echo/scale", params={"wait": 60}, json={"replicas": 2})
    with Load(management) as load:
        new = {"version": "2.0.0", "docker_image": "tests/echo:2.0.0"}
        new |= {"environment_variables": {"ECHO_VERSION": "2.0.0"}}  # type: ignore[dict-item]
        assert api.put("/models/echo", params={"wait": 60}, json={"config": new}).status_code == 200
        until(lambda: status(api)["replicas"]["current"] == 2)
    assert set(load.statuses) == {200}, load.refusals
    assert set(load.versions) == {"1.0.0", "2.0.0"}
    assert {infer(api, {}).json()["output_data"]["version"] for _ in range(6)} == {"2.0.0"}
    assert status(api)["revision"] == 2


def test_a_version_that_does_not_start_leaves_the_old_one_serving_and_says_why(
    api: httpx.Client, management: Management
) -> None:
    deploy(api)
    with Load(management) as load:
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
    assert [replica["state"] for replica in told["replica_details"]] == ["failed"] * 3
    again = api.put(
        "/models/echo", params={"wait": 60}, json={"config": {"environment_variables": {"ECHO_FAIL": None}}}
    )
    assert again.status_code == 200
    assert status(api)["status"] == "running"


def test_a_killed_replica_is_replaced_and_its_callers_are_served_by_another(
    api: httpx.Client, management: Management
) -> None:
    deploy(api)
    api.post("/models/echo/scale", params={"wait": 60}, json={"replicas": 2})
    before = {host.pid for host in hosts(management)}
    with Load(management) as load:
        os.kill(min(before), signal.SIGKILL)
        until(
            lambda: (
                len({host.pid for host in hosts(management)} - before) == 1 and status(api)["replicas"]["ready"] == 2
            )
        )
    assert set(load.statuses) == {200}, load.refusals
    failed = [replica for replica in status(api)["replica_details"] if replica["state"] == "failed"]
    assert failed[0]["reason"] == "the process was ended by SIGKILL"


def test_two_killed_replicas_of_three_cost_no_request(api: httpx.Client, management: Management) -> None:
    deploy(api)
    api.post("/models/echo/scale", params={"wait": 60}, json={"replicas": 3})
    with Load(management) as load:
        for host in hosts(management)[:2]:
            host.kill()
        until(lambda: sum(replica["state"] == "failed" for replica in status(api)["replica_details"]) == 2)
        until(lambda: status(api)["replicas"]["ready"] == 3)
    assert set(load.statuses) == {200}, load.refusals


@pytest.mark.parametrize(("force", "expected"), [(False, 200), (True, 404)])
def test_deletion_waits_for_what_is_in_flight_unless_it_is_forced(
    api: httpx.Client, force: bool, expected: int
) -> None:
    deploy(api)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(infer, api, {"sleep": 3})
        until(lambda: occupied(api) == (1, 0))
        assert api.delete("/models/echo", params={"wait": 30, "force": force}).status_code == 200
        assert slow.result().status_code == expected


def test_the_list_is_paged_in_the_order_of_creation(api: httpx.Client) -> None:
    for number in range(5):
        config = echo_config(f"m{number}", scaling_config={"min_replicas": 0, "max_replicas": 0})
        api.post("/models/deploy", json={"config": config})
    first = api.get("/models", params={"limit": 2, "status": "stopped"})
    assert [model["model_id"] for model in first.json()] == ["m0", "m1"]
    assert first.headers["x-total-count"] == "5"
    assert first.headers["link"] == '</api/v1/models?limit=2&offset=2&status=stopped>; rel="next"'
    last = api.get(
        str(httpx.URL(first.headers["link"].split(">")[0][1:]).copy_merge_params({"offset": "4"})).split("v1")[1]
    )
    assert [model["model_id"] for model in last.json()] == ["m4"]
    assert 'rel="prev"' in last.headers["link"]
