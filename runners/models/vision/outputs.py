"""Functions of a network's last layer, in float32: rounding in half precision would change the results."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]


def softmax(logits: Rows) -> Rows:
    """Return the softmax of each row: logits [N, K] -> probabilities [N, K]."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    rows: Rows = powers / powers.sum(axis=1, keepdims=True)
    return rows


def l2_normalized(vectors: Rows) -> Rows:
    """Return each row scaled to an L2 norm of 1, [N, K] -> [N, K]; a row of zeros stays zero."""
    rows: Rows = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return rows
