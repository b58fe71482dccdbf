"""The measured figures of the promises in docs/reliability.md: tests record them, and the run prints a table.

The times are goals for an idle machine, and ``make faults`` checks them exactly. Other runs may share the machine:
their tests fail only where something takes several times as long.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, Final, Protocol

import pytest

Figures = list[tuple[str, str, str]]
"""The test, what it measured, its goal."""

JUDGE: Final = "ATELIER_TESTS_JUDGE_SPEED"
JUDGED: Final = bool(os.environ.get(JUDGE))
"""Whether this run checks times exactly."""
SLACK: Final = 1 if JUDGED else 5
"""Factor by which a time may exceed its goal."""

_PROPERTY: Final = "figure"


class Figure(Protocol):
    """Records a figure."""

    def __call__(self, measured: str, *, goal: str) -> None: ...


def take_down(item: pytest.Item, measured: str, goal: str) -> None:
    """Record a figure in the test's report, which also reaches the main process."""
    item.user_properties.append((_PROPERTY, [item.name, measured, goal]))


def taken(reports: Iterable[object]) -> Figures:
    """Return the figures in these reports."""
    calls = [report for report in reports if isinstance(report, pytest.TestReport) and report.when == "call"]
    kept: list[Any] = [value for call in calls for name, value in call.user_properties if name == _PROPERTY]
    return [(str(test), str(measured), str(goal)) for test, measured, goal in kept]


def table(figures: Figures) -> str:
    """Return the figures as a Markdown table, as in the documentation."""
    rows = [
        f"| {name.removeprefix('test_').replace('_', ' ')} | {measured} | {goal} |" for name, measured, goal in figures
    ]
    note = f"Times passed up to {SLACK} times their goals; {JUDGE}=1 judges them, as make faults does."
    told = [] if JUDGED else ["", note]
    return "\n".join(["| promise | measured | goal |", "|---|---|---|", *rows, *told])
