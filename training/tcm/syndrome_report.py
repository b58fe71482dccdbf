"""Plots of the diagnosis model's calibration and of each element's F1."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt
from torch import Tensor

from runners.models.tcm import tables
from training import calibration

MIN_ENTRIES: Final = 5
"""Minimum number of entries with an element for it to be drawn."""


def draw(probabilities: Tensor, predicted: Tensor, right: Tensor, path: Path) -> None:
    """Draw the reliability diagram and the F1 of each element. probabilities, predicted, right: [N, E]."""
    figure, (left, bars) = plt.subplots(1, 2, figsize=(11, 6), layout="constrained", width_ratios=(1, 1.2))
    bins = calibration.reliability(probabilities.flatten(), right.flatten())
    left.plot([0, 1], [0, 1], color="grey", linestyle="--", label="perfect")
    left.plot(bins.confidence, bins.accuracy, marker="o", label=f"elements, error {bins.error:.3f}")
    left.set(xlabel="probability said", ylabel="share right", xlim=(0, 1), ylim=(0, 1))
    left.legend()
    rows = sorted(_f1_by_element(predicted, right), key=lambda row: row[1])
    bars.barh([name for name, _, _ in rows], [score for _, score, _ in rows])
    for row, (_, score, count) in enumerate(rows):
        bars.text(score + 0.01, row, f"{score:.2f} of {count}", va="center", fontsize=8)
    bars.set(xlabel="F1 of each element that five entries or more have", xlim=(0, 1.15))
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _f1_by_element(predicted: Tensor, right: Tensor) -> list[tuple[str, float, int]]:
    both, either = (predicted & right).sum(dim=0), predicted.sum(dim=0) + right.sum(dim=0)
    return [
        (element.names.en, 2 * int(both[column]) / max(1, int(either[column])), int(right[:, column].sum()))
        for column, element in enumerate(tables.elements())
        if int(right[:, column].sum()) >= MIN_ENTRIES
    ]
