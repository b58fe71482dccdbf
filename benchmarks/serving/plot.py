"""The plot of the benchmark: throughput and 99th percentile of each contender and task."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.serving.contenders import LIMIT, OURS, TASKS
from benchmarks.serving.evaluation import COMPARED_CLIENTS, Row

ATELIER_COLOUR, PEER_COLOUR, LIMIT_COLOUR = "#1b6ca8", "#b0b7bf", "#3a3f44"
WIDTH, HEIGHT = 4.2, 3.4
MEASURES: Final = (("per_second", "requests/s"), ("p99_ms", "p99, ms"))


def draw(rows: Sequence[Row], file: Path) -> None:
    """Write a PNG: a column for each task, throughput above and the 99th percentile below, with error bars."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    compared = [row for row in rows if row.clients in {0, COMPARED_CLIENTS}]
    tasks = [task for task in TASKS if any(row.task == task for row in compared)]
    if not tasks:
        return
    figure, axes = pyplot.subplots(
        len(MEASURES), len(tasks), figsize=(WIDTH * len(tasks), HEIGHT * len(MEASURES)), squeeze=False
    )
    for column, task in enumerate(tasks):
        for line, (name, label) in enumerate(MEASURES):
            of_task = [row for row in compared if row.task == task and not (name == "p99_ms" and row.clients == 0)]
            _bars(axes[line][column], of_task, name, f"{task}: {label}")
    figure.suptitle(f"{COMPARED_CLIENTS} clients; median of the rounds, least and most")
    figure.tight_layout()
    figure.savefig(file, dpi=110)
    pyplot.close(figure)


def _bars(axes: object, rows: Sequence[Row], name: str, title: str) -> None:
    from matplotlib.axes import Axes

    assert isinstance(axes, Axes)  # noqa: S101 - matplotlib's arrays have no types
    spreads = [getattr(row, name) for row in rows]
    below = [spread.median - spread.min for spread in spreads]
    above = [spread.max - spread.median for spread in spreads]
    axes.barh(
        [row.contender for row in rows],
        [spread.median for spread in spreads],
        xerr=[below, above],
        color=[_colour(row.contender) for row in rows],
        ecolor=LIMIT_COLOUR,
        capsize=2,
    )
    axes.invert_yaxis()
    axes.set_title(title, fontsize=10)
    axes.tick_params(labelsize=8)


def _colour(contender: str) -> str:
    if contender == LIMIT:
        return LIMIT_COLOUR
    return ATELIER_COLOUR if contender in OURS else PEER_COLOUR
