"""Environments are made by the real uv from local wheels: once, whole or not at all, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from management.backends.launcher import ImageRefused, LaunchRefused
from management.backends.preparation import READY_AT_ONCE, EnvironmentState, Preparation
from management.backends.process.environments import index_check, uv
from management.backends.process.environments import preparer as preparers
from management.backends.process.environments.preparer import UvPreparer
from management.backends.process.images import BentoStore
from management.backends.process.settings import ProcessSettings
from management.settings import StorageSettings
from tests.inputs.small_disk import small_disk
from tests.support.bentos.own_environments import require, tiny_bento

pytestmark = pytest.mark.server
SOON = 120.0
Make = Callable[..., UvPreparer]


@pytest.fixture
def bentos(tmp_path: Path) -> Path:
    return tmp_path / "bentoml"


@pytest.fixture
async def make(bentos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Make]:
    """Makes preparers over one home, as each control plane of a machine has one."""
    monkeypatch.setenv("BENTOML_HOME", str(bentos))
    made: list[UvPreparer] = []

    def preparer(home: Path = tmp_path / "home", **settings: object) -> UvPreparer:
        own = ProcessSettings(**settings)  # type: ignore[arg-type]
        made.append(UvPreparer(BentoStore(bentos), StorageSettings(home=home), own))
        return made[-1]

    yield preparer
    for opened in made:
        await opened.close()


async def outcome(preparer: UvPreparer, image: str, since: float = 0.0) -> Preparation:
    """Prepare the image until there is an outcome."""
    async with asyncio.timeout(SOON):
        while (seen := await preparer.prepare(image, since)).state is EnvironmentState.PREPARING:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return seen


async def makers(count: int) -> list[psutil.Process]:
    """The processes that make environments for this one, once there are that many."""
    async with asyncio.timeout(SOON):
        while len(found := [*filter(_is_maker, psutil.Process().children())]) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return found


def _tiny_version(python: str) -> str:
    return subprocess.check_output([python, "-c", "import tiny, bentoml; print(tiny.VERSION)"], text=True).strip()


def _is_maker(process: psutil.Process) -> bool:
    try:
        return str(preparers.MAKER) in process.cmdline()
    except psutil.Error:
        return False


async def test_a_bento_that_requires_something_else_gets_an_environment(make: Make, bentos: Path) -> None:
    image, preparer = tiny_bento(bentos), make()
    assert (await preparer.prepare(image, 0.0)).state is EnvironmentState.PREPARING
    seen = await outcome(preparer, image)
    assert (seen.state, seen.python) == (EnvironmentState.READY, "3.11"), await preparer.log(image, 50)
    assert seen.size_bytes is not None
    assert seen.size_bytes > 10**6
    assert any(package.startswith("tiny") for package in await preparer.packages(image))
    python = await preparer.interpreter(image)
    assert _tiny_version(python.path) == "1.0"
    assert not list(preparer._places.home.glob("*.making-*"))


async def test_a_bento_that_the_server_suits_is_ready_at_once(make: Make, bentos: Path) -> None:
    image, preparer = tiny_bento(bentos), make()
    require(bentos / "bentos" / "tiny" / "1.0.0", "bentoml")
    assert await preparer.prepare(image, 0.0) == READY_AT_ONCE
    assert (await preparer.interpreter(image)).environment == ""
    seen = await preparer.look(image)
    assert seen is not None
    assert not seen.is_own
    assert not preparer._places.home.exists(), "nothing was made"


async def test_the_operator_can_have_all_bentos_run_in_the_servers_environment(make: Make, bentos: Path) -> None:
    image, preparer = tiny_bento(bentos, wanted="9.9"), make(own_environments=False)
    await preparer.check(image)
    assert (await preparer.interpreter(image)).environment == ""


async def test_two_control_planes_make_it_once(make: Make, bentos: Path) -> None:
    image, first, second = tiny_bento(bentos), make(), make()
    seen = await asyncio.gather(outcome(first, image), outcome(second, image))
    assert [preparation.state for preparation in seen] == [EnvironmentState.READY] * 2
    log = await first.log(image, 1000)
    assert sum(line.startswith("$ installing") for line in log) == 1, log


async def test_a_making_that_waited_leaves_an_environment_that_is_ready_alone(make: Make, bentos: Path) -> None:
    image, late, first = tiny_bento(bentos), make(), make()
    for _ in range(preparers.AT_ONCE):
        await late._slots.acquire()
    assert (await late.prepare(image, 0.0)).state is EnvironmentState.PREPARING
    (waiting,) = late._making.values()
    ready = await outcome(first, image)
    await asyncio.gather(*first._making.values())  # it no longer holds the lock
    target = first._places.target(ready.digest)
    made = target.stat().st_ino
    for _ in range(preparers.AT_ONCE):
        late._slots.release()
    await asyncio.wait_for(waiting, SOON)
    assert target.stat().st_ino == made
    assert (await late.prepare(image, 0.0)).state is EnvironmentState.READY


async def test_a_killed_making_leaves_nothing_and_is_begun_again(make: Make, bentos: Path) -> None:
    image, preparer = tiny_bento(bentos), make()
    assert (await preparer.prepare(image, 0.0)).state is EnvironmentState.PREPARING
    (maker,) = await makers(1)
    family = [maker, *maker.children(recursive=True)]
    os.kill(maker.pid, signal.SIGKILL)
    psutil.wait_procs(family, timeout=SOON)
    with pytest.raises(LaunchRefused):
        await preparer.interpreter(image)
    assert (await outcome(preparer, image)).state is EnvironmentState.READY
    assert not list(preparer._places.home.glob("*.making-*"))


async def test_a_making_ends_with_its_control_plane(make: Make, bentos: Path, tmp_path: Path) -> None:
    image = tiny_bento(bentos)
    code = f"""
import asyncio, sys
sys.path.insert(0, {str(Path.cwd())!r})
from pathlib import Path
from management.backends.process.environments.preparer import UvPreparer
from management.backends.process.images import BentoStore
from management.backends.process.settings import ProcessSettings
from management.settings import StorageSettings
async def main():
    storage = StorageSettings(home={str(tmp_path / "home")!r})
    preparer = UvPreparer(BentoStore(Path({str(bentos)!r})), storage, ProcessSettings())
    print(await preparer.prepare({image!r}, 0.0), flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""
    plane = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=-1)
    assert plane.stdout is not None
    assert b"PREPARING" in await plane.stdout.readline()
    async with asyncio.timeout(SOON):
        while not (family := psutil.Process(plane.pid).children(recursive=True)):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    plane.kill()
    await plane.wait()
    psutil.wait_procs(family, timeout=SOON)
    assert not any(process.is_running() for process in family)
    assert (await outcome(make(), image)).state is EnvironmentState.READY


async def test_requirements_that_do_not_resolve_are_refused_with_the_log(make: Make, bentos: Path) -> None:
    image, preparer = tiny_bento(bentos, wanted="9.9"), make()
    with pytest.raises(ImageRefused) as refused:
        await preparer.check(image)
    assert refused.value.kind == "environment_requirements"
    assert any("tiny" in line for line in refused.value.log)
    assert str(bentos) not in "".join(refused.value.log)
    seen = await outcome(preparer, image)
    assert (seen.state, seen.temporary) == (EnvironmentState.FAILED, False)
    assert "tiny" in seen.reason
    assert any("tiny" in line for line in await preparer.log(image, 50))


async def test_a_failure_stays_until_somebody_wants_it_again(make: Make, bentos: Path) -> None:
    image, preparer = tiny_bento(bentos, wanted="9.9"), make()
    await outcome(preparer, image)
    assert (await make().prepare(image, 0.0)).state is EnvironmentState.FAILED, "another control plane knows it"
    assert (await preparer.prepare(image, time.time() + 1)).state is EnvironmentState.PREPARING


async def test_a_python_that_is_not_there_is_refused(make: Make, bentos: Path) -> None:
    image = tiny_bento(bentos)
    description = bentos / "bentos" / "tiny" / "1.0.0" / "bento.yaml"
    description.write_text(description.read_text().replace("python_version: '3.11'", "python_version: '3.7'"))
    with pytest.raises(ImageRefused) as refused:
        await make().check(image)
    assert (refused.value.kind, refused.value.values["wanted"]) == ("environment_python", "3.7")


async def test_a_full_disk_is_a_failure_that_is_tried_again(make: Make, bentos: Path) -> None:
    image = tiny_bento(bentos)
    with small_disk("16m") as disk:
        preparer = make(disk)
        seen = await outcome(preparer, image)
        assert (seen.state, seen.temporary) == (EnvironmentState.FAILED, True), seen.reason
        assert not list((disk / "environments").glob("*.making-*"))
        with pytest.raises(LaunchRefused):
            await preparer.interpreter(image)
        await preparer.close()


async def test_environments_beyond_the_disk_budget_are_removed_unless_they_are_used(make: Make, bentos: Path) -> None:
    images = [tiny_bento(bentos, name) for name in ("one", "two")]
    require(bentos / "bentos" / "two" / "1.0.0", "tiny==1.0", "bentoml", "setuptools")
    preparer = make(environments_disk="1Mi")
    for image in images:
        assert (await outcome(preparer, image)).state is EnvironmentState.READY
    await preparer.retain([images[0]])
    kept, removed = [await preparer.look(image) for image in images]
    assert kept is not None
    assert removed is not None
    assert (kept.state, removed.state) == (EnvironmentState.READY, EnvironmentState.ABSENT)


async def test_what_is_known_of_bentos_that_nothing_deploys_is_forgotten(make: Make, bentos: Path) -> None:
    images, preparer = [tiny_bento(bentos, name) for name in ("one", "two")], make()
    for image in images:
        await preparer.look(image)
    await preparer.retain(images[:1])
    assert list(preparer._plans) == images[:1]


async def test_a_check_that_is_cancelled_is_cancelled_though_uv_cannot_be_started(
    make: Make, bentos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def fail_late(*_: str, **__: Any) -> asyncio.subprocess.Process:
        begun.set()
        await cancelled.wait()
        raise OSError("no memory")

    monkeypatch.setattr(asyncio, "create_subprocess_exec", fail_late)
    checking = asyncio.create_task(make().check(tiny_bento(bentos)))
    await begun.wait()
    checking.cancel()
    cancelled.set()
    await asyncio.wait([checking])
    assert checking.cancelled()


@pytest.mark.parametrize("when", ["starting", "running", "late"])
async def test_what_uv_builds_ends_with_a_check_that_is_given_up(
    make: Make, bentos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    slow, family = tmp_path / "uv", tmp_path / "pids"
    slow.write_text(f"#!/bin/sh\nsleep 600 &\necho $$ $! > {family}.new; mv {family}.new {family}; wait\n")
    slow.chmod(0o755)
    monkeypatch.setattr(uv, "program", lambda: str(slow))
    monkeypatch.setattr(index_check, "RESOLVE_SECONDS", 1.0 if when == "late" else SOON)
    start, begun = asyncio.create_subprocess_exec, asyncio.Event()

    async def start_slowly(*command: str, **options: Any) -> asyncio.subprocess.Process:
        process = await start(*command, **options)
        await begun.wait()
        return process

    if when == "starting":
        monkeypatch.setattr(asyncio, "create_subprocess_exec", start_slowly)
    checking = asyncio.create_task(make().check(tiny_bento(bentos)))
    async with asyncio.timeout(SOON):
        while not family.exists():  # noqa: ASYNC110 - a shell writes it
            await asyncio.sleep(0.02)
    started = [psutil.Process(int(pid)) for pid in family.read_text().split()]
    if when != "late":
        checking.cancel()
    begun.set()
    await asyncio.wait([checking])
    _, alive = psutil.wait_procs(started, timeout=10)
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []
