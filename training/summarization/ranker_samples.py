"""The ranker's training data: articles with their features, and the ROUGE of extracts from them."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import numpy as np
from tqdm import tqdm

from runners.models.summarizers.base import Task
from runners.models.summarizers.extractive import article_of
from runners.models.summarizers.ranker_features import Article, Measured, measure
from training.summarization.data import Example
from training.summarization.ranker_networks import RankerConfig
from training.summarization.rouge import Reference, words

LIMIT = 128  # tokens of a summary
SHARES = (0.2, 0.4, 0.4)  # of ROUGE-1, -2 and -L in what is learned: the first alone is the largest and asks for length


@dataclass(frozen=True)
class Lesson:
    """An example, read and measured."""

    example: Example
    article: Article
    measured: Measured
    reference: Reference
    said: list[list[str]]  # the words of each sentence

    def f1(self, rows: list[int]) -> float:
        """ROUGE F1 of some sentences, each kind with its share."""
        found = self.reference.rouge([word for row in rows for word in self.said[row]])
        return float(np.dot(SHARES, (found.one, found.two, found.longest)))


def lessons_of(examples: list[Example], config: RankerConfig) -> list[Lesson]:
    """Reads the examples. French ones with a long abstract come a second time, for the habit of the other languages.

    What the English references are, a program chose: alone they would teach its taste. In those second copies
    paragraphs begin anywhere, lest they tell one corpus from the other.
    """
    lessons = []
    for example in tqdm(examples, desc="read", unit="article", mininterval=2):
        article = _article(example, config)
        lessons.append(_lesson(example, article))
        if not article.extract and len(lessons[-1].reference.words) >= config.long:
            again = _article(example, config)
            openings = [place == 0 or random.random() < 0.5 for place in range(len(again.sentences))]
            lessons.append(_lesson(example, replace(again, extract=True, openings=openings)))
    return lessons


def _article(example: Example, config: RankerConfig) -> Article:
    title = example.title if random.random() < config.titled else None
    return article_of(Task(example.text, LIMIT, 0, example.language, title))


def _lesson(example: Example, article: Article) -> Lesson:
    said = [words(sentence) for sentence in article.sentences]
    return Lesson(example, article, measure(article), Reference(example.summary), said)
