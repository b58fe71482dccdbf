"""Features of the terms and sentences of a text in any language, computed without a model.

A term is a lower-cased word, or a character of a script without spaces. Cost and memory are linear in the text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from runners.models.text.tokens import CJK

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

TERM_FEATURES: Final = (
    "log occurrences",
    "occurrences per sentence",
    "log sentences with it",
    "share of sentences with it",
    "nearness of its first sentence",
    "relative place of its first sentence",
    "letters",
    "is a number",
    "capitals inside sentences",
    "in the first sentence",
    "in the second sentence",
    "in the third sentence",
    "in the title",
    "log sentences of the text",
    "there is a title",
    "extract",
)
SENTENCE_FEATURES: Final = (
    "nearness to the beginning",
    "log place",
    "relative place",
    "first",
    "second",
    "third",
    "last",
    "first of a paragraph",
    "log terms",
    "terms",
    "terms against the longest",
    "cosine with the text",
    "cosine with the beginning",
    "cosine with the sentence before",
    "terms of the title in it",
    "title's terms that it has",
    "terms met before it",
    "numbers",
    "capitals",
    "quotation marks",
    "begins with a quotation mark",
    "question or exclamation",
    "commas",
    "mean length of words",
    "without a full stop",
    "short words",
)

_TERM = re.compile(rf"[{CJK}]|[^\W{CJK}]+")
_QUOTATION_MARK = re.compile(r"[\"“”„«»‹›「」『』]")


@dataclass(frozen=True)
class Article:
    """A text prepared for ranking: its sentences in order, whether each begins a paragraph, and a title or "".

    ``extract`` selects the kind of the training corpora's references: a long extract or a brief abstract.
    """

    sentences: list[str]
    openings: list[bool]
    title: str
    extract: bool


@dataclass(frozen=True)
class Measured:
    """An article's features: N sentences, V different terms, P different pairs of both, sorted by sentence."""

    terms: Floats  # [V, len(TERM_FEATURES)]
    sentences: Floats  # [N, len(SENTENCE_FEATURES)]
    lengths: Floats  # [N], terms of each sentence
    pair_sentence: Integers  # [P], index of the sentence
    pair_term: Integers  # [P], index of the term
    vocabulary: dict[str, int]
    extract: bool
    titled: bool


def terms_of(text: str) -> list[str]:
    """Return the terms of a text in order, as written."""
    return _TERM.findall(text)


def measure(article: Article) -> Measured:
    """Return the features of an article of at least one sentence."""
    words = [terms_of(sentence) for sentence in article.sentences]
    vocabulary: dict[str, int] = {}
    flat = [word for sentence in words for word in sentence]
    terms = np.array([vocabulary.setdefault(word.lower(), len(vocabulary)) for word in flat], dtype=np.int64)
    lengths = np.array([len(sentence) for sentence in words], dtype=np.int64)
    place = np.repeat(np.arange(len(words)), lengths)
    size = max(1, len(vocabulary))
    codes, counts = np.unique(place * size + terms, return_counts=True)
    grid = _Grid(codes // size, codes % size, counts.astype(np.float32), len(words), len(vocabulary))
    title = np.array([vocabulary[term] for term in {t.lower() for t in terms_of(article.title)} if term in vocabulary])
    title_terms = title.astype(np.int64)
    capitals = _capitals(words)
    numbers = np.array([word[0].isdigit() for word in flat], dtype=np.float32)
    letters = np.array([len(word) for word in flat], dtype=np.float32)
    columns = _Columns(terms, place, capitals, numbers, letters)
    return Measured(
        terms=_terms(article, grid, columns, title_terms),
        sentences=_sentences(article, grid, columns, title_terms),
        lengths=lengths.astype(np.float32),
        pair_sentence=grid.sentence,
        pair_term=grid.term,
        vocabulary=vocabulary,
        extract=article.extract,
        titled=bool(article.title),
    )


@dataclass(frozen=True)
class _Grid:
    """A sparse matrix of ``rows`` sentences and ``columns`` terms: the occurrences of each term in each sentence."""

    sentence: Integers
    term: Integers
    count: Floats
    rows: int
    columns: int

    def by_sentence(self, values: Floats) -> Floats:
        """Return the sum of each sentence's values, [pairs] -> [rows]."""
        return np.bincount(self.sentence, values, self.rows).astype(np.float32)

    def by_term(self, values: Floats) -> Floats:
        """Return the sum of each term's values, [pairs] -> [columns]."""
        return np.bincount(self.term, values, self.columns).astype(np.float32)


@dataclass(frozen=True)
class _Columns:
    """All words of the text in order: term, sentence, and whether it has a capital, is a number, and its length."""

    term: Integers
    sentence: Integers
    capital: Floats
    number: Floats
    letters: Floats

    def mean_of_terms(self, values: Floats, count: int) -> Floats:
        """Return the mean of each term's values, [words] -> [count]."""
        return _mean(np.bincount(self.term, values, count), np.bincount(self.term, minlength=count))

    def mean_of_sentences(self, values: Floats, count: int) -> Floats:
        """Return the mean of each sentence's values, [words] -> [count]."""
        return _mean(np.bincount(self.sentence, values, count), np.bincount(self.sentence, minlength=count))


def _mean(sums: NDArray[Any], counts: NDArray[np.int64]) -> Floats:
    return (sums / np.maximum(1, counts)).astype(np.float32)


def _capitals(words: list[list[str]]) -> Floats:
    """Return 1 for each word that begins with a capital, except at the beginning of a sentence."""
    marks = [index > 0 and word[0].isupper() for sentence in words for index, word in enumerate(sentence)]
    return np.array(marks, dtype=np.float32)


def _terms(article: Article, grid: _Grid, words: _Columns, title: Integers) -> Floats:
    occurrences = grid.by_term(grid.count)
    spread = grid.by_term(np.ones_like(grid.count))
    first = np.full(grid.columns, grid.rows, dtype=np.int64)
    np.minimum.at(first, grid.term, grid.sentence)
    present = np.zeros((3, grid.columns), dtype=np.float32)
    for row in range(3):
        present[row, grid.term[grid.sentence == row]] = 1
    in_title = np.zeros(grid.columns, dtype=np.float32)
    in_title[title] = 1
    ones = np.ones(grid.columns, dtype=np.float32)
    columns = (
        np.log1p(occurrences),
        occurrences / grid.rows,
        np.log1p(spread),
        spread / grid.rows,
        1 / (1 + first),
        first / grid.rows,
        np.minimum(words.mean_of_terms(words.letters, grid.columns), 15) / 10,
        words.mean_of_terms(words.number, grid.columns),
        words.mean_of_terms(words.capital, grid.columns),
        *present,
        in_title,
        ones * np.log(grid.rows),
        ones * bool(article.title),
        ones * article.extract,
    )
    return np.stack(columns, axis=1).astype(np.float32)


def _sentences(article: Article, grid: _Grid, words: _Columns, title: Integers) -> Floats:
    rows = grid.rows
    place = np.arange(rows)
    lengths = grid.by_sentence(grid.count)
    in_title = np.zeros(grid.columns, dtype=np.float32)
    in_title[title] = 1
    shared = grid.by_sentence(in_title[grid.term])
    first = np.full(grid.columns, rows, dtype=np.int64)
    np.minimum.at(first, grid.term, grid.sentence)
    distinct = np.maximum(1, grid.by_sentence(np.ones_like(grid.count)))
    columns = (
        1 / (1 + place),
        np.log1p(place),
        place / rows,
        place == 0,
        place == 1,
        place == 2,
        place == rows - 1,
        np.array(article.openings, dtype=np.float32),
        np.log1p(lengths),
        np.minimum(lengths, 80) / 40,
        lengths / max(1.0, float(lengths.max())),
        *_cosines(grid),
        shared / np.maximum(1, lengths),
        shared / max(1, len(title)),
        grid.by_sentence((first[grid.term] < grid.sentence).astype(np.float32)) / distinct,
        words.mean_of_sentences(words.number, rows),
        words.mean_of_sentences(words.capital, rows),
        *_marks(article.sentences),
        words.mean_of_sentences(words.letters, rows) / 10,
        [sentence[-1:] not in '.!?。！？…"”»' for sentence in article.sentences],
        words.mean_of_sentences((words.letters <= 2).astype(np.float32), rows),
    )
    return np.stack([np.asarray(column, dtype=np.float32) for column in columns], axis=1)


def _cosines(grid: _Grid) -> tuple[Floats, Floats, Floats]:
    """Return the cosines of each sentence with the text, the first and the previous sentence, over tf·isf vectors.

    The first is the centroid's measure of centrality (Radev et al., "Centroid-based summarization of multiple
    documents", 2004), which needs no matrix of all pairs, unlike LexRank.
    """
    spread = grid.by_term(np.ones_like(grid.count))
    weight = (np.log1p(grid.count) * np.log(1 + grid.rows / np.maximum(1, spread))[grid.term]).astype(np.float32)
    norm = np.sqrt(grid.by_sentence(weight**2))
    centre = grid.by_term(weight)
    beginning = np.zeros(grid.columns, dtype=np.float32)
    in_first = grid.sentence == 0
    beginning[grid.term[in_first]] = weight[in_first]
    return (
        _cosine(grid.by_sentence(weight * centre[grid.term]), norm, float(np.linalg.norm(centre))),
        _cosine(grid.by_sentence(weight * beginning[grid.term]), norm, float(norm[0])),
        _with_previous(grid, weight, norm),
    )


def _cosine(products: Floats, norms: Floats, norm: float) -> Floats:
    return np.asarray(products / np.maximum(1e-6, norms * norm), dtype=np.float32)


def _with_previous(grid: _Grid, weight: Floats, norm: Floats) -> Floats:
    keys = grid.sentence * max(1, grid.columns) + grid.term  # sorted, because np.unique sorts
    previous_keys = keys - max(1, grid.columns)
    rows = np.minimum(np.searchsorted(keys, previous_keys), max(0, len(keys) - 1))
    previous_weight = np.where(keys[rows] == previous_keys, weight[rows], 0).astype(np.float32)
    previous_norm = np.concatenate([np.zeros(1, dtype=np.float32), norm[:-1]])
    products = grid.by_sentence(weight * previous_weight)
    return np.asarray(products / np.maximum(1e-6, norm * previous_norm), dtype=np.float32)


def _marks(sentences: list[str]) -> tuple[list[float], ...]:
    quotes = [min(4, len(_QUOTATION_MARK.findall(sentence))) / 2 for sentence in sentences]
    opens = [float(bool(_QUOTATION_MARK.match(sentence))) for sentence in sentences]
    exclaims = [float("?" in sentence or "!" in sentence or "？" in sentence) for sentence in sentences]
    commas = [min(6, sentence.count(",") + sentence.count("，")) / 3 for sentence in sentences]
    return quotes, opens, exclaims, commas
