"""deploy/nginx.conf: what happens when replicas come, go and fail."""

from __future__ import annotations

import json
import signal
import threading
import time
from pathlib import Path

import httpx
import pytest

from tests.deploy.nginx_server import Nginx, Replica, breaking, breaking_at_work, nginx, raw, recovering, waiting

pytestmark = pytest.mark.docker

ONE, TWO, THREE = "127.0.0.2", "127.0.0.3", "127.0.0.4"
TEXT = {"text": "A long text. It has sentences."}


def test_every_replica_is_used(front: Nginx, caller: httpx.Client) -> None:
    replicas = [Replica(address) for address in (ONE, TWO, THREE)]
    with front.running("summarization", *replicas):
        deadline = time.monotonic() + 10  # nginx may know the addresses of a second ago
        while not all(len(replica.asked) >= 10 for replica in replicas):
            assert time.monotonic() < deadline
            assert caller.post("/summarize/text", json=TEXT).status_code == 200


def test_replicas_come_and_go_while_nginx_runs(front: Nginx, caller: httpx.Client) -> None:
    def answered() -> str:
        return str(caller.post("/diagnose", json=TEXT).json().get("replica"))

    for address in (ONE, TWO):
        with front.running("tcm-diagnosis", Replica(address)):
            deadline = time.monotonic() + 10
            while answered() != address:
                assert time.monotonic() < deadline
    assert caller.post("/diagnose", json=TEXT).status_code == 502


def test_where_a_replica_takes_no_connection_the_others_are_asked(front: Nginx, caller: httpx.Client) -> None:
    replica = Replica(THREE)
    with front.running("summarization", replica):
        front.names.addresses["summarization"] = [ONE, TWO, "127.0.0.5", THREE]
        answers = [caller.post("/summarize/text", json=TEXT) for _ in range(20)]
    assert {answer.status_code for answer in answers} == {200}
    assert len(replica.asked) == 20


def test_where_a_connection_breaks_another_replica_is_asked_once(front: Nginx, caller: httpx.Client) -> None:
    all_bad = [Replica(address, breaking_at_work) for address in (ONE, TWO, THREE)]
    with front.running("summarization", *all_bad):
        front.forgotten()
        failed = caller.post("/summarize/text", json=TEXT)
    assert (failed.status_code, failed.json()["code"]) == (502, "UPSTREAM_FAILED")
    assert sum(len(replica.asked) for replica in all_bad) == 2  # not more: it may be the request that ends them
    bad, good = Replica(ONE, breaking), Replica(TWO)
    with front.running("embedding", bad, good):
        statuses = [caller.post("/embed", json=TEXT).status_code for _ in range(40)]
    assert len(good.asked) >= 20
    assert statuses.count(200) == len(good.asked)


@pytest.mark.parametrize(("breaks", "status"), [(1, 200), (2, 200), (3, 502)])
def test_who_came_into_a_replica_that_was_ending_asks_once_more(
    front: Nginx, caller: httpx.Client, breaks: int, status: int
) -> None:
    replica = Replica(ONE, recovering(breaks))
    with front.running("summarization", replica):
        front.forgotten()
        assert caller.post("/summarize/text", json=TEXT).status_code == status
    assert len(replica.asked) == min(breaks + 1, 3)


WRITTEN = ["/api/v1/models/deploy", "/%61pi/v1/models/deploy", "//api/v1/models/deploy", "/x/../api/v1/models/deploy"]


@pytest.mark.parametrize("path", [*WRITTEN, "/api%2Fv1/models/deploy"])
def test_the_management_is_never_asked_again_however_its_path_is_written(front: Nginx, path: str) -> None:
    all_bad = [Replica(address, breaking) for address in (ONE, TWO, THREE)]
    with front.running("atelier", *all_bad):
        front.forgotten()
        asked = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        head, _, body = raw(front.ports[80], asked.encode()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 502 ")
    assert json.loads(body)["error"]["code"] == "UPSTREAM_FAILED"
    assert sum(len(replica.asked) for replica in all_bad) == 1


def test_a_service_that_takes_too_long_is_504_and_is_not_asked_again(tmp_path: Path) -> None:
    end = threading.Event()
    all_slow = [Replica(address, waiting(end)) for address in (ONE, TWO, THREE)]
    with (
        nginx(tmp_path, proxy_read_timeout="1s") as front,
        front.client() as caller,
        front.running("summarization", *all_slow),
    ):
        answer = caller.post("/summarize/text", json=TEXT)
        end.set()
    assert (answer.status_code, answer.json()) == (504, {"error": "The request took too long", "code": "TIMEOUT"})
    assert sum(len(replica.asked) for replica in all_slow) == 1


def test_what_is_in_flight_is_answered_before_nginx_stops(tmp_path: Path) -> None:
    end, answers = threading.Event(), []
    replica = Replica(ONE, waiting(end, then=200))
    with nginx(tmp_path) as front, front.running("summarization", replica), front.client() as caller:
        asking = threading.Thread(target=lambda: answers.append(caller.post("/summarize/text", json=TEXT)))
        asking.start()
        deadline = time.monotonic() + 10
        while not replica.asked:
            assert time.monotonic() < deadline
        front.process.send_signal(signal.SIGQUIT)  # compose's stop_signal
        while not front.refuses():
            assert time.monotonic() < deadline
        end.set()
        asking.join()
        assert front.process.wait(timeout=10) == 0
    assert [answer.status_code for answer in answers] == [200]
