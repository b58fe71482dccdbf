"""A model from BentoML's model store: which language is a text in?"""

from __future__ import annotations

import zlib
from pathlib import Path

import bentoml
import numpy as np


def trigrams(text: str, buckets: int) -> np.ndarray:
    """Return the numbers of the buckets that the text's runs of three characters fall into."""
    padded = f"  {' '.join(text.lower().split())} "
    return np.array([zlib.crc32(padded[at : at + 3].encode()) % buckets for at in range(len(padded) - 2)])


@bentoml.service
class Languages:
    """Guesses languages by naive Bayes over runs of three characters."""

    weights = bentoml.models.BentoModel("languages:latest")

    def __init__(self) -> None:
        with np.load(Path(self.weights.path_of("weights.npz")), allow_pickle=False) as weights:
            self.languages: list[str] = weights["languages"].tolist()
            self.log_likelihoods = weights["log_likelihoods"]

    @bentoml.api
    def guess(self, text: str) -> dict[str, float]:
        """Return the probability of each language, the most probable first."""
        seen = trigrams(text, self.log_likelihoods.shape[1])
        scores = self.log_likelihoods[:, seen].sum(axis=1)
        chances = np.exp(scores - scores.max())
        chances /= chances.sum()
        ranked = np.argsort(-chances)
        return {self.languages[index]: round(float(chances[index]), 4) for index in ranked}
