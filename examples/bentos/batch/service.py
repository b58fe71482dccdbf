"""A batchable API: BentoML gathers the texts of several callers, and calls once for all of them."""

from __future__ import annotations

import zlib

import bentoml
import numpy as np
from numpy.typing import NDArray

DIMENSIONS = 64


@bentoml.service(traffic={"timeout": 30})
class Embedder:
    """Turns texts into vectors by hashing their words."""

    def __init__(self) -> None:
        self.calls = 0
        self.texts = 0

    @bentoml.api(batchable=True, max_batch_size=32, max_latency_ms=2000)
    def embed(self, texts: list[str]) -> NDArray[np.float32]:
        """Return a vector of length 1 for each text; texts with the same words have the same."""
        self.calls += 1
        self.texts += len(texts)
        vectors = np.zeros((len(texts), DIMENSIONS), np.float32)
        for vector, text in zip(vectors, texts, strict=True):
            for word in text.lower().split():
                digest = zlib.crc32(word.encode())
                vector[digest % DIMENSIONS] += 1 if digest >> 31 else -1
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / np.where(norms == 0, 1, norms)

    @bentoml.api
    def batches(self) -> dict[str, int]:
        """Return how many texts this replica embedded, in how many calls."""
        return {"texts": self.texts, "calls": self.calls}
