"""Servers that are killed, several workers, and Bentos of several processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.support.calls import deploy, hosts, infer, quick, status, until
from tests.support.management_servers import Management, built, echo_config
from tests.support.running.figures import SLACK
from tests.support.servers import ROOT


def test_replicas_outlive_a_killed_server_and_are_adopted_and_a_stop_in_good_order_ends_them(echo_bentos: Path) -> None:
    with quick(echo_bentos) as first, first.client() as api:
        deploy(api)
        before = infer(api, {}).json()["output_data"]["pid"]
        os.kill(first.pid, signal.SIGKILL)
        with quick(echo_bentos, home=first.home) as second:
            with second.client() as again:
                until(lambda: infer(again, {}).status_code == 200)
                assert infer(again, {}).json()["output_data"]["pid"] == before
                assert status(again)["replicas"] == {"desired": 1, "current": 1, "ready": 1}
            assert len(hosts(second)) == 1
        assert not hosts(second)


@pytest.mark.slow
def test_every_worker_sees_changes_within_a_second(echo_bentos: Path) -> None:
    with quick(echo_bentos, workers=2) as server, server.client() as api:
        deploy(api)
        # Each connection is some worker's: many of them reach both.
        answers = [_anew(server, infer, {}).status_code for _ in range(12)]
        assert set(answers) == {200}
        assert len(hosts(server)) == 1
        api.delete("/models/echo", params={"wait": 30})
        until(lambda: {_anew(server, infer, {}).status_code for _ in range(12)} == {404}, SLACK)


@pytest.mark.slow
def test_replicas_outlive_workers_that_are_started_anew_and_end_with_their_parent(echo_bentos: Path) -> None:
    with quick(echo_bentos, workers=2) as server:
        with server.client() as api:
            deploy(api)
        before = {host.pid for host in hosts(server)}
        workers = workers_of(server)
        os.kill(server.pid, signal.SIGHUP)
        until(lambda: len(workers_of(server)) == 2 and not workers & workers_of(server))
        until(lambda: _anew(server, infer, {}).status_code == 200)
        assert {host.pid for host in hosts(server)} == before
    assert not hosts(server)


def workers_of(server: Management) -> set[int]:
    found = set()
    for child in psutil.Process(server.pid).children():
        with suppress(psutil.Error):
            if "spawn_main" in " ".join(child.cmdline()):
                found.add(child.pid)
    return found


def _anew(management: Management, call: Callable[..., httpx.Response], *arguments: Any) -> httpx.Response:
    with management.client() as client:
        return call(client, *arguments)


@pytest.mark.server
@pytest.mark.slow
def test_the_whole_tree_of_a_bento_of_several_services_ends_with_its_replica(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    store = built(tmp_path_factory.mktemp("duo"), ROOT / "tests" / "bentos" / "duo")
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
