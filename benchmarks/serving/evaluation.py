"""Evaluates samples: medians and spreads over the rounds, and the ratios that the goals compare."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.serving.contenders import ATELIER, CLASSIFY, EMBED, LIMIT, OURS, SAME_ENGINE, SUMMARIZE, TASKS

COMPARED_CLIENTS: Final = 32


@dataclass(frozen=True)
class Sample:
    """Figures of a load on a contender."""

    contender: str
    task: str
    clients: int
    """0 for the limit, which has no clients."""
    round: int
    per_second: float
    p50_ms: float = math.nan
    p99_ms: float = math.nan
    errors: int = 0
    cpu_ms: float = math.nan
    """CPU time per request."""
    megabytes: float = math.nan
    start_seconds: float = math.nan
    kinds: str = ""
    """Number of each kind of error, as text."""
    generator_ms: float = math.nan
    """CPU time of the load generator per request."""
    others: float = math.nan
    """Cores used by other processes on this machine."""


@dataclass(frozen=True)
class Failure:
    """A contender that could not be measured in a round."""

    contender: str
    task: str
    round: int
    reason: str


@dataclass(frozen=True)
class Spread:
    """Median, minimum and maximum of several rounds."""

    median: float
    min: float
    max: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Summarise the values that are not NaN; NaN where there are none."""
        numbers = [number for number in values if not math.isnan(number)]
        if not numbers:
            return cls(math.nan, math.nan, math.nan)
        return cls(statistics.median(numbers), min(numbers), max(numbers))


@dataclass(frozen=True)
class Row:
    """All rounds of a contender, task and number of clients."""

    contender: str
    task: str
    clients: int
    rounds: int
    per_second: Spread
    p50_ms: Spread
    p99_ms: Spread
    cpu_ms: Spread
    megabytes: Spread
    start_seconds: Spread
    errors: int
    """Total of all rounds."""
    kinds: str


@dataclass(frozen=True)
class Goal:
    """A figure and its bound ``wanted``, a minimum unless ``at_most``."""

    task: str
    name: str
    value: float
    wanted: float
    at_most: bool = False

    @property
    def met(self) -> bool:
        """Whether the figure is within the bound; NaN is not."""
        return self.value <= self.wanted if self.at_most else self.value >= self.wanted

    @property
    def outcome(self) -> str:
        """Whether the goal is met, and the difference."""
        if math.isnan(self.value):
            return "not measured"
        if self.wanted == 0:
            return "met" if self.met else f"MISSED by {self.value:g}"
        share = abs(self.value / self.wanted - 1)
        return f"{'met' if self.met else 'MISSED'} by {share:.0%} ({self.value - self.wanted:+.2f})"


BOUNDS: Final = {
    CLASSIFY: {"fastapi": 7.0, "litserve": 2.2, SAME_ENGINE: 1.3},
    EMBED: {"fastapi": 6.0, "litserve": 2.2, SAME_ENGINE: 1.15},
}
"""How many times a peer's requests Atelier should answer."""


def rows(samples: Sequence[Sample]) -> list[Row]:
    """Return a row for each contender, task and number of clients, in order of appearance."""
    groups: dict[tuple[str, str, int], list[Sample]] = {}
    for sample in samples:
        groups.setdefault((sample.task, sample.contender, sample.clients), []).append(sample)
    return [_row(group) for group in groups.values()]


def _row(group: Sequence[Sample]) -> Row:
    first = group[0]
    names = ("per_second", "p50_ms", "p99_ms", "cpu_ms", "megabytes", "start_seconds")
    spreads = {name: Spread.of(getattr(sample, name) for sample in group) for name in names}
    kinds = ", ".join(dict.fromkeys(sample.kinds for sample in group if sample.kinds))
    errors = sum(sample.errors for sample in group)
    return Row(first.contender, first.task, first.clients, len(group), errors=errors, kinds=kinds, **spreads)


def goals(measured: Sequence[Row]) -> list[Goal]:
    """Return each task's goals; those without their contenders are left out."""
    return [goal for task in TASKS for goal in _goals(task, measured)]


def _goals(task: str, measured: Sequence[Row]) -> list[Goal]:
    of_task = [row for row in measured if row.task == task]
    rates = {row.contender: row.per_second.median for row in of_task if row.clients in {0, COMPARED_CLIENTS}}
    if ATELIER not in rates:
        return []
    atelier = rates[ATELIER]
    if task == SUMMARIZE:
        return [Goal(task, "atelier / flask", atelier / rates["flask"], 3.0)] if "flask" in rates else []
    peers = [rate for name, rate in rates.items() if name not in OURS | {LIMIT, SAME_ENGINE}]
    bounds = {**BOUNDS[task], LIMIT: 0.85}.items()
    ratios = [Goal(task, f"atelier / {name}", atelier / rates[name], bound) for name, bound in bounds if name in rates]
    if peers:
        ratios.append(Goal(task, "atelier / best peer", atelier / max(peers), 1.2))
    row = next(row for row in of_task if row.contender == ATELIER and row.clients == COMPARED_CLIENTS)
    errors = sum(row.errors for row in of_task if row.contender in OURS)
    return [
        *ratios,
        Goal(task, "p99 / p50", row.p99_ms.median / row.p50_ms.median, 1.5, at_most=True),
        Goal(task, "errors", float(errors), 0.0, at_most=True),
    ]
