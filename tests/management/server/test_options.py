"""Strategies, open models and labels with real servers and real replicas of the echo Bento."""

from __future__ import annotations

import threading
from typing import Any

import httpx
import pytest

from client import AtelierClient
from management.domain.strategy import Strategy
from tests.support.calls import Load, deploy, hosts, infer, status, until
from tests.support.management_servers import KEY, Management, echo_config

NEW: dict[str, Any] = {
    "version": "2.0.0",
    "docker_image": "tests/echo:2.0.0",
    "environment_variables": {"ECHO_VERSION": "2.0.0"},
}
ROLLED_OUT_SECONDS = 180
CALL = {"requests": [{"input_data": {"n": 1}}]}


@pytest.mark.parametrize("strategy", [strategy for strategy in Strategy if strategy is not Strategy.ROLLING_UPDATE])
def test_no_strategy_fails_a_request(api: httpx.Client, management: Management, strategy: Strategy) -> None:
    deploy(api, strategy=strategy.value, scaling_config={"min_replicas": 2, "max_replicas": 2})
    most, over = 0, threading.Event()

    def count() -> None:
        nonlocal most
        while not over.is_set():
            most = max(most, len(hosts(management)))
            over.wait(0.05)

    counting = threading.Thread(target=count)
    counting.start()
    try:
        with Load(management) as load:
            until(lambda: load.versions)
            assert api.put("/models/echo", params={"wait": 90}, json={"config": NEW}).status_code == 200
            until(lambda: status(api)["replicas"]["current"] == 2, ROLLED_OUT_SECONDS)
    finally:
        over.set()
        counting.join()
    assert set(load.statuses) == {200}, load.refusals
    assert set(load.versions) == {"1.0.0", "2.0.0"}
    assert most == {Strategy.RECREATE: 2, Strategy.RAMPED_SLOW_ROLLOUT: 3, Strategy.BEST_EFFORT: 4}[strategy]


def test_recreate_starts_the_old_version_again_where_the_new_one_does_not_start(api: httpx.Client) -> None:
    deploy(api, strategy="Recreate")
    wrong = NEW | {"environment_variables": {"ECHO_FAIL": "1"}}
    failed = api.put("/models/echo", params={"wait": 90}, json={"config": wrong})
    assert (failed.status_code, failed.json()["error"]["code"]) == (500, "DEPLOYMENT_FAILED")
    assert infer(api, {}, timeout=60).json()["output_data"]["version"] == "1.0.0"
    shown = status(api)
    assert (shown["version"], shown["config"]["strategy"]) == ("1.0.0", "Recreate")


def test_an_open_model_answers_without_a_key_until_it_is_closed_and_another_refuses(
    api: httpx.Client, management: Management
) -> None:
    deploy(api, access_authorization=False, labels={"team": "a"})
    deploy(api, "closed")
    with httpx.Client(base_url=management.url, timeout=60, trust_env=False) as anyone:
        assert anyone.post("/models/echo/infer", json=CALL).json()[0]["output_data"]["echo"] == {"n": 1}
        assert anyone.post("/models/echo/infer", json=CALL, headers={"X-API-Key": "wrong-key"}).status_code == 401
        assert anyone.post("/models/closed/infer", json=CALL).status_code == 401
        assert anyone.post("/models/nothing/infer", json=CALL).status_code == 401
        assert anyone.post("/api/v1/models/echo/inference", json={"input_data": {}}).status_code == 401
        assert anyone.get("/api/v1/models/echo/status").status_code == 401
        config = status(api)["config"]
        assert (config["access_authorization"], config["labels"]) == (False, {"team": "a"})
        assert not {"access_authorization", "labels", "strategy"} & status(api, "closed")["config"].keys()
        pid = infer(api, {}).json()["output_data"]["pid"]
        with AtelierClient(management.url, api_key=KEY) as client:
            client.update("echo", {}, access_authorization=True, labels={}, strategy="Recreate", wait=30)
        assert anyone.post("/models/echo/infer", json=CALL).status_code == 401
        shown = status(api)
        assert (shown["revision"], shown["config"]["strategy"], "labels" in shown["config"]) == (1, "Recreate", False)
        assert infer(api, {}).json()["output_data"]["pid"] == pid


def test_a_model_is_deployed_with_options_by_the_client(api: httpx.Client, management: Management) -> None:
    scaling = {"min_replicas": 1, "max_replicas": 3, "target_concurrency": 2}
    with AtelierClient(management.url, api_key=KEY) as client:
        client.deploy(
            dict(echo_config(scaling_config=scaling)),
            wait=60,
            access_authorization=False,
            strategy="RampedSlowRollout",
            labels={"stage": "test"},
        )
    config = status(api)["config"]
    assert config["scaling_config"] == {**scaling, "target_cpu_utilization": 80}
    assert (config["strategy"], config["labels"]) == ("RampedSlowRollout", {"stage": "test"})
