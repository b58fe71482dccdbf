"""The figure of the benchmark: requests a second and the slowest answers, of each contender and task."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.serving.comparing import COMPARED_CLIENTS, Row
from benchmarks.serving.contenders import LIMIT, OURS, TASKS

OWN_COLOUR, PEER_COLOUR, LIMIT_COLOUR = "#1b6ca8", "#b0b7bf", "#3a3f44"
WIDTH, HEIGHT = 4.2, 3.4
MEASURES: Final = (("per_second", "requests/s"), ("p99_ms", "p99, ms"))


def draw(rows: Sequence[Row], file: Path) -> None:
    """Writes a PNG: a column for each task, throughput above and the 99th percentile below, with their spreads."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    compared = [one for one in rows if one.clients in {0, COMPARED_CLIENTS}]
    tasks = [task for task in TASKS if any(one.task == task for one in compared)]
    if not tasks:
        return
    figure, axes = pyplot.subplots(
        len(MEASURES), len(tasks), figsize=(WIDTH * len(tasks), HEIGHT * len(MEASURES)), squeeze=False
    )
    for column, task in enumerate(tasks):
        for line, (name, label) in enumerate(MEASURES):
            of_task = [one for one in compared if one.task == task and not (name == "p99_ms" and one.clients == 0)]
            _bars(axes[line][column], of_task, name, f"{task}: {label}")
    figure.suptitle(f"{COMPARED_CLIENTS} clients; median of the rounds, least and most")
    figure.tight_layout()
    figure.savefig(file, dpi=110)
    pyplot.close(figure)


def _bars(axes: object, rows: Sequence[Row], name: str, title: str) -> None:
    from matplotlib.axes import Axes

    assert isinstance(axes, Axes)  # noqa: S101 - matplotlib's arrays have no types
    spreads = [getattr(one, name) for one in rows]
    below = [one.median - one.least for one in spreads]
    above = [one.most - one.median for one in spreads]
    axes.barh(
        [one.contender for one in rows],
        [one.median for one in spreads],
        xerr=[below, above],
        color=[_colour(one.contender) for one in rows],
        ecolor=LIMIT_COLOUR,
        capsize=2,
    )
    axes.invert_yaxis()
    axes.set_title(title, fontsize=10)
    axes.tick_params(labelsize=8)


def _colour(contender: str) -> str:
    if contender == LIMIT:
        return LIMIT_COLOUR
    return OWN_COLOUR if contender in OURS else PEER_COLOUR
