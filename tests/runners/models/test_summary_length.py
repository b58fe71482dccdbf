"""How long summaries are at least: by the text and by the limit, and what is added to news."""

from __future__ import annotations

import itertools
import random

import pytest

from runners.models.summarizers import length, ranker
from runners.models.summarizers.base import Task
from runners.models.summarizers.extractive import Extractive, article_of
from runners.models.summarizers.length import extended, least_tokens
from runners.models.text.tokens import tokens
from tests.runners.models.test_extractive import ENGLISH, WEIGHTS

LIMITS = [1, 40, 128, 129, 200, 400, 1000, 4096]
TEXTS = [0, 50, 600, 2000, 2001, 5000, 20_000, 200_000]
TOPICS = ["harbour", "school", "bridge", "library", "hospital", "museum", "stadium", "airport", "forest", "river"]


@pytest.fixture(scope="module")
def engine() -> Extractive:
    return Extractive(ranker.read(WEIGHTS), "summarization")


def report(sections: int) -> str:
    """A text with a subject for each section, and as many different sentences in each."""
    draw, parts = random.Random(0), []
    for section in range(sections):
        topic, words = TOPICS[section % len(TOPICS)], [f"word{draw.randrange(4000)}" for _ in range(140)]
        said = [" ".join(words[start : start + 14]) for start in range(0, 140, 14)]
        parts.append(" ".join(f"The {topic} {section} has {sentence}." for sentence in said))
    return "\n\n".join(parts)


def summary(engine: Extractive, text: str, limit: int) -> str:
    (said,) = engine.summarize([Task(text, limit, 0.0, "en")])
    assert isinstance(said, str)
    return said


def test_the_least_length_grows_with_the_limit_and_with_the_text_and_is_within_the_limit() -> None:
    rows = [[least_tokens(text, limit) for limit in LIMITS] for text in TEXTS]
    assert all(row == sorted(row) for row in rows)
    assert all(list(column) == sorted(column) for column in zip(*rows, strict=True))
    assert all(least <= limit for row in rows for least, limit in zip(row, LIMITS, strict=True))


@pytest.mark.parametrize("text", [300, 1000, 2000])
def test_news_within_the_usual_limit_keep_the_length_that_was_learned(text: int) -> None:
    assert least_tokens(text, 128) == 0


def test_a_long_text_gets_a_longer_summary_where_more_is_allowed(engine: Extractive) -> None:
    text = report(20)
    sizes = [tokens(summary(engine, text, limit)) for limit in (128, 200, 400, 1000)]
    assert sizes == sorted(sizes)
    assert 250 < sizes[2] <= 400 < sizes[3]


def test_a_report_fills_the_usual_limit(engine: Extractive) -> None:
    assert 0.8 * 128 < tokens(summary(engine, report(60), 128)) <= 128


def test_a_short_article_has_the_same_summary_whatever_is_allowed_beyond_it(engine: Extractive) -> None:
    assert summary(engine, ENGLISH, 128) == summary(engine, ENGLISH, 4096)


def test_what_is_added_is_new_fits_and_stands_in_the_order_of_the_text(engine: Extractive) -> None:
    article = article_of(Task(report(8) + "\n\n" + report(8), 400, 0.0, "en"))
    sizes = [tokens(sentence) for sentence in article.sentences]
    scored = engine._ranker.score(article)
    for least, limit in itertools.product((0, 60, 200, 10_000), (60, 200, 500)):
        rows = extended(scored, sizes, [3, 1], least, limit)
        assert rows == sorted(set(rows))
        assert {1, 3} <= set(rows)
        assert sum(sizes[row] for row in rows) <= max(limit, sizes[1] + sizes[3])
    assert extended(scored, sizes, [3, 1], 0, 500) == [1, 3]


def test_what_a_text_repeats_is_in_its_summary_once(engine: Extractive) -> None:
    article = article_of(Task(" ".join(f"The harbour is open on day {day}." for day in range(300)), 400, 0.0, "en"))
    sizes = [tokens(sentence) for sentence in article.sentences]
    assert extended(engine._ranker.score(article), sizes, [0], 400, 400) == [0]


def test_as_many_candidates_are_compared_as_a_long_text_needs(
    engine: Extractive, monkeypatch: pytest.MonkeyPatch
) -> None:
    article = article_of(Task(report(30), 400, 0.0, "en"))
    sizes = [tokens(sentence) for sentence in article.sentences]
    monkeypatch.setattr(length, "CANDIDATES", 3)
    assert len(extended(engine._ranker.score(article), sizes, [0, 1], 10_000, 10_000)) == 5
