"""What this process lacks, descriptors, memory or threads, says nothing of a replica, on any backend."""

from __future__ import annotations

import errno
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from management.backends.docker.client import DockerEngine
from management.backends.docker.container import PORT
from management.backends.docker.launcher import DockerLauncher
from management.backends.docker.settings import DockerSettings
from management.backends.launcher import Phase
from management.backends.process import replica_folder
from management.backends.replica import probe
from management.control.replicas.prober import (
    ProbeHistory,
)
from management.domain.clock import Clock
from management.domain.records import ReplicaState
from management.errors import BackendUnavailable
from management.faults import exhaustion
from management.gateway.replica_client import ReplicaClient
from management.gateway.replica_errors import ReplicaBusy
from management.settings import ReplicaSettings
from tests.doubles.launchers import launch, process_launcher, until
from tests.doubles.management import replica as recorded
from tests.support.management_servers import managing

SPARE = 64


@contextmanager
def exhausted() -> Iterator[None]:
    """No descriptor is left to this process until the block ends."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = max(map(int, os.listdir("/proc/self/fd"))) + SPARE
    taken: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    try:
        while _another(taken):
            pass
        yield
    finally:
        for one in taken:
            os.close(one)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _another(taken: list[int]) -> bool:
    try:
        taken.append(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC))
    except OSError:  # too many open files
        return False
    return True


async def test_without_descriptors_nothing_is_known_of_a_replica_and_nothing_is_done_to_it(
    short_home: Path, earlier: str
) -> None:
    launcher = process_launcher(short_home)
    await until(launcher, earlier, Phase.READY)
    client = ReplicaClient(f"unix:{short_home}/replicas/{earlier}/http.sock")
    with exhausted():
        looks = [(await launcher.observe(earlier)).phase for _ in range(10)]
        with pytest.raises(OSError, match="Too many open files"):
            await launcher.list_running()
        with pytest.raises(OSError, match="Too many open files"):
            await launcher.stop(earlier, 5.0)
        with pytest.raises(ReplicaBusy):
            await client.infer([{"input_data": {}, "parameters": {}}], "id")
    await client.close()
    assert set(looks) == {Phase.UNKNOWN}
    assert (await launcher.observe(earlier)).phase is Phase.READY
    assert await launcher.list_running() == [earlier]


@pytest.mark.server
async def test_without_descriptors_a_start_is_tried_again_and_is_no_failure(short_home: Path) -> None:
    launcher = process_launcher(short_home)
    wanted = launch()
    (short_home / "replicas").mkdir(exist_ok=True)
    with exhausted(), pytest.raises(BackendUnavailable):
        await launcher.start(wanted)
    assert (await launcher.observe(wanted.replica_id)).phase is Phase.ABSENT


async def test_without_descriptors_a_port_is_not_seen_either(short_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    launcher = DockerLauncher(DockerEngine(short_home / "docker.sock"), DockerSettings(), ReplicaSettings(), short_home)
    container = {"NetworkSettings": {"Ports": {f"{PORT}/tcp": [{"HostPort": "9"}]}}}
    assert launcher._instance, "it is read in the first turn of a leader"
    with exhausted():
        with pytest.raises(probe.NotObserved):
            await launcher._probes.at("http://127.0.0.1:9", b"token")
        assert (await launcher._look("one", container)).phase is Phase.UNKNOWN
    assert (await launcher._look("one", container)).phase is Phase.STARTING, "nobody listens there"
    await launcher.close()


async def test_without_threads_nothing_is_known_either(
    short_home: Path, earlier: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    launcher = process_launcher(short_home)
    await until(launcher, earlier, Phase.READY)

    def refused(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    def no_memory(_: Path) -> bool:
        raise MemoryError

    monkeypatch.setattr(launcher, "_spawn", refused)
    with pytest.raises(BackendUnavailable):
        await launcher.start(launch())
    monkeypatch.setattr(replica_folder, "alive", no_memory)
    assert (await launcher.observe(earlier)).phase is Phase.UNKNOWN


async def test_a_process_that_was_held_up_itself_has_not_seen_whom_it_asked(
    short_home: Path, earlier: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    launcher = process_launcher(short_home)
    await until(launcher, earlier, Phase.READY)
    folder = short_home / "replicas" / earlier
    replica_folder.send(folder, signal.SIGSTOP)
    try:
        monkeypatch.setattr(probe, "SECONDS", 0.2)
        assert (await launcher.observe(earlier)).phase is Phase.UNRESPONSIVE
        monkeypatch.setattr(probe, "LATE_SECONDS", 0.1)
        assert (await launcher.observe(earlier)).phase is Phase.UNKNOWN
    finally:
        replica_folder.send(folder, signal.SIGCONT)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EADDRNOTAVAIL])
def test_whose_fault_a_connection_is(number: int) -> None:
    assert exhaustion.in_connecting(OSError(number, os.strerror(number)))
    assert not exhaustion.in_connecting(OSError("without a number"))
    for theirs in (errno.ECONNREFUSED, errno.ENOENT, errno.ECONNRESET, errno.EPIPE):
        assert not exhaustion.in_connecting(OSError(theirs, os.strerror(theirs)))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_a_full_disk_or_a_folder_of_another_user_is_no_scarcity_that_passes(number: int) -> None:
    assert not exhaustion.of_scarcity(OSError(number, os.strerror(number)))


class Steady(Clock):
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.at = 0.0

    def steady(self) -> float:
        """As the test says."""
        return self.at


def test_the_time_in_which_a_replica_could_not_be_looked_at_is_none_of_its_silence() -> None:
    clock = Steady()
    sightings = ProbeHistory(0.5, clock)
    one = recorded(ReplicaState.READY)
    sightings.record(one, unresponsive=True)
    clock.at = 29.0
    sightings.record_unknown(one.id)
    assert sightings.health([one.id])[one.id].failures_in_a_row == 1
    clock.at = 31.0
    sightings.record(one, unresponsive=True)
    assert sightings.health([one.id])[one.id].seconds_unresponsive == 2.0


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_server_takes_as_many_descriptors_as_it_may_have(echo_bentos: Path, workers: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    try:
        with managing(echo_bentos, workers=workers) as server:
            family = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
            assert {resource.prlimit(one.pid, resource.RLIMIT_NOFILE) for one in family} == {(hard, hard)}
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
