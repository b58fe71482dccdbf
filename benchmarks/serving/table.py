"""The benchmark's tables for the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from benchmarks.serving.evaluation import COMPARED_CLIENTS, Failure, Goal, Row, Spread


def show_rows(console: Console, rows: Sequence[Row], failures: Sequence[Failure]) -> None:
    """Print the figures of each contender, and the reasons for missing ones."""
    table = Table(title="medians of the rounds, least and most in brackets", title_justify="left")
    table.add_column("task")
    table.add_column("contender")
    for name in ("clients", "requests/s", "p50 ms", "p99 ms", "errors", "CPU ms/request", "memory MB", "start s"):
        table.add_column(name, justify="right", no_wrap=True)
    previous = ""
    for row in sorted(rows, key=lambda row: _order(row, rows)):
        if previous not in {"", row.task}:
            table.add_section()
        previous = row.task
        table.add_row(*_cells(row))
    console.print(table)
    for failure in failures:
        console.print(
            f"{failure.contender} ({failure.task}, round {failure.round + 1}) was not measured:", style="bold"
        )
        console.print(failure.reason, markup=False, highlight=False)


def show_goals(console: Console, goals: Sequence[Goal]) -> None:
    """Print the ratios, their goals, and whether they are met."""
    if not goals:
        return
    table = Table(title=f"goals, at {COMPARED_CLIENTS} clients; errors at any number of them", title_justify="left")
    for name, justify in (("task", "left"), ("figure", "left"), ("measured", "right"), ("goal", "right")):
        table.add_column(name, justify="right" if justify == "right" else "left")
    table.add_column("outcome")
    for goal in goals:
        bound = f"{'<=' if goal.at_most else '>='} {goal.wanted:g}"
        style = None if goal.met else "bold red"
        table.add_row(goal.task, goal.name, f"{goal.value:.2f}", bound, goal.outcome, style=style)
    console.print(table)


def show_figures(console: Console, title: str, headings: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    """Print a small table."""
    table = Table(title=title, title_justify="left")
    for heading in headings:
        table.add_column(heading, justify="right")
    for line in lines:
        table.add_row(*line)
    console.print(table)


def _order(row: Row, rows: Sequence[Row]) -> tuple[int, int, int]:
    tasks = list(dict.fromkeys(each.task for each in rows))
    names = list(dict.fromkeys(each.contender for each in rows))
    return tasks.index(row.task), names.index(row.contender), row.clients


def _cells(row: Row) -> list[str]:
    errors = f"{row.errors} ({row.kinds})" if row.errors else "0"
    return [
        row.task,
        row.contender,
        str(row.clients) if row.clients else "-",
        _spread(row.per_second, 1),
        _spread(row.p50_ms, 0 if row.p50_ms.median >= 100 else 1),
        _spread(row.p99_ms, 0 if row.p99_ms.median >= 100 else 1),
        errors if row.clients else "-",
        _number(row.cpu_ms.median, 1),
        _number(row.megabytes.median, 0),
        _number(row.start_seconds.median, 1),
    ]


def _spread(spread: Spread, places: int) -> str:
    if math.isnan(spread.median):
        return "-"
    if spread.min == spread.max:
        return f"{spread.median:.{places}f}"
    return f"{spread.median:.{places}f} ({spread.min:.{places}f}-{spread.max:.{places}f})"


def _number(value: float, places: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{places}f}"
