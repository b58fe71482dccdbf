"""A replica that writes without end, and what it leaves behind: the keeper over it holds both to what was promised."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from management.backends.launcher import Launch, Phase
from management.backends.process import launcher, replica_folder
from management.backends.process.launcher import ProcessLauncher
from management.backends.replica import keeper
from management.backends.replica.files import KEEPER
from tests.doubles.launchers import launch, process_launcher, until
from tests.inputs.small_disk import fill, small_disk
from tests.support.running.figures import Figure

pytestmark = pytest.mark.server

LOG_BYTES = 1024 * 1024
FLOOD_SECONDS = 1.0
FLOODED_BYTES = 16 * LOG_BYTES
"""That a flood writes at least in its time: far less than any machine can."""
SOON = 20.0

FLOODS = 8
FLOOD = f"""
import os, sys, time
end, line, written = time.monotonic() + {FLOOD_SECONDS}, b"x" * 99 + b"\\n", 0
while time.monotonic() < end:
    written += os.write(1, line * 500)
os.write(1, b"the end after %d bytes\\n" % written)
"""
BY_A_CHILD = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {FLOOD!r}])"
ORPHAN = """
import os, sys, time
if not os.fork():
    os.setsid()
    if not os.fork():
        open(sys.argv[1] + "/orphan", "w").write(str(os.getpid()))
        os.execve(sys.executable, [sys.executable, "-c", "import time; time.sleep(600)"], {})
    os._exit(0)
os.wait()
while not os.path.exists(sys.argv[1] + "/orphan"):
    time.sleep(0.01)
"""
Starts = Callable[[str], tuple[Launch, ProcessLauncher]]
FOR_LONG = "\nimport time; time.sleep(600)\n"


@pytest.fixture
def folder() -> Iterator[Path]:
    own = Path(tempfile.mkdtemp(prefix="at-"))
    yield own
    shutil.rmtree(own)


@contextmanager
def kept(folder: Path, code: str, most: int = LOG_BYTES) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A keeper, and the process id of what it keeps, which runs this code; nothing of it runs afterwards."""
    reads, writes = os.pipe()
    keeper = subprocess.Popen(
        [sys.executable, "-I", "-S", str(KEEPER)], pass_fds=(writes,), stdin=subprocess.PIPE, text=True
    )
    assert keeper.stdin is not None
    with keeper.stdin as given:
        given.write("\0".join((str(folder), str(most), str(writes), sys.executable, "-c", code, str(folder))))
    os.close(writes)
    try:
        with open(reads, "rb", buffering=0) as said:
            yield keeper, int(said.read(32))
    finally:
        keeper.kill()
        keeper.wait()


def size(folder: Path) -> int:
    """Of both parts of the log."""
    found = 0
    for name in ("log.1", "log"):
        with suppress(FileNotFoundError):
            found += (folder / name).stat().st_size
    return found


def runs(one: psutil.Process) -> bool:
    return one.is_running() and one.status() != psutil.STATUS_ZOMBIE


def eventually(true: Callable[[], bool], seconds: float = SOON) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("code", [FLOOD, BY_A_CHILD], ids=["its own", "a child's"])
def test_of_a_log_without_end_the_end_alone_reaches_the_disk(folder: Path, code: str, figure: Figure) -> None:
    largest = 0
    with kept(folder, code) as (keeper, _):
        memory = 0
        while keeper.poll() is None:
            largest = max(largest, size(folder))
            with suppress(psutil.Error):
                memory = max(memory, psutil.Process(keeper.pid).memory_info().rss)
            time.sleep(0.01)
        assert keeper.returncode == 0
    lines = replica_folder.tail(folder, 3)
    written = int(lines[-1].removeprefix("the end after ").split()[0])
    assert lines[-2] == "x" * 99
    assert written > FLOODED_BYTES
    largest = max(largest, size(folder))
    assert largest <= LOG_BYTES
    figure(
        f"{written / 1e9:.1f} GB written in {FLOOD_SECONDS:g} s, at most {largest:,} bytes on the disk, "
        f"{memory / 1e6:.0f} MB of memory for its keeper",
        goal=f"{LOG_BYTES:,} bytes on the disk at most, and the last line among them",
    )


def test_what_is_left_out_is_said(folder: Path) -> None:
    for _ in range(FLOODS):  # on a busy machine a flood is now and then slower than what reads it
        with kept(folder, FLOOD) as (keeper, _):
            keeper.wait(SOON)
        if b"bytes are left out here]" in (folder / "log").read_bytes() + (folder / "log.1").read_bytes():
            return
    raise AssertionError("nothing was left out, or nothing says so")


def test_a_line_now_and_then_is_there_at_once_and_whole(folder: Path) -> None:
    code = "import sys, time\nfor n in range(5): print('line', n, flush=True); time.sleep(0.15)" + FOR_LONG
    with kept(folder, code):
        eventually(lambda: replica_folder.tail(folder, 10) == [f"line {number}" for number in range(5)])


@pytest.mark.parametrize(("ends", "status"), [("sys.exit(3)", 3), ("os.kill(os.getpid(), 11)", -11), ("", 0)])
def test_a_keeper_ends_as_what_it_keeps_has_ended(folder: Path, ends: str, status: int) -> None:
    with kept(folder, f"import os, sys\nprint('its last words')\nsys.stdout.flush()\n{ends}") as (keeper, _):
        assert keeper.wait(SOON) == status
    assert replica_folder.tail(folder, 1) == ["its last words"]


def test_what_is_kept_dies_with_its_keeper(folder: Path) -> None:
    with kept(folder, FOR_LONG) as (keeper, pid):
        replica = psutil.Process(pid)
        keeper.kill()
        _, alive = psutil.wait_procs([replica], timeout=SOON)
        assert alive == []


def test_to_ask_a_keeper_to_end_is_to_ask_the_replica(folder: Path) -> None:
    code = "import signal, sys\nsignal.signal(15, lambda *_: sys.exit(5))\nprint('ready', flush=True)" + FOR_LONG
    with kept(folder, code) as (keeper, _):
        eventually(lambda: replica_folder.tail(folder, 1) == ["ready"])
        keeper.terminate()
        assert keeper.wait(SOON) == 5


@pytest.mark.parametrize("how", ["by itself", "killed"])
def test_an_orphan_without_environment_in_a_session_of_its_own_ends_with_the_replica(folder: Path, how: str) -> None:
    with kept(folder, ORPHAN + ("" if how == "by itself" else FOR_LONG)) as (keeper, pid):
        eventually(lambda: (folder / "orphan").exists() and bool((folder / "orphan").read_text()))
        if how == "killed":
            os.kill(pid, signal.SIGKILL)
        assert keeper.wait(SOON) == (0 if how == "by itself" else -signal.SIGKILL)
        assert not psutil.pid_exists(int((folder / "orphan").read_text())), "its keeper has reaped it"


def test_a_full_disk_keeps_no_writer_waiting_and_is_left_to_others(folder: Path) -> None:
    code = (
        "import os\nfor n in range(40000): os.write(1, b'%099d\\n' % n)\nos.mkdir(os.sys.argv[1] + '/done')" + FOR_LONG
    )
    with small_disk("16m") as disk:
        (disk / "first").write_bytes(bytes(keeper.SPARE_BYTES))
        fill(disk / "filler")
        (disk / "first").unlink()
        (disk / "room").write_bytes(b"x")  # less than what logs leave to others
        with kept(disk, code):
            eventually((disk / "done").is_dir)
            assert size(disk) == 0
            (disk / "filler").unlink()
            eventually(lambda: replica_folder.tail(disk, 1) == [f"{39999:099d}"])
        assert size(disk) <= LOG_BYTES


def test_a_folder_that_is_removed_stops_no_replica(folder: Path) -> None:
    code = "import time\nwhile True: print('x' * 1000, flush=True); time.sleep(0.001)"
    with kept(folder / "own", code) as (keeper, _):
        time.sleep(0.5)
        assert keeper.poll() is None
        (folder / "own").mkdir()
        eventually(lambda: size(folder / "own") > 0)


@pytest.mark.parametrize("most", [4096, 100_000])
def test_both_parts_together_are_never_larger_than_promised(folder: Path, most: int) -> None:
    clock = [0.0]
    log = keeper.Log(str(folder), most, lambda: clock[0])
    for number in range(600):
        log.add(b"%06d" % number * (number % 700))
        clock[0] += 0.01 * (number % 30)
        log.write()
        assert size(folder) <= most
    assert (folder / "log").read_bytes().endswith(b"%06d" % 599)


@pytest.fixture
async def starts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Starts]:
    """Launchers of replicas that run some code in place of a Bento."""
    launchers = []

    def made(code: str) -> tuple[Launch, ProcessLauncher]:
        host = folder / "host.py"
        host.write_text(code)
        monkeypatch.setattr(launcher, "HOST", host)
        launchers.append(process_launcher(folder, log_bytes=LOG_BYTES, stop_seconds=1.0))
        return launch(), launchers[-1]

    yield made
    for one in launchers:
        for replica_id in await one.list_running():
            await one.stop(replica_id, 0.0)


async def test_a_child_that_drops_its_environment_and_its_session_does_not_outlive_stop(
    starts: Starts, folder: Path
) -> None:
    wanted, launcher = starts(ORPHAN + FOR_LONG)
    await launcher.start(wanted)
    told = folder / "replicas" / wanted.replica_id / "orphan"
    eventually(lambda: told.exists() and bool(told.read_text()))
    orphan = psutil.Process(int(told.read_text()))
    eventually(lambda: orphan.environ() == {})  # it writes its id before it has become the program without any
    await launcher.stop(wanted.replica_id, 5.0)
    assert not runs(orphan)
    assert await launcher.list_running() == []


async def test_also_where_the_keeper_hangs(starts: Starts, folder: Path) -> None:
    wanted, launcher = starts(ORPHAN + FOR_LONG)
    await launcher.start(wanted)
    told = folder / "replicas" / wanted.replica_id / "orphan"
    eventually(lambda: told.exists() and bool(told.read_text()))
    orphan = psutil.Process(int(told.read_text()))
    launcher._children[wanted.replica_id].send_signal(signal.SIGSTOP)
    await launcher.stop(wanted.replica_id, 0.2)
    assert not runs(orphan)
    assert await launcher.list_running() == []


async def test_a_keeper_outlives_the_control_plane_and_another_one_reads_its_log(starts: Starts, folder: Path) -> None:
    wanted, launcher = starts(FLOOD + FOR_LONG)
    code = (
        "import asyncio, os, sys; from pathlib import Path\n"
        "from management.backends.process import launcher as process\n"
        "from tests.doubles.launchers import Launch, Resources, process_launcher\n"
        "process.HOST = Path(sys.argv[1]) / 'host.py'\n"
        f"launcher = process_launcher(Path(sys.argv[1]), log_bytes={LOG_BYTES})\n"
        "wanted = Launch(sys.argv[2], 'echo', 'tests/echo:1.0.0', Resources(100, 2**27, 0))\n"
        "asyncio.run(launcher.start(wanted)); os.kill(os.getpid(), 9)\n"
    )
    command = [sys.executable, "-c", code, str(folder), wanted.replica_id]
    dead = await asyncio.to_thread(subprocess.run, command, check=False)
    assert dead.returncode == -signal.SIGKILL
    assert (await launcher.observe(wanted.replica_id)).phase is Phase.STARTING
    own = folder / "replicas" / wanted.replica_id
    largest = 0

    def over() -> bool:
        nonlocal largest
        largest = max(largest, size(own))
        return any(line.startswith("the end") for line in replica_folder.tail(own, 1))

    eventually(over)
    assert largest <= LOG_BYTES
    await launcher.stop(wanted.replica_id, 5.0)
    assert (await until(launcher, wanted.replica_id, Phase.EXITED)).phase is Phase.EXITED
    assert await launcher.log(wanted.replica_id, 1) != []
