"""Which sentences make the best summary together? A small trained ranker, in numpy.

Three networks, each a few thousand numbers. The first says how likely a reference summary has a term, the second how
good a sentence is on its own; the third says of a set of sentences what ROUGE to expect of it (as in Zhong et al.,
"Extractive Summarization as Text Matching", ACL 2020, but from features instead of a language model). A beam search
over the best sentences ends where no further sentence is expected to help, so how much to say is learned too.
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

POOL: Final = 14  # sentences that sets are made of
BEAM: Final = 6
MOST: Final = 8  # sentences of a summary
REPEATED: Final = 0.75  # of the shorter sentence's terms, that the other has too
ABSTRACT: Final = 35  # terms of a reference: news abstracts, and the extracts of the other corpus
EXTRACT: Final = 150
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
    """The networks' tensors by name, and the facts about them."""

    tensors: dict[str, Floats]
    facts: dict[str, Any]


def read(path: Path) -> RankerWeights:
    """Reads a ranker's file. Raises OSError when there is no such file, KeyError when it explains nothing."""
    with safe_open(path, framework="numpy") as file:
        tensors = {name: file.get_tensor(name).astype(np.float32) for name in file.keys()}  # noqa: SIM118 - no mapping
    return RankerWeights(tensors, facts.read(path))


class Network:
    """Members of a few dense layers each, whose outputs are averaged; the inputs are normalised first."""

    def __init__(self, tensors: dict[str, Floats], name: str) -> None:
        self._mean, self._scale = tensors[f"{name}.mean"], tensors[f"{name}.scale"]
        count = sum(key.startswith(f"{name}.weight.") for key in tensors)
        self._layers = [(tensors[f"{name}.weight.{layer}"], tensors[f"{name}.bias.{layer}"]) for layer in range(count)]

    def __call__(self, features: Floats) -> Floats:
        """Features [N, F] -> one number each, [N]."""
        # A text unlike all of the training's must not drive a network far out of what it knows.
        hidden = np.clip((features - self._mean) * self._scale, -6, 6)[None]
        for index, (weight, bias) in enumerate(self._layers):
            hidden = hidden @ weight + bias[:, None]
            if index + 1 < len(self._layers):
                hidden = np.maximum(hidden, 0)
        averaged: Floats = hidden.mean(axis=0)[:, 0]
        return averaged


@dataclass(frozen=True)
class Scored:
    """A measured article with what the first two networks say of it."""

    measured: Measured
    expected: Floats  # [V], how likely a reference has the term
    scores: Floats  # [N]


@dataclass(frozen=True)
class Pool:
    """The K sentences that sets are made of, in document order."""

    scored: Scored
    rows: Integers  # [K], sentences
    has: Floats  # [K, terms of the pool], 1 where the sentence has the term
    expected: Floats  # [terms of the pool]

    def repeats(self, chosen: Bools) -> Bools:
        """Which sets, [S, K] -> [S], hold two sentences of which one says little but what the other says."""
        shared = self.has @ self.has.T
        shorter = np.minimum.outer(self.has.sum(axis=1), self.has.sum(axis=1))
        alike = np.triu(shared > REPEATED * np.maximum(1, shorter), k=1).astype(np.float32)
        member = chosen.astype(np.float32)
        return np.asarray(((member @ alike) * member).sum(axis=1) > 0)

    def features(self, chosen: Bools) -> Floats:
        """What the third network sees of sets, [S, K] -> [S, len(SET_FEATURES)]; no set is empty."""
        measured = self.scored.measured
        member = chosen.astype(np.float32)
        lengths = np.maximum(1, measured.lengths[self.rows])
        terms = member @ lengths
        count = member.sum(axis=1)
        met = np.minimum(1, member @ self.has)
        expected = met @ self.expected
        scores = self.scored.scores[self.rows]
        whole = np.ones(len(chosen), dtype=np.float32)
        total = float(measured.lengths.sum())
        columns = (
            count,
            np.log(terms),
            terms / ABSTRACT,
            terms / EXTRACT,
            terms / max(1.0, total),
            expected / 10,
            expected / terms,
            2 * expected / (terms + ABSTRACT),
            2 * expected / (terms + EXTRACT),
            expected / max(1e-3, float(self.scored.expected.sum())),
            met.sum(axis=1) / terms,
            np.where(chosen, scores, -np.inf).max(axis=1),
            member @ scores / count,
            np.where(chosen, scores, np.inf).min(axis=1),
            _neighbours(chosen, self.rows) / count,
            np.log1p(np.where(chosen, self.rows, np.iinfo(np.int64).max).min(axis=1)),
            np.log1p(np.where(chosen, self.rows, 0).max(axis=1)),
            whole * np.log(len(measured.lengths)),
            whole * np.log1p(total),
            whole * measured.titled,
            whole * measured.extract,
        )
        means = (member * lengths) @ measured.sentences[self.rows] / terms[:, None]
        return np.concatenate([means, np.stack(columns, axis=1)], axis=1).astype(np.float32)


def _neighbours(chosen: Bools, rows: Integers) -> Integers:
    """How many sentences of each set follow another of it in the text."""
    adjacent = np.diff(rows) == 1
    return np.asarray((chosen[:, 1:] & chosen[:, :-1] & adjacent).sum(axis=1), dtype=np.int64)


class Ranker:
    """Chooses sentences. Numbers that training wrote, so the same article gives the same choice."""

    def __init__(self, stored: RankerWeights) -> None:
        self._terms = Network(stored.tensors, "terms")
        self._sentences = Network(stored.tensors, "sentences")
        self._sets = Network(stored.tensors, "sets")

    def score(self, article: Article) -> Scored:
        """Measures and scores an article of one sentence or more."""
        return scored(measure(article), self._terms, self._sentences)

    def choose(self, scored: Scored, sizes: Sequence[int], limit: int) -> list[int]:
        """The sentences of the best set whose ``sizes`` (tokens of each sentence) sum to ``limit`` at most, in order.

        Empty where no sentence among the best is that short.
        """
        pool = pool_of(scored)
        room = np.asarray(sizes, dtype=np.int64)[pool.rows]
        beam: Bools = np.zeros((1, len(pool.rows)), dtype=np.bool_)
        best, best_value = beam[0], -np.inf
        for _ in range(min(MOST, len(pool.rows))):
            larger = grown(beam)
            larger = larger[(larger @ room <= limit) & ~pool.repeats(larger)]
            if not len(larger):
                break
            values = self._sets(pool.features(larger))
            order = np.argsort(-values, kind="stable")[:BEAM]
            beam = larger[order]
            if values[order[0]] <= best_value:
                break
            best, best_value = beam[0], float(values[order[0]])
        return [int(row) for row in pool.rows[best]]


def grown(beam: Bools) -> Bools:
    """Every set that has one sentence more than one of the beam, once each."""
    more = beam[:, None, :] | np.eye(beam.shape[1], dtype=np.bool_)
    larger = more[~beam]
    return np.unique(larger, axis=0)


def scored(measured: Measured, terms: Network, sentences: Network) -> Scored:
    """What the first two networks say of a measured article."""
    expected = probability(terms(measured.terms))
    return Scored(measured, expected, sentences(with_expected(measured, expected)))


def probability(logits: Floats) -> Floats:
    """The logistic function."""
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -30, 30))), dtype=np.float32)


def with_expected(measured: Measured, expected: Floats) -> Floats:
    """What the second network sees of each sentence: its features, and what the first says of its terms."""
    rows = len(measured.lengths)
    values = expected[measured.pair_term]
    total = np.bincount(measured.pair_sentence, values, rows)
    pairs = np.maximum(1, np.bincount(measured.pair_sentence, minlength=rows))
    briefly = 2 * total / (measured.lengths + ABSTRACT)
    share = total / max(1e-3, float(expected.sum()))
    return np.column_stack([measured.sentences, total / pairs, briefly, share]).astype(np.float32)


def pool_of(scored: Scored) -> Pool:
    """The best sentences on their own, the first two always among them."""
    wanted = np.argsort(-scored.scores, kind="stable")[:POOL]
    rows = np.union1d(wanted, np.arange(min(2, len(scored.scores))))
    measured = scored.measured
    inside = np.isin(measured.pair_sentence, rows)
    at = np.searchsorted(rows, measured.pair_sentence[inside])
    terms, columns = np.unique(measured.pair_term[inside], return_inverse=True)
    has = np.zeros((len(rows), len(terms)), dtype=np.float32)
    has[at, columns] = 1
    return Pool(scored, rows.astype(np.int64), has, scored.expected[terms])
