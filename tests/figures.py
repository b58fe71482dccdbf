"""What the promises of docs/reliability.md came to: each test takes its own down, and the run ends with a table."""

from __future__ import annotations

from typing import Final, Protocol

import pytest

Figures = list[tuple[str, str, str]]
"""The test, what it measured, its goal."""

_KEY: Final = pytest.StashKey[Figures]()


class Figure(Protocol):
    """Takes one down."""

    def __call__(self, measured: str, *, goal: str) -> None: ...


def kept(config: pytest.Config) -> Figures:
    """Those of this run."""
    return config.stash.setdefault(_KEY, [])


def table(figures: Figures) -> str:
    """Markdown, as it stands in the documentation."""
    rows = [
        f"| {name.removeprefix('test_').replace('_', ' ')} | {measured} | {goal} |" for name, measured, goal in figures
    ]
    return "\n".join(["| promise | measured | goal |", "|---|---|---|", *rows])
