"""The arbiter of ``bentoml serve``: whose end ends what, and which workers are started anew."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from runners.serving import arbiter
from runners.serving.arbiter import (
    ALL_SILENT_SECONDS,
    BEAT,
    CALM_SECONDS,
    HANG_SECONDS,
    LONGEST_PAUSE_SECONDS,
    PAUSE_SECONDS,
    Pauses,
    Pulse,
)
from tests.support.running.effort import effort
from tests.support.servers import ROOT, Server, free_port, serving

KILLS = effort(20, 6)
GONE_SECONDS = 10.0
READY_SECONDS = 60.0
REPLACED_SECONDS = HANG_SECONDS + 60.0


class Time:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Heart:
    """A pulse, and workers that beat for it."""

    def __init__(self) -> None:
        self.time = Time()
        self.pulse = Pulse(self.time)

    def second(self, *beating: int, of: tuple[int, ...]) -> set[int]:
        """A second in which these beat; who hangs."""
        self.time.now += 1.0
        for pid in beating:
            os.write(self.pulse.sends_to, BEAT.pack(pid))
        return set(self.pulse.silent(of))

    def seconds(self, count: float, *beating: int, of: tuple[int, ...]) -> set[int]:
        found: set[int] = set()
        for _ in range(int(count)):
            found = self.second(*beating, of=of)
        return found


@pytest.fixture
def heart() -> Iterator[Heart]:
    own = Heart()
    yield own
    os.close(own.pulse.sends_to)
    os.close(own.pulse._heard)


def test_a_worker_that_falls_silent_while_another_beats_hangs(heart: Heart) -> None:
    assert heart.second(1, 2, of=(1, 2)) == set()
    assert heart.seconds(HANG_SECONDS, 2, of=(1, 2)) == set()
    assert heart.second(2, of=(1, 2)) == {1}


def test_a_worker_that_has_not_served_yet_does_not_hang_however_long_it_starts(heart: Heart) -> None:
    assert heart.seconds(10 * HANG_SECONDS, 2, of=(1, 2)) == set()


def test_a_worker_that_beats_late_is_busy(heart: Heart) -> None:
    heart.second(1, 2, of=(1, 2))
    assert heart.seconds(HANG_SECONDS, 2, of=(1, 2)) == set()
    assert heart.second(1, 2, of=(1, 2)) == set()
    assert heart.seconds(HANG_SECONDS, 2, of=(1, 2)) == set()


@pytest.mark.parametrize("pids", [(1,), (1, 2)])
def test_where_nobody_beats_it_takes_twice_as_long(heart: Heart, pids: tuple[int, ...]) -> None:
    heart.second(*pids, of=pids)
    assert heart.seconds(ALL_SILENT_SECONDS, of=pids) == set()
    assert heart.second(of=pids) == set(pids)


def test_an_arbiter_that_was_held_up_itself_holds_it_against_nobody(heart: Heart) -> None:
    heart.second(1, 2, of=(1, 2))
    heart.time.now += 3600.0  # the terminal was suspended
    assert heart.second(2, of=(1, 2)) == set()
    assert heart.seconds(HANG_SECONDS, 2, of=(1, 2)) == set()
    assert heart.second(2, of=(1, 2)) == {1}


def test_a_worker_that_is_gone_is_forgotten(heart: Heart) -> None:
    heart.second(1, 2, of=(1, 2))
    assert heart.seconds(HANG_SECONDS, 2, of=(2,)) == set()
    assert heart.second(2, of=(1, 2)) == set(), "another process with the same id"


def test_a_service_that_hangs_again_and_again_is_left_alone_for_longer_each_time() -> None:
    clock = Time()
    pauses = Pauses(clock)
    pause = PAUSE_SECONDS
    assert pauses.over("one")
    assert pauses.over("another")
    for _ in range(8):
        clock.now += pause - 1.0
        assert not pauses.over("one")
        clock.now += 1.0
        assert pauses.over("one")
        pause = min(LONGEST_PAUSE_SECONDS, 2 * pause)
    clock.now += CALM_SECONDS + 1.0
    assert pauses.over("one")
    clock.now += PAUSE_SECONDS
    assert pauses.over("one")


def family(pid: int) -> list[psutil.Process]:
    return [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]


@contextmanager
def launched(home: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A light model as a user starts it, ready; it is ended at last, should it not have been."""
    environment = {**os.environ, "BENTOML_HOME": str(home), "ATELIER_HOME": str(home)}
    command = [sys.executable, "-m", "runners.launch", "service:Diagnosis", "--port", str(port)]
    server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert server.stdout is not None
        assert any(b"answers on" in line for line in server.stdout), "it ended before it was ready"
        yield server
    finally:
        server.terminate()
        server.communicate(timeout=30)


@pytest.fixture
def home(store: Path) -> Path:
    own = Path(tempfile.mkdtemp(prefix="atelier-home-"))
    for kept in ("models", "bentos"):
        (own / kept).symlink_to(store / kept)
    return own


@pytest.mark.server
@pytest.mark.slow
def test_a_server_that_is_killed_again_and_again_leaves_nobody_on_its_port(home: Path) -> None:
    """The launcher and the arbiter by turns; the next one starts on the same port."""
    port = free_port()
    for kill in range(KILLS):
        with launched(home, port) as server:
            everybody = family(server.pid)
            assert len(everybody) == 3
            os.kill(everybody[kill % 2].pid, signal.SIGKILL)
            server.wait(GONE_SECONDS)
            _, alive = psutil.wait_procs(everybody[1:], timeout=GONE_SECONDS)
            assert alive == []


@pytest.mark.server
@pytest.mark.slow
def test_a_worker_that_is_suspended_dies_with_its_arbiter(home: Path) -> None:
    with launched(home, free_port()) as server:
        _, arbiter_process, worker = family(server.pid)
        worker.suspend()
        arbiter_process.kill()
        _, alive = psutil.wait_procs([arbiter_process, worker], timeout=GONE_SECONDS)
        assert alive == []


def eventually(true: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def answers(server: Server) -> bool:
    told = {"symptoms": ["headache"]}
    try:
        return httpx.post(f"{server.url}/diagnose", json=told, trust_env=False, timeout=5).status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.server
@pytest.mark.slow
def test_a_model_that_hangs_is_replaced_and_its_neighbours_are_not(store: Path) -> None:
    with serving("service:Atelier", store) as server:
        before = {one.pid: one for one in family(server.pid)}
        hung = server.model_process("Diagnosis")
        hung.suspend()
        assert not answers(server)
        eventually(lambda: answers(server), REPLACED_SECONDS)
        assert not hung.is_running()
        kept = {pid for pid, one in before.items() if one.is_running()}
        assert set(before) - kept == {hung.pid}
        assert "has hung for" in server.log.read_text()


def test_a_worker_is_run_through_ours_with_what_bentoml_tells_it() -> None:
    found = arbiter._through_worker(["-m", arbiter.MODULE, "service:Atelier", "--fd", "5"])
    assert found == ["-P", str(arbiter.WORKER), "service:Atelier", "--fd", "5"]
    assert arbiter.WORKER.is_file()
