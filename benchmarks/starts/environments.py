"""What an environment of its own adds to a replica's start: python -m benchmarks.starts.environments.

Two Bentos with the same service start in turns, as many times each: one in the server's environment, one in an
environment that is ready. The medians are compared; the goal is at most ``GOAL_SECONDS`` more.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Final
from uuid import uuid4

from management.backends.launcher import Launch, Phase
from management.backends.preparation import EnvironmentState
from management.backends.process.environments.preparer import UvPreparer
from management.backends.process.images import BentoStore
from management.backends.process.launcher import ProcessLauncher
from management.backends.process.settings import ProcessSettings
from management.domain.records import Resources
from management.settings import ReplicaSettings, StorageSettings
from tests.support.bentos.own_environments import tiny_bento
from tests.support.management_servers import echo_store

ROUNDS: Final = 9
GOAL_SECONDS: Final = 0.5
SERVERS: Final = "tests/echo:1.0.0"
START: Final = 60.0


def main() -> None:
    """Measure, print the medians, and fail where the goal is missed."""
    with tempfile.TemporaryDirectory(prefix="at-") as folder:
        home = Path(folder)
        os.environ |= {"BENTOML_HOME": str(home / "bentoml"), "ATELIER_TESTS_SHARED": folder}
        echo_store(home / "bentoml")
        own = tiny_bento(home / "bentoml")
        seconds = asyncio.run(_measured(home, own))
    medians = {image: statistics.median(times) for image, times in seconds.items()}
    more = medians[own] - medians[SERVERS]
    print(f"the server's environment: {medians[SERVERS]:.2f} s; its own: {medians[own]:.2f} s; {more:+.2f} s", end="")
    print(f" (medians of {ROUNDS} starts each; goal: at most {GOAL_SECONDS:+.1f} s)")
    sys.exit(more > GOAL_SECONDS)


async def _measured(home: Path, own: str) -> dict[str, list[float]]:
    """Return the seconds of each start, by image."""
    storage = StorageSettings(home=home)
    preparer = UvPreparer(BentoStore(home / "bentoml"), storage, ProcessSettings())
    began = time.perf_counter()
    while (seen := await preparer.prepare(own, 0.0)).state is EnvironmentState.PREPARING:  # noqa: ASYNC110 - files are observed
        await asyncio.sleep(0.1)
    print(f"making the environment: {time.perf_counter() - began:.1f} s, {(seen.size_bytes or 0) >> 20} MiB")
    launcher = ProcessLauncher(storage, ReplicaSettings(), preparer.interpreter)
    seconds: dict[str, list[float]] = {SERVERS: [], own: []}
    for _ in range(ROUNDS):
        for image, times in seconds.items():
            times.append(await _start(launcher, image))
    return seconds


async def _start(launcher: ProcessLauncher, image: str) -> float:
    """Start a replica, wait until it is ready, stop it, and return the seconds until it was ready."""
    launch = Launch(uuid4().hex, "echo", image, Resources(1000, 2**28, 0))
    began = time.perf_counter()
    await launcher.start(launch)
    async with asyncio.timeout(START):
        while (await launcher.observe(launch.replica_id)).phase is not Phase.READY:  # noqa: ASYNC110 - as the supervisor does
            await asyncio.sleep(0.01)
    seconds = time.perf_counter() - began
    await launcher.stop(launch.replica_id, 2.0)
    await launcher.remove_files(launch.replica_id)
    return seconds


if __name__ == "__main__":
    main()
