"""Checks that the control plane stays stable while replicas die, for a given time: python -m benchmarks.soak.

Three replicas of an echo Bento serve half of their maximum load, which is measured first, and a random replica is
killed each minute. The control plane's resident memory and open descriptors are sampled every 10 seconds. The exit
status is 1 when a request failed, or when the medians of the last quarter exceed those of the first by more than 10 %
of memory or 10 descriptors.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from tests.support.calls import deploy, until
from tests.support.load import Answer, callers, rate
from tests.support.management_servers import Management, echo_store, managing
from tests.support.victims import kill_one, ready

REPLICAS: Final = 3
PEAK_CALLERS: Final = 96
"""Concurrent requests that the replicas take, so that every possible connection exists before the soak."""
PEAK_SECONDS: Final = 6.0
LOAD_SHARE: Final = 0.5
"""Share of the maximum load."""
KILL_INTERVAL_SECONDS: Final = 60.0
SAMPLE_INTERVAL_SECONDS: Final = 10.0
MAX_MEMORY_GROWTH: Final = 0.1
"""Maximum growth of memory as a share."""
MAX_NEW_DESCRIPTORS: Final = 10


@dataclass
class Soak:
    """The observations so far."""

    per_second: float
    outcomes: Counter[str] = field(default_factory=Counter)
    memory: list[float] = field(default_factory=list)
    """Samples in MB."""
    descriptors: list[int] = field(default_factory=list)
    """Samples of open descriptors without those of clients, which choose their number of connections."""
    kills: int = 0

    def note(self, answer: Answer) -> None:
        """Count an answer."""
        self.outcomes["good" if answer.good else f"{answer.status} {answer.code}"] += 1

    def sample(self, process: psutil.Process) -> None:
        """Record the control plane's memory and descriptors."""
        self.memory.append(process.memory_info().rss / 1e6)
        self.descriptors.append(process.num_fds() - len(process.net_connections("tcp")))

    @property
    def failed(self) -> int:
        """Requests without a result."""
        return self.outcomes.total() - self.outcomes["good"]

    @property
    def summary(self) -> str:
        """The current state in one line."""
        return (
            f"{self.outcomes.total():,} requests, {self.failed} failed, {self.kills} kills, "
            f"{self.memory[-1]:.0f} MB, {self.descriptors[-1]} descriptors"
        )


def main() -> None:
    """Run the soak and print its result; exit with 1 when it fails."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0)
    minutes = parser.parse_args().minutes
    console = Console()
    with tempfile.TemporaryDirectory(prefix="at-soak-") as folder:
        store = echo_store(Path(folder) / "bentoml")
        with managing(store, home=Path(folder) / "home") as server:
            soak = _run(server, minutes * 60, console)
    raise SystemExit(_report(soak, console))


def _run(server: Management, seconds: float, console: Console) -> Soak:
    with server.client() as api:
        deploy(api, scaling_config={"min_replicas": REPLICAS, "max_replicas": REPLICAS}).raise_for_status()
        until(lambda: len(ready(api)) == REPLICAS)
        with callers(server, PEAK_CALLERS) as peak:
            time.sleep(PEAK_SECONDS)
        soak = Soak(LOAD_SHARE * len(peak.answers) / PEAK_SECONDS)
        console.print(f"{soak.per_second:.0f} requests a second, half of what {REPLICAS} replicas answer at most")
        generator, process = random.Random(), psutil.Process(server.pid)
        began = time.monotonic()
        next_kill, next_sample = began + KILL_INTERVAL_SECONDS / 2, began
        columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
        with rate(server, soak.per_second, note=soak.note) as traffic, Progress(*columns, console=console) as progress:
            task = progress.add_task("", total=seconds)
            log = _logger(console)
            while (now := time.monotonic()) < began + seconds:
                if now >= next_kill:
                    next_kill += KILL_INTERVAL_SECONDS
                    soak.kills += kill_one(server, api, generator) is not None
                if now >= next_sample:
                    next_sample += SAMPLE_INTERVAL_SECONDS
                    soak.sample(process)
                    log(soak.summary)
                progress.update(task, completed=now - began, description=soak.summary)
                traffic.lags.clear()
                time.sleep(0.2)
        soak.outcomes["unsent"] += traffic.unsent
    return soak


def _logger(console: Console) -> Callable[[str], None]:
    """Return a function that prints a line where there is no progress bar."""
    return (lambda _: None) if console.is_terminal else console.print


def _report(soak: Soak, console: Console) -> int:
    """Print the result and return the exit status."""
    quarter = max(1, len(soak.memory) // 4)
    (before, after), (few, many) = (_ends(samples, quarter) for samples in (soak.memory, soak.descriptors))
    console.print(f"requests     {soak.outcomes.total():,}, at {soak.per_second:.0f} a second")
    console.print(f"failed       {soak.failed} {dict(soak.outcomes) if soak.failed else ''}")
    console.print(f"kills        {soak.kills}")
    console.print(f"memory       {before:.1f} MB, then {after:.1f} MB ({after / before - 1:+.1%})")
    console.print(f"descriptors  {few:g}, then {many:g}")
    good = not soak.failed and after <= before * (1 + MAX_MEMORY_GROWTH) and many <= few + MAX_NEW_DESCRIPTORS
    return 0 if good else 1


def _ends(samples: Sequence[float], quarter: int) -> tuple[float, float]:
    """Medians of the first and of the last quarter."""
    return statistics.median(samples[:quarter]), statistics.median(samples[-quarter:])


if __name__ == "__main__":
    main()
