"""Which sentences make the best summary together? A small trained ranker, in numpy.

Three networks, each with a few thousand weights. The first estimates the probability that a reference summary contains
a term, the second how good a sentence is on its own, the third the ROUGE of a set of sentences (as in Zhong et al.,
"Extractive Summarization as Text Matching", ACL 2020, but from features instead of a language model). A beam search
over the best sentences ends where no further sentence is expected to help, so the length of a summary is learned too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

from runners.models import facts
from runners.models.summarizers.ranker_features import SENTENCE_FEATURES, Article, Floats, Integers, Measured, measure

POOL_SIZE: Final = 14
"""Best sentences of which the sets are formed."""
BEAM_WIDTH: Final = 6
"""Sets that each step of the beam search keeps."""
MAX_SENTENCES: Final = 8
"""Sentences of the longest summary."""
MAX_OVERLAP: Final = 0.75
"""Share of the shorter sentence's terms from which another sentence repeats it."""
ABSTRACT_TERMS: Final = 35
"""Typical terms of a reference in the corpora with abstracts."""
EXTRACT_TERMS: Final = 150
"""Typical terms of a reference in the corpus with extracts."""
SET_FEATURES: Final = (
    *(f"mean {name}" for name in SENTENCE_FEATURES),
    "sentences",
    "log terms",
    "terms of an abstract",
    "terms of an extract",
    "share of the text",
    "expected terms",
    "expected precision",
    "expected F1 of an abstract",
    "expected F1 of an extract",
    "share of all expected terms",
    "different terms",
    "best score",
    "mean score",
    "worst score",
    "neighbours",
    "earliest",
    "latest",
    "log sentences of the text",
    "log terms of the text",
    "there is a title",
    "extract",
)

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class RankerWeights:
    """The networks' tensors by name, and the file's metadata."""

    tensors: dict[str, Floats]
    facts: dict[str, Any]


def read(path: Path) -> RankerWeights:
    """Read a ranker's safetensors file. Raises OSError if there is no file, KeyError if it has no metadata."""
    with safe_open(path, framework="numpy") as file:
        tensors = {name: file.get_tensor(name).astype(np.float32) for name in file.keys()}  # noqa: SIM118 - no mapping
    return RankerWeights(tensors, facts.read(path))


class Network:
    """An ensemble of small multilayer perceptrons, whose outputs are averaged; the inputs are normalised first."""

    def __init__(self, tensors: dict[str, Floats], name: str) -> None:
        self._mean, self._scale = tensors[f"{name}.mean"], tensors[f"{name}.scale"]
        count = sum(key.startswith(f"{name}.weight.") for key in tensors)
        self._layers = [(tensors[f"{name}.weight.{layer}"], tensors[f"{name}.bias.{layer}"]) for layer in range(count)]

    def __call__(self, features: Floats) -> Floats:
        """Features [N, F] -> outputs [N]."""
        # Clipping keeps the features of an unusual text near the range of the training data.
        hidden = np.clip((features - self._mean) * self._scale, -6, 6)[None]
        for index, (weight, bias) in enumerate(self._layers):
            hidden = hidden @ weight + bias[:, None]
            if index + 1 < len(self._layers):
                hidden = np.maximum(hidden, 0)
        averaged: Floats = hidden.mean(axis=0)[:, 0]
        return averaged


@dataclass(frozen=True)
class Scored:
    """A measured article with the outputs of the first two networks."""

    measured: Measured
    expected: Floats  # [V], the probability that a reference has the term
    scores: Floats  # [N], of the sentences


@dataclass(frozen=True)
class Pool:
    """The K sentences of which sets are formed, in document order."""

    scored: Scored
    rows: Integers  # [K], indices of the sentences
    has: Floats  # [K, terms of the pool], 1 if the sentence has the term
    expected: Floats  # [terms of the pool]

    def repeats(self, chosen: Bools) -> Bools:
        """Return whether each set repeats itself, [S, K] -> [S]: most terms of a sentence are also in another."""
        shared = self.has @ self.has.T
        shorter = np.minimum.outer(self.has.sum(axis=1), self.has.sum(axis=1))
        alike = np.triu(shared > MAX_OVERLAP * np.maximum(1, shorter), k=1).astype(np.float32)
        member = chosen.astype(np.float32)
        return np.asarray(((member @ alike) * member).sum(axis=1) > 0)

    def features(self, chosen: Bools) -> Floats:
        """Return the third network's input for sets that are not empty, [S, K] -> [S, len(SET_FEATURES)]."""
        measured = self.scored.measured
        member = chosen.astype(np.float32)
        lengths = np.maximum(1, measured.lengths[self.rows])
        terms = member @ lengths
        count = member.sum(axis=1)
        covered = np.minimum(1, member @ self.has)
        expected = covered @ self.expected
        scores = self.scored.scores[self.rows]
        ones = np.ones(len(chosen), dtype=np.float32)
        total = float(measured.lengths.sum())
        columns = (
            count,
            np.log(terms),
            terms / ABSTRACT_TERMS,
            terms / EXTRACT_TERMS,
            terms / max(1.0, total),
            expected / 10,
            expected / terms,
            2 * expected / (terms + ABSTRACT_TERMS),
            2 * expected / (terms + EXTRACT_TERMS),
            expected / max(1e-3, float(self.scored.expected.sum())),
            covered.sum(axis=1) / terms,
            np.where(chosen, scores, -np.inf).max(axis=1),
            member @ scores / count,
            np.where(chosen, scores, np.inf).min(axis=1),
            _neighbours(chosen, self.rows) / count,
            np.log1p(np.where(chosen, self.rows, np.iinfo(np.int64).max).min(axis=1)),
            np.log1p(np.where(chosen, self.rows, 0).max(axis=1)),
            ones * np.log(len(measured.lengths)),
            ones * np.log1p(total),
            ones * measured.titled,
            ones * measured.extract,
        )
        means = (member * lengths) @ measured.sentences[self.rows] / terms[:, None]
        return np.concatenate([means, np.stack(columns, axis=1)], axis=1).astype(np.float32)


def _neighbours(chosen: Bools, rows: Integers) -> Integers:
    """Return the number of sentences in each set that directly follow another of the set, [S, K] -> [S]."""
    adjacent = np.diff(rows) == 1
    return np.asarray((chosen[:, 1:] & chosen[:, :-1] & adjacent).sum(axis=1), dtype=np.int64)


class Ranker:
    """Chooses the sentences of a summary; the same article always gives the same choice."""

    def __init__(self, stored: RankerWeights) -> None:
        self._terms = Network(stored.tensors, "terms")
        self._sentences = Network(stored.tensors, "sentences")
        self._sets = Network(stored.tensors, "sets")

    def score(self, article: Article) -> Scored:
        """Measure and score an article of at least one sentence."""
        return scored(measure(article), self._terms, self._sentences)

    def choose(self, scored: Scored, sizes: Sequence[int], limit: int) -> list[int]:
        """Return the indices of the best set of sentences whose ``sizes`` sum to at most ``limit``, both in tokens.

        They are in document order; empty if every sentence of the pool is longer than the limit.
        """
        pool = pool_of(scored)
        pool_sizes = np.asarray(sizes, dtype=np.int64)[pool.rows]
        beam: Bools = np.zeros((1, len(pool.rows)), dtype=np.bool_)
        best, best_value = beam[0], -np.inf
        for _ in range(min(MAX_SENTENCES, len(pool.rows))):
            larger = grown(beam)
            larger = larger[(larger @ pool_sizes <= limit) & ~pool.repeats(larger)]
            if not len(larger):
                break
            values = self._sets(pool.features(larger))
            order = np.argsort(-values, kind="stable")[:BEAM_WIDTH]
            beam = larger[order]
            if values[order[0]] <= best_value:
                break
            best, best_value = beam[0], float(values[order[0]])
        return [int(row) for row in pool.rows[best]]


def grown(beam: Bools) -> Bools:
    """Return all sets with one sentence more than a set of the beam, without duplicates: [B, K] -> [S, K]."""
    more = beam[:, None, :] | np.eye(beam.shape[1], dtype=np.bool_)
    larger = more[~beam]
    return np.unique(larger, axis=0)


def scored(measured: Measured, terms: Network, sentences: Network) -> Scored:
    """Apply the first two networks to a measured article."""
    expected = probability(terms(measured.terms))
    return Scored(measured, expected, sentences(with_expected(measured, expected)))


def probability(logits: Floats) -> Floats:
    """Return the logistic function of each number."""
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -30, 30))), dtype=np.float32)


def with_expected(measured: Measured, expected: Floats) -> Floats:
    """Return the second network's input: each sentence's features, and those from ``expected`` [V] of its terms."""
    rows = len(measured.lengths)
    values = expected[measured.pair_term]
    total = np.bincount(measured.pair_sentence, values, rows)
    pairs = np.maximum(1, np.bincount(measured.pair_sentence, minlength=rows))
    expected_f1 = 2 * total / (measured.lengths + ABSTRACT_TERMS)
    share = total / max(1e-3, float(expected.sum()))
    return np.column_stack([measured.sentences, total / pairs, expected_f1, share]).astype(np.float32)


def pool_of(scored: Scored) -> Pool:
    """Return the sentences that are best on their own, and always the first two."""
    best = np.argsort(-scored.scores, kind="stable")[:POOL_SIZE]
    rows = np.union1d(best, np.arange(min(2, len(scored.scores))))
    measured = scored.measured
    inside = np.isin(measured.pair_sentence, rows)
    pool_rows = np.searchsorted(rows, measured.pair_sentence[inside])
    terms, columns = np.unique(measured.pair_term[inside], return_inverse=True)
    has = np.zeros((len(rows), len(terms)), dtype=np.float32)
    has[pool_rows, columns] = 1
    return Pool(scored, rows.astype(np.int64), has, scored.expected[terms])
