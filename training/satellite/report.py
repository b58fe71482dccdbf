"""Plots of a classifier's confusion matrix and its calibration."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt
from torch import Tensor

from runners.models.vision.satellite import CLASSES
from training.calibration import Reliability

NAMES = (*CLASSES, "none")


def confusion(truth: Tensor, predicted: Tensor, path: Path) -> None:
    """Draw the confusion matrix of truth and predictions, [N] each in 0..4, as shares of each row."""
    counts = [[int(((truth == row) & (predicted == column)).sum()) for column in range(5)] for row in range(5)]
    figure, axes = plt.subplots(figsize=(6, 5), layout="constrained")
    shares = [[count / max(1, sum(row)) for count in row] for row in counts]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in ((row, column) for row in range(5) for column in range(5)):
        dark = shares[row][column] > 0.5
        text = f"{shares[row][column]:.1%}\n{counts[row][column]}"
        axes.text(column, row, text, ha="center", va="center", fontsize=9, color="white" if dark else "black")
    axes.set_xticks(range(5), [*CLASSES, "rejected"])
    axes.set_yticks(range(5), list(NAMES))
    axes.set_xlabel("answer")
    axes.set_ylabel("scene")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def reliability(bins: Reliability, confidence: Tensor, known: Tensor, path: Path) -> None:
    """Draw the reliability diagram of the four covers, and histograms of confidence [N] by the mask ``known`` [N]."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.5), layout="constrained")
    left.plot([0, 1], [0, 1], color="grey", linestyle="--", label="perfect")
    left.plot(bins.confidence, bins.accuracy, marker="o", label=f"four covers, error {bins.error:.3f}")
    left.set(xlabel="confidence", ylabel="right", xlim=(0, 1), ylim=(0, 1))
    left.legend()
    for name, rows in (("one of the four", known), ("none of them", ~known)):
        right.hist(confidence[rows].numpy(), bins=40, range=(0, 1), density=True, alpha=0.6, label=name)
    right.set(xlabel="confidence", ylabel="density", yscale="log")
    right.legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)
