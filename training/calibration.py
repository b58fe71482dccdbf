"""Calibration: temperature scaling, Platt scaling, the rejection threshold, and reliability bins."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

BINS = 15
MAX_FALSE_ACCEPT_RATE = 0.15
"""Goal: maximum share of foreign scenes that are accepted."""
MAX_FALSE_REJECT_RATE = 0.05
"""Goal: maximum share of scenes with one of the four covers that are rejected."""


def fit_temperature(logits: Tensor, target: Tensor) -> float:
    """Return the temperature that minimises the cross-entropy (Guo et al., ICML 2017). logits [N, 5], target [N]."""
    log_temperature = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.LBFGS([log_temperature], lr=0.2, max_iter=100)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(logits / log_temperature.exp(), target)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return float(log_temperature.detach().exp())


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


def fit_threshold(known: Tensor, foreign: Tensor) -> float:
    """Return the confidence with the same margin to both goals. known, foreign: confidences [N] of the two kinds."""
    candidates = torch.linspace(0.01, 0.99, 491)
    rejected = (known[None] < candidates[:, None]).float().mean(dim=1)
    accepted = (foreign[None] >= candidates[:, None]).float().mean(dim=1)
    worst = torch.maximum(rejected / MAX_FALSE_REJECT_RATE, accepted / MAX_FALSE_ACCEPT_RATE)
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
