"""What is made of a network's last layer, in float32: in half precision its rounding alone would move the result."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]


def softmax(logits: Rows) -> Rows:
    """Probabilities of each row: [N, K] -> [N, K], each row's sum 1."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    rows: Rows = powers / powers.sum(axis=1, keepdims=True)
    return rows


def unit(vectors: Rows) -> Rows:
    """Each row with an L2 norm of 1: [N, K] -> [N, K]; a row of zeros stays one."""
    rows: Rows = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return rows
