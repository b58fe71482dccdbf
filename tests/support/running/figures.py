"""What the promises of docs/reliability.md came to: each test takes its own down, and the run ends with a table.

Their times are goals of a machine that does nothing else: ``make faults`` judges them as they stand. Any other run may
share its machine, and its tests fail where a thing takes many times as long, because it hangs or became slow by nature.
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
"""Whether this run is to judge how long things take."""
SLACK: Final = 1 if JUDGED else 5
"""How many times its goal a thing may take."""

_PROPERTY: Final = "figure"


class Figure(Protocol):
    """Takes one down."""

    def __call__(self, measured: str, *, goal: str) -> None: ...


def take_down(item: pytest.Item, measured: str, goal: str) -> None:
    """Keeps a figure where it travels with the test's report, also from another process."""
    item.user_properties.append((_PROPERTY, [item.name, measured, goal]))


def taken(reports: Iterable[object]) -> Figures:
    """The figures in these reports."""
    calls = [one for one in reports if isinstance(one, pytest.TestReport) and one.when == "call"]
    kept: list[Any] = [value for call in calls for name, value in call.user_properties if name == _PROPERTY]
    return [(str(test), str(measured), str(goal)) for test, measured, goal in kept]


def table(figures: Figures) -> str:
    """Markdown, as it stands in the documentation."""
    rows = [
        f"| {name.removeprefix('test_').replace('_', ' ')} | {measured} | {goal} |" for name, measured, goal in figures
    ]
    note = f"Times passed up to {SLACK} times their goals; {JUDGE}=1 judges them, as make faults does."
    told = [] if JUDGED else ["", note]
    return "\n".join(["| promise | measured | goal |", "|---|---|---|", *rows, *told])
