"""Turns logits into probabilities that mean what they say, and picks the threshold below which a scene is refused."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

BINS = 15
FOREIGN_ACCEPTED, OWN_REJECTED = 0.15, 0.05
"""Goals: share of foreign scenes that may be accepted, and share of scenes of the four that may be rejected."""


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


def fit_logistic(logits: Tensor, right: Tensor) -> tuple[float, float]:
    """Slope and offset of the logits under which they are likeliest. logits and right: any one shape.

    Targets are a little less than sure, as in Platt (1999): else what can be told apart has no best slope.
    """
    hits, misses = float(right.sum()), float((~right).sum())
    target = torch.where(right, (hits + 1) / (hits + 2), 1 / (misses + 2))
    numbers = torch.tensor([1.0, 0.0], requires_grad=True)
    optimizer = torch.optim.LBFGS([numbers], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.binary_cross_entropy_with_logits(numbers[0] * logits + numbers[1], target)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    slope, offset = numbers.detach().tolist()
    return slope, offset


def fit_threshold(own: Tensor, foreign: Tensor) -> float:
    """Return the confidence with the same margin to both goals. own, foreign: confidences [N] of the two kinds."""
    candidates = torch.linspace(0.01, 0.99, 491)
    rejected = (own[None] < candidates[:, None]).float().mean(dim=1)
    accepted = (foreign[None] >= candidates[:, None]).float().mean(dim=1)
    worst = torch.maximum(rejected / OWN_REJECTED, accepted / FOREIGN_ACCEPTED)
    return float(candidates[worst.argmin()])


@dataclass(frozen=True)
class Reliability:
    """The accuracy by confidence: one entry per bin that holds a picture."""

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
    """Bins confidences [N] of equal width and compares each bin's mean with how often ``right`` [N] holds."""
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
