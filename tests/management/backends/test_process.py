"""Replicas as processes: the contract of all launchers, on doubles and on real ones, and what only processes can do."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from aiohttp import web

from management.backends.launcher import TAIL_BYTES, LaunchRefused, Phase
from management.gateway.replica_client import ReplicaClient
from tests.doubles.launchers import CONTRACT, Bench, begun, launch, listed, process_launcher, until
from tests.doubles.management import FakeLauncher

Clause = Callable[[Bench], Awaitable[None]]


@pytest.fixture
def home(echo_bentos: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose path is short enough for sockets; nothing of it runs afterwards."""
    monkeypatch.setenv("BENTOML_HOME", str(echo_bentos))
    folder = Path(tempfile.mkdtemp(prefix="at-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
async def bench(home: Path) -> AsyncIterator[Bench]:
    """A launcher of processes; nothing that it started runs afterwards."""
    launcher = process_launcher(home)

    def kill(replica_id: str) -> None:
        os.kill(pid_of(home, replica_id), signal.SIGKILL)

    yield Bench(launcher, launch(), launch("tests/echo:9.9.9"), lambda: process_launcher(home), kill)
    for replica_id in await launcher.list_running():
        await launcher.stop(replica_id, 0.0)
    for child in launcher._children.values():
        child.wait()


@contextmanager
def process(code: str, *arguments: str, **how: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A process that runs this code, and is no replica."""
    started = subprocess.Popen([sys.executable, "-c", f"import time\n{code}\ntime.sleep(600)", *arguments], **how)
    try:
        yield started
    finally:
        started.kill()
        started.wait()


LOCK = "import fcntl, sys\nheld = open(sys.argv[1], 'ab')\nfcntl.flock(held, fcntl.LOCK_EX)"


def pid_of(home: Path, replica_id: str) -> int:
    return int((home / "replicas" / replica_id / "pid").read_text().split()[0])


def folder_of(bench: Bench, home: Path) -> Path:
    return home / "replicas" / bench.launch.replica_id


@pytest.mark.parametrize("clause", CONTRACT, ids=lambda one: one.__name__)
async def test_the_double_keeps_the_contract(clause: Clause) -> None:
    launcher = FakeLauncher()
    await clause(Bench(launcher, launch(), launch(), lambda: launcher, launcher.kill))


@pytest.mark.parametrize("clause", CONTRACT, ids=lambda one: one.__name__)
async def test_processes_keep_the_contract(clause: Clause, bench: Bench) -> None:
    await clause(bench)


async def test_a_second_start_is_no_second_process(bench: Bench, home: Path) -> None:
    await begun(bench)
    pid = pid_of(home, bench.launch.replica_id)
    await bench.again().start(bench.launch)
    assert pid_of(home, bench.launch.replica_id) == pid


async def test_its_folder_is_nobody_elses_and_its_secrets_are_on_no_command_line(bench: Bench, home: Path) -> None:
    await begun(bench)
    folder = folder_of(bench, home)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "token").stat().st_mode & 0o777 == 0o600
    host = psutil.Process(pid_of(home, bench.launch.replica_id))
    assert host.cmdline()[-1] == str(folder)
    environment = host.environ()
    assert environment["GREETING"] == "hello"
    assert not {name for name in environment if name.startswith(("PYTEST", "ATELIER_API", "ATELIER_DATABASE"))}


async def test_of_a_log_of_long_lines_the_end_is_read(bench: Bench, home: Path) -> None:
    folder = folder_of(bench, home)
    folder.mkdir()
    (folder / "log").write_text("x" * (2 * TAIL_BYTES) + "\nthe end\n")
    lines = await bench.launcher.log(bench.launch.replica_id, 100)
    assert lines[-1] == "the end"
    assert sum(len(line) + 1 for line in lines) == TAIL_BYTES


@pytest.mark.parametrize(("number", "name"), [(signal.SIGSEGV, "SIGSEGV"), (40, "signal 40")])
async def test_the_signal_that_ended_a_replica_is_named(bench: Bench, home: Path, number: int, name: str) -> None:
    await bench.launcher.start(bench.launch)
    os.kill(pid_of(home, bench.launch.replica_id), number)
    look = await until(bench.launcher, bench.launch.replica_id, Phase.EXITED)
    assert look.reason == f"the process was ended by {name}"


async def test_a_replica_that_hides_its_environment_is_ended(
    bench: Bench, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.launcher.start(bench.launch)
    monkeypatch.setattr("management.backends.process.processes._environment", lambda _: {})
    await bench.launcher.stop(bench.launch.replica_id, 0.0)
    assert await bench.launcher.list_running() == []


async def test_a_foreign_process_that_got_the_same_id_is_left_alone(bench: Bench, home: Path) -> None:
    folder = folder_of(bench, home)
    folder.mkdir()
    (folder / "launch.json").write_text("{}")
    with process("") as stranger:
        (folder / "pid").write_text(f"{stranger.pid} 1")  # another one had this id, long ago
        await bench.launcher.stop(bench.launch.replica_id, 0.1)
        assert stranger.poll() is None
        assert (await bench.launcher.observe(bench.launch.replica_id)).phase is Phase.EXITED
        with process(LOCK, str(folder / "lock")) as holder:
            await listed(bench.launcher, bench.launch.replica_id)
            await bench.launcher.stop(bench.launch.replica_id, 0.1)
            assert (stranger.poll(), holder.poll()) == (None, None)


async def test_an_impostor_on_the_socket_is_not_ready(bench: Bench, home: Path) -> None:
    await begun(bench)
    socket = folder_of(bench, home) / "http.sock"
    socket.unlink()

    async def state(request: web.Request) -> web.Response:
        return web.json_response({"proof": "0" * 64, "ready": True, "in_flight": 0})

    application = web.Application()
    application.router.add_get("/.atelier/state", state)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.UnixSite(runner, str(socket)).start()
    try:
        assert (await bench.launcher.observe(bench.launch.replica_id)).phase is Phase.UNRESPONSIVE
    finally:
        await runner.cleanup()


async def test_a_replica_that_hangs_is_silent_and_is_ended_by_force(bench: Bench, home: Path) -> None:
    await begun(bench)
    os.kill(pid_of(home, bench.launch.replica_id), signal.SIGSTOP)
    assert (await bench.launcher.observe(bench.launch.replica_id)).phase is Phase.UNRESPONSIVE
    await bench.launcher.stop(bench.launch.replica_id, 0.2)
    assert await bench.launcher.list_running() == []


async def test_what_a_replica_started_ends_with_it(bench: Bench, home: Path) -> None:
    await begun(bench)
    host = psutil.Process(pid_of(home, bench.launch.replica_id))
    with process("", env=host.environ(), start_new_session=True) as child:
        await bench.launcher.stop(bench.launch.replica_id, 5.0)
        assert child.wait(10) == -signal.SIGKILL


async def test_a_bento_that_is_not_there_ends_with_a_log_that_says_so(bench: Bench) -> None:
    await bench.launcher.start(bench.loud)
    look = await until(bench.launcher, bench.loud.replica_id, Phase.EXITED)
    assert "exit status" in look.reason
    assert any("9.9.9" in line for line in await bench.launcher.log(bench.loud.replica_id, 50))


async def test_what_cannot_be_begun_is_refused(bench: Bench, home: Path) -> None:
    (home / "replicas" / bench.launch.replica_id).write_text("a file where a folder is wanted")
    with pytest.raises(LaunchRefused, match="cannot be started"):
        await bench.launcher.start(bench.launch)
    with pytest.raises(LaunchRefused, match="does not name a Bento"):
        await bench.launcher.start(launch("Echo of an earlier version"))


async def test_a_replica_in_a_folder_with_a_long_name_is_reached(home: Path) -> None:
    launcher = process_launcher(home / ("x" * 100))
    wanted = launch()
    await launcher.start(wanted)
    look = await until(launcher, wanted.replica_id, Phase.READY)
    client = ReplicaClient(look.address)
    (result,) = await client.infer([{"input_data": {"a": 1}, "parameters": {}}], "id")
    assert result["output_data"]["echo"] == {"a": 1}
    await client.close()
    await launcher.stop(wanted.replica_id, 2.0)
