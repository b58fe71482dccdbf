"""Calibration: temperature and Platt scaling, the rejection threshold, and reliability bins."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

BINS = 15
TEMPERATURES = tuple(0.5 + 0.1 * step for step in range(26))
OFFSETS = tuple(-3 + 0.25 * step for step in range(17))


@dataclass(frozen=True)
class Scale:
    """Temperature scaling (Guo et al., ICML 2017) with an offset of the last output, "none of these"."""

    temperature: float
    offset: float

    def __call__(self, logits: Tensor) -> Tensor:
        """Return the scaled logits, [N, outputs]."""
        return torch.cat([logits[:, :-1], logits[:, -1:] + self.offset], dim=1) / self.temperature


def fit_scale(logits: Tensor, truth: Tensor) -> Scale:
    """Return the scale with the least calibration error. logits [N, outputs], truth [N]; the last output is "none".

    The error is the larger of two: that of the named pictures, and that of all. A temperature alone cannot make
    confidences honest whose "none" was fitted on more foreign pictures than people send.
    """
    unknown = logits.shape[1] - 1

    def error(scale: Scale) -> float:
        confidence, best = scale(logits).softmax(dim=1)[:, :unknown].max(dim=1)
        known, right = truth < unknown, best == truth
        return max(reliability(confidence[known], right[known]).error, reliability(confidence, right).error)

    scales = [Scale(temperature, offset) for temperature in TEMPERATURES for offset in OFFSETS]
    return min(scales, key=error)


def fit_platt(logits: Tensor, right: Tensor) -> tuple[float, float]:
    """Return the maximum-likelihood slope and offset of Platt scaling. logits, right: the same shape, any.

    The targets are smoothed as in Platt (1999): without that, separable logits have no best slope.
    """
    positives, negatives = float(right.sum()), float((~right).sum())
    target = torch.where(right, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    parameters = torch.tensor([1.0, 0.0], requires_grad=True)
    optimizer = torch.optim.LBFGS([parameters], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.binary_cross_entropy_with_logits(parameters[0] * logits + parameters[1], target)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    slope, offset = parameters.detach().tolist()
    return slope, offset


def fit_threshold(known: Tensor, foreign: Tensor, *, max_accepts: float, max_rejects: float) -> float:
    """Return the confidence with the same margin to both goals. known, foreign: confidences [N] of the two kinds.

    The goals are the largest share of foreign pictures that are accepted, and of known pictures that are rejected.
    """
    candidates = torch.linspace(0.01, 0.99, 491)
    rejected = (known[None] < candidates[:, None]).float().mean(dim=1)
    accepted = (foreign[None] >= candidates[:, None]).float().mean(dim=1)
    worst = torch.maximum(rejected / max_rejects, accepted / max_accepts)
    return float(candidates[worst.argmin()])


@dataclass(frozen=True)
class Reliability:
    """Mean confidence, accuracy and share of the samples of each bin that is not empty."""

    confidence: tuple[float, ...]
    accuracy: tuple[float, ...]
    share: tuple[float, ...]

    @property
    def error(self) -> float:
        """The expected calibration error, in [0, 1]."""
        return sum(
            share * abs(confidence - accuracy)
            for confidence, accuracy, share in zip(self.confidence, self.accuracy, self.share, strict=True)
        )


def reliability(confidence: Tensor, right: Tensor) -> Reliability:
    """Compare confidence [N] with accuracy, the mean of ``right`` [N], in bins of equal width."""
    rows = []
    for low, high in pairwise(torch.linspace(0, 1, BINS + 1).tolist()):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            rows.append(
                (
                    float(confidence[inside].mean()),
                    float(right[inside].float().mean()),
                    float(inside.float().mean()),
                )
            )
    columns = zip(*rows, strict=True)
    return Reliability(*(tuple(column) for column in columns))
