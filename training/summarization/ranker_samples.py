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

MAX_LENGTH = 128
"""Tokens of a summary."""
ROUGE_WEIGHTS = (0.2, 0.4, 0.4)
"""Weights of ROUGE-1, -2 and -L in the target. ROUGE-1 has the largest values, and rewards length."""


@dataclass(frozen=True)
class RankerSample:
    """An example with its features and its reference."""

    example: Example
    article: Article
    measured: Measured
    reference: Reference
    sentence_words: list[list[str]]
    """The words of each sentence."""

    def f1(self, rows: list[int]) -> float:
        """Return the weighted ROUGE F1 of an extract, the sentences ``rows``."""
        score = self.reference.rouge([word for row in rows for word in self.sentence_words[row]])
        return float(np.dot(ROUGE_WEIGHTS, (score.rouge1, score.rouge2, score.rouge_l)))


def samples_of(examples: list[Example], config: RankerConfig) -> list[RankerSample]:
    """Compute the examples' features. French examples with a long abstract are added a second time, as extracts.

    In the second copies, paragraphs begin at random sentences, so that paragraphs do not reveal the corpus.
    """
    samples = []
    for example in tqdm(examples, desc="read", unit="article", mininterval=2):
        article = _article(example, config)
        samples.append(_sample(example, article))
        if not article.extract and len(samples[-1].reference.words) >= config.long:
            again = _article(example, config)
            openings = [index == 0 or random.random() < 0.5 for index in range(len(again.sentences))]
            samples.append(_sample(example, replace(again, extract=True, openings=openings)))
    return samples


def _article(example: Example, config: RankerConfig) -> Article:
    title = example.title if random.random() < config.titled else None
    text = example.text.lower() if random.random() < config.lower_cased else example.text
    return article_of(Task(text, MAX_LENGTH, 0, example.language, title))


def _sample(example: Example, article: Article) -> RankerSample:
    sentence_words = [words(sentence) for sentence in article.sentences]
    return RankerSample(example, article, measure(article), Reference(example.summary), sentence_words)
