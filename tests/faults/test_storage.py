"""What is stored fails: a full disk, a locked database, folders that somebody removes. Models go on answering."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from management.backends.replica.environment import MARKER
from tests.inputs.small_disk import fill, small_disk
from tests.support.calls import Load, deploy, hosts, infer, status, until
from tests.support.management_servers import Management, echo_config, managing
from tests.support.running.figures import SLACK, Figure

pytestmark = pytest.mark.slow

AGAIN_SECONDS = 10.0
LOCKED_SECONDS = 12.0
LONGEST_CHANGE = 15.0
QUICK_SECONDS = 1.0
REPLACED_SECONDS = 15.0
FAILED_STARTS = 6
"""More than after which a model whose own fault it is would be given up."""
RESTARTED_SECONDS = 20.0
PAUSE = 0.05
NO_REPLICAS = {"min_replicas": 0, "max_replicas": 0}


class Paced:
    """Calls over and over, until the block ends, and how they went."""

    def __init__(self, call: Callable[[], httpx.Response]) -> None:
        self.seconds: list[float] = []
        self.failed: list[str] = []
        self._call, self._stop = call, threading.Event()
        self._thread = threading.Thread(target=self._run)

    @property
    def slowest(self) -> float:
        return max(self.seconds)

    def _run(self) -> None:
        while not self._stop.wait(PAUSE):
            began = time.monotonic()
            answer = self._call()
            self.seconds.append(time.monotonic() - began)
            if answer.status_code != 200:
                self.failed.append(answer.text)

    def __enter__(self) -> Paced:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


@pytest.fixture(scope="module")
def server(echo_bentos: Path) -> Iterator[Management]:
    with managing(echo_bentos) as running:
        yield running


@pytest.fixture
def api(server: Management) -> Iterator[httpx.Client]:
    """A client of a server on which the echo runs; every model is deleted after the test."""
    with server.client() as client:
        assert deploy(client).status_code == 200
        yield client
        for model_id in listed(client):
            client.delete(f"/models/{model_id}", params={"force": True, "wait": 30})


def listed(api: httpx.Client) -> set[str]:
    return {model["model_id"] for model in api.get("/models", params={"limit": 500}).json()}


def deploy_idle(api: httpx.Client, model_id: str) -> httpx.Response:
    """One that is stored and starts nothing."""
    return api.post("/models/deploy", json={"config": echo_config(model_id, scaling_config=NO_REPLICAS)})


def refused_clearly(answer: httpx.Response) -> bool:
    error = answer.json()["error"]
    return (answer.status_code, error["code"]) == (503, "STORE_UNAVAILABLE") and int(answer.headers["retry-after"]) >= 1


def test_a_full_disk_stops_changes_alone_and_loses_none_that_was_acknowledged(
    echo_bentos: Path, figure: Figure
) -> None:
    with small_disk() as disk, managing(echo_bentos, home=disk) as server:
        with server.client() as api:
            assert deploy(api).status_code == 200
            assert deploy_idle(api, "before").status_code == 202
            with Load(server, callers=1) as load, Paced(lambda: api.get("/models")) as looks:
                answers, seconds = _changes_on_a_full_disk(api, disk)
        assert set(load.statuses) == {200}, load.refusals
        assert not looks.failed
        acknowledged = {name for name, answer in answers.items() if answer.status_code == 202}
        # What was acknowledged is on the disk, not only in somebody's memory.
        os.kill(server.pid, signal.SIGKILL)
        with managing(echo_bentos, home=disk) as second, second.client() as api:
            assert listed(api) == acknowledged | {"echo", "before", "after"}
            until(lambda: status(api)["replicas"] == {"desired": 2, "current": 2, "ready": 2})
        assert not hosts(second)
    refused = len(answers) - len(acknowledged)
    assert refused
    figure(
        f"0 of {load.statuses.total():,} inferences failed; {refused} changes refused with 503, "
        f"{len(acknowledged) + 4} acknowledged, 0 lost; changes again {seconds:.1f} s after there was room",
        goal=f"0 failed, 0 lost; changes again within {AGAIN_SECONDS:g} s",
    )


def _changes_on_a_full_disk(api: httpx.Client, disk: Path) -> tuple[dict[str, httpx.Response], float]:
    """The answers to deployments while it was full, and after how many seconds of room all went well again."""
    fill(disk / "filler")
    answers = {}
    for number in range(20):
        answers[f"m{number}"] = answer = deploy_idle(api, f"m{number}")
        assert answer.status_code == 202 or refused_clearly(answer), answer.text
        fill(disk / "filler")  # should something have been freed
    assert refused_clearly(_scale_echo(api))
    assert refused_clearly(deploy(api, "other"))
    (disk / "filler").unlink()
    began = time.monotonic()
    until(lambda: _scale_echo(api, wait=30).status_code == 200, SLACK * AGAIN_SECONDS)
    until(lambda: deploy(api, "after").status_code == 200, SLACK * AGAIN_SECONDS)
    return answers, time.monotonic() - began


def _scale_echo(api: httpx.Client, wait: int = 0) -> httpx.Response:
    return api.post("/models/echo/scale", params={"wait": wait}, json={"replicas": 2})


def test_a_model_that_finds_no_room_to_start_is_started_when_there_is_some(
    echo_bentos: Path, tmp_path: Path, figure: Figure
) -> None:
    # The database has a disk of its own, so that every failed start is recorded.
    database = f"sqlite:///{tmp_path}/atelier.db"
    with (
        small_disk() as disk,
        managing(echo_bentos, home=disk, ATELIER_DATABASE_URL=database, ATELIER_RETRY_SECONDS="0.2") as server,
        server.client() as api,
    ):
        assert deploy(api).status_code == 200
        fill(disk / "filler")
        for host in hosts(server):
            host.kill()

        def refused() -> int:
            fill(disk / "filler")  # what the folders of forgotten replicas took
            events = api.get("/models/echo/events", params={"limit": 1000}).json()
            return sum("No space left" in event["details"].get("reason", "") for event in events)

        until(lambda: refused() >= FAILED_STARTS)
        # Who asks may be told at once, or be kept until the own timeout.
        assert infer(api, {}, timeout=1).json()["error"]["code"] in ("MODEL_NOT_READY", "INFERENCE_TIMEOUT")
        assert "No space left" in status(api)["message"]
        (disk / "filler").unlink()
        began = time.monotonic()
        until(lambda: infer(api, {}, timeout=1).status_code == 200, SLACK * RESTARTED_SECONDS)
        seconds = time.monotonic() - began
    figure(
        f"answers {seconds:.1f} s after there was room, and after {FAILED_STARTS} failed starts",
        goal=f"by itself, within {RESTARTED_SECONDS:g} s",
    )


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Somebody else writes, and does not come to an end."""
    connection = sqlite3.connect(database, isolation_level=None, timeout=5)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")
    finally:
        connection.close()


@pytest.mark.parametrize("changes", [1, 20])
def test_a_locked_database_holds_up_changes_alone_and_none_of_them_for_long(
    server: Management, api: httpx.Client, figure: Figure, changes: int
) -> None:
    def change(number: int) -> tuple[httpx.Response, float]:
        with server.client() as client:
            began = time.monotonic()
            return deploy_idle(client, f"m{number}"), time.monotonic() - began

    with (
        Paced(lambda: infer(api, {})) as inferences,
        Paced(lambda: api.get("/models")) as looks,
        ThreadPoolExecutor(changes) as pool,
    ):
        with locked(server.home / "atelier.db"):
            until_then = time.monotonic() + LOCKED_SECONDS
            asked = [pool.submit(change, number) for number in range(changes)]
            time.sleep(until_then - time.monotonic())
        told = [future.result() for future in asked]
        began = time.monotonic()
        until(lambda: deploy(api, "after").status_code == 200, SLACK * LONGEST_CHANGE)
        again = time.monotonic() - began
    done = {f"m{number}" for number, (answer, _) in enumerate(told) if answer.status_code == 202}
    assert all(answer.status_code == 202 or refused_clearly(answer) for answer, _ in told)
    assert listed(api) == done | {"echo", "after"}
    assert not inferences.failed
    assert not looks.failed
    longest = max(seconds for _, seconds in told)
    figure(
        f"slowest inference {inferences.slowest:.2f} s, list {looks.slowest:.2f} s; {changes} changes: "
        f"{len(done)} done, {changes - len(done)} refused with 503, after {longest:.1f} s at most; "
        f"deployed again in {again:.1f} s",
        goal=f"inference and list within {QUICK_SECONDS:g} s, changes within {LONGEST_CHANGE:g} s, 0 failed otherwise",
    )
    assert longest < SLACK * LONGEST_CHANGE
    assert inferences.slowest < SLACK * QUICK_SECONDS
    assert looks.slowest < SLACK * QUICK_SECONDS


def carrying(replica_id: str) -> list[psutil.Process]:
    """The processes of that replica, wherever they lie."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARKER) == replica_id and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.mark.parametrize("whose", ["its folder", "every folder"])
def test_a_replica_whose_folder_is_removed_is_replaced_and_none_of_its_processes_stays(
    server: Management, api: httpx.Client, figure: Figure, whose: str
) -> None:
    def serving() -> list[str]:
        return [replica["replica_id"] for replica in status(api)["replica_details"] if replica["state"] == "ready"]

    (before,) = serving()
    assert carrying(before)
    folders = server.home / "replicas"
    shutil.rmtree(folders / before if whose == "its folder" else folders)
    began = time.monotonic()
    until(lambda: serving() and before not in serving() and infer(api, {}).status_code == 200, SLACK * REPLACED_SECONDS)
    answering = time.monotonic() - began
    until(lambda: not carrying(before), SLACK * REPLACED_SECONDS)
    gone = time.monotonic() - began
    assert len(hosts(server)) == 1
    figure(
        f"another one answers after {answering:.1f} s, its processes are gone after {gone:.1f} s",
        goal=f"both within {REPLACED_SECONDS:g} s",
    )
