"""The test suite of every launcher: each function tests a part of the contract in ``backends/launcher.py``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from management.backends.launcher import Launch, Launcher, Observation, Phase, ReplicaInventory
from management.backends.process.launcher import ProcessLauncher
from management.domain.records import Resources
from tests.doubles.management import settings

READY_SECONDS: Final = 60.0
GRACE_SECONDS: Final = 5.0


@dataclass(frozen=True)
class Bench:
    """A launcher, launches for it, and ways to disturb it."""

    launcher: Launcher
    launch: Launch
    loud: Launch
    """A launch that writes to its log before it is ready, or ends."""
    again: Callable[[], Launcher]
    """Makes another launcher with the same state, as after a crash of the control plane."""
    kill: Callable[[str], None]
    """Kills a replica without the launcher."""
    measures: bool = True
    """Whether what it runs on measures what replicas use."""


def process_launcher(home: Path, **changes: Any) -> ProcessLauncher:
    """The process backend's launcher over a home."""
    told = settings(home, **changes)
    return ProcessLauncher(told.storage, told.replicas)


def launch(image: str = "tests/echo:1.0.0") -> Launch:
    """Return a launch with a new id."""
    return Launch(uuid4().hex, "echo", image, Resources(100, 2**27, 0), {"GREETING": "hello"})


async def listed(inventory: ReplicaInventory, replica_id: str) -> None:
    """Wait until the launcher lists the replica."""
    deadline = time.monotonic() + READY_SECONDS
    while replica_id not in await inventory.list_running():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def until(launcher: Launcher, replica_id: str, *phases: Phase) -> Observation:
    """Return the first observation in one of these phases."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        look = await launcher.observe(replica_id)
        if look.phase in phases:
            return look
        await asyncio.sleep(0.02)
    raise AssertionError((look, await launcher.log(replica_id, 50)))


async def begun(bench: Bench) -> Observation:
    """Start the replica, and wait until it is ready."""
    await bench.launcher.start(bench.launch)
    return await until(bench.launcher, bench.launch.replica_id, Phase.READY)


async def what_was_never_started_is_absent_and_harmless(bench: Bench) -> None:
    assert (await bench.launcher.observe("nobody")).phase is Phase.ABSENT
    assert await bench.launcher.log("nobody", 10) == []
    assert await bench.launcher.usage(["nobody"]) == {}
    await bench.launcher.stop("nobody", GRACE_SECONDS)
    await bench.launcher.remove_files("nobody")
    assert "nobody" not in await bench.launcher.list_running()


async def what_is_started_becomes_ready_and_is_listed(bench: Bench) -> None:
    look = await begun(bench)
    assert look.address.startswith(("unix:/", "http://"))
    assert look.in_flight == 0
    assert await bench.launcher.list_running() == [bench.launch.replica_id]
    used = await bench.launcher.usage([bench.launch.replica_id])
    assert bool(used) is bench.measures
    assert not used or used[bench.launch.replica_id].memory_bytes > 0


async def starting_twice_is_starting_once(bench: Bench) -> None:
    await asyncio.gather(*(bench.launcher.start(bench.launch) for _ in range(3)))
    look = await begun(bench)
    await bench.again().start(bench.launch)
    assert (await bench.launcher.observe(bench.launch.replica_id)).address == look.address
    assert await bench.launcher.list_running() == [bench.launch.replica_id]
    await bench.launcher.stop(bench.launch.replica_id, GRACE_SECONDS)
    assert await bench.launcher.list_running() == [], "there was one"


async def what_is_stopped_is_gone_at_return_and_may_be_stopped_again(bench: Bench) -> None:
    await begun(bench)
    for _ in range(2):
        await bench.launcher.stop(bench.launch.replica_id, GRACE_SECONDS)
        assert await bench.launcher.list_running() == []
        assert (await bench.launcher.observe(bench.launch.replica_id)).phase is Phase.EXITED
    assert await bench.launcher.usage([bench.launch.replica_id]) == {}


async def what_is_stopped_without_grace_is_gone_too(bench: Bench) -> None:
    await bench.launcher.start(bench.launch)
    await bench.launcher.stop(bench.launch.replica_id, 0.0)
    assert await bench.launcher.list_running() == []


async def a_log_is_there_until_it_is_cleaned(bench: Bench) -> None:
    await bench.launcher.start(bench.loud)
    await until(bench.launcher, bench.loud.replica_id, Phase.READY, Phase.EXITED)
    await bench.launcher.stop(bench.loud.replica_id, GRACE_SECONDS)
    lines = await bench.launcher.log(bench.loud.replica_id, 100)
    assert lines
    assert await bench.launcher.log(bench.loud.replica_id, 1) == lines[-1:]
    for _ in range(2):
        await bench.launcher.remove_files(bench.loud.replica_id)
        assert (await bench.launcher.observe(bench.loud.replica_id)).phase is Phase.ABSENT
        assert await bench.launcher.log(bench.loud.replica_id, 100) == []


async def another_launcher_finds_what_runs_and_can_end_it(bench: Bench) -> None:
    look = await begun(bench)
    other = bench.again()
    assert await other.list_running() == [bench.launch.replica_id]
    assert (await other.observe(bench.launch.replica_id)).address == look.address
    await other.stop(bench.launch.replica_id, GRACE_SECONDS)
    assert await other.list_running() == await bench.launcher.list_running() == []
    assert (await bench.launcher.observe(bench.launch.replica_id)).phase is Phase.EXITED


async def what_is_killed_is_seen_with_a_reason(bench: Bench) -> None:
    await begun(bench)
    bench.kill(bench.launch.replica_id)
    look = await until(bench.launcher, bench.launch.replica_id, Phase.EXITED)
    assert "kill" in look.reason.lower()
    assert await bench.launcher.list_running() == []


async def replicas_are_ended_one_by_one(bench: Bench) -> None:
    other = replace(bench.launch, replica_id=uuid4().hex)
    await begun(bench)
    await bench.launcher.start(other)
    await until(bench.launcher, other.replica_id, Phase.READY)
    await bench.launcher.stop(bench.launch.replica_id, GRACE_SECONDS)
    assert await bench.launcher.list_running() == [other.replica_id]
    assert (await bench.launcher.observe(other.replica_id)).phase is Phase.READY
    await bench.launcher.stop(other.replica_id, GRACE_SECONDS)


CONTRACT: Final[tuple[Callable[[Bench], Awaitable[None]], ...]] = (
    what_was_never_started_is_absent_and_harmless,
    what_is_started_becomes_ready_and_is_listed,
    starting_twice_is_starting_once,
    what_is_stopped_is_gone_at_return_and_may_be_stopped_again,
    what_is_stopped_without_grace_is_gone_too,
    a_log_is_there_until_it_is_cleaned,
    another_launcher_finds_what_runs_and_can_end_it,
    what_is_killed_is_seen_with_a_reason,
    replicas_are_ended_one_by_one,
)
