"""The extractive summarizer's figures on held-out articles: python -m training.summarization.measures --data DIR.

Reads the shipped weights (or ``--weights``) and runs them through the engine that serves, beside two baselines: the
first sentences, and LexRank. Writes ``summarization-figures.json`` and ``summarization-rouge.png`` to ``--out``.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import numpy as np
from matplotlib import pyplot as plt
from sklearn.feature_extraction.text import TfidfVectorizer
from tqdm import tqdm

from runners.models.summarizers import ranker
from runners.models.summarizers.base import Task
from runners.models.summarizers.extractive import Extractive, article_of
from runners.models.summarizers.ranker_features import Article
from training.summarization import data as summary_data
from training.summarization.data import Example
from training.summarization.rouge import Rouge, rouge

MAX_LENGTH = 128
"""Tokens of a summary, the service's default."""
LONG_LENGTH = 400
"""Tokens of a summary of several articles in one."""
JOINED = 4
"""Articles that are joined to a long one."""
SIMILARITY_THRESHOLD = 0.1
"""Cosine from which LexRank connects two sentences."""
DAMPING = 0.85
MEGABYTE = 1_000_000
NAMES = ("ROUGE-1", "ROUGE-2", "ROUGE-L")

Figures = dict[str, float]


def mean_scores(summaries: Sequence[str], examples: Sequence[Example]) -> Figures:
    """Mean ROUGE F1 in per cent, and the mean number of words."""
    scores: list[Rouge] = [rouge(text, example.summary) for text, example in zip(summaries, examples, strict=True)]
    values = np.array([(score.rouge1, score.rouge2, score.rouge_l) for score in scores]).mean(axis=0) * 100
    words = float(np.mean([len(text.split()) for text in summaries]))
    return {name: round(float(value), 2) for name, value in zip(NAMES, values, strict=True)} | {
        "words": round(words, 1)
    }


def lead(article: Article, count: int) -> str:
    """Return the first sentences."""
    return " ".join(article.sentences[:count])


def lexrank(article: Article, count: int) -> str:
    """Return the most central sentences (Erkan and Radev, "LexRank", JAIR 2004), in order."""
    vectorizer = TfidfVectorizer(token_pattern=r"\w+")  # noqa: S106 - no password
    vectors = vectorizer.fit_transform(article.sentences)
    connected = ((vectors @ vectors.T).toarray() >= SIMILARITY_THRESHOLD).astype(float)
    transitions = connected / np.maximum(1, connected.sum(axis=1, keepdims=True))
    rank = np.full(len(transitions), 1 / len(transitions))
    for _ in range(50):
        rank = (1 - DAMPING) / len(transitions) + DAMPING * rank @ transitions
    best = sorted(np.argsort(-rank, kind="stable")[:count])
    return " ".join(article.sentences[row] for row in best)


@dataclass(frozen=True)
class Measured:
    """A set of articles, and what they are compared by."""

    examples: list[Example]
    count: int
    """Sentences of each baseline."""
    titles: bool = False
    """Whether the engine is measured with the titles, too."""
    limit: int = MAX_LENGTH
    """Tokens of a summary."""


def compare(engine: Extractive, measured: Measured) -> dict[str, Figures]:
    """Compare the engine with both baselines."""
    examples, count = measured.examples, measured.count
    articles = [article_of(Task(example.text, measured.limit, 0, example.language)) for example in examples]
    baselines: dict[str, Callable[[Article, int], str]] = {f"first {count} sentences": lead, "LexRank": lexrank}
    figures = {
        name: mean_scores([choose(article, count) for article in tqdm(articles, desc=name, leave=False)], examples)
        for name, choose in baselines.items()
    }
    figures["extractive"] = mean_scores(_summaries(engine, measured, titles=False), examples)
    if measured.titles:
        figures["extractive, with the title"] = mean_scores(_summaries(engine, measured, titles=True), examples)
    return figures


def _summaries(engine: Extractive, measured: Measured, *, titles: bool) -> list[str]:
    tasks = [
        Task(example.text, measured.limit, 0, example.language, example.title if titles else None)
        for example in measured.examples
    ]
    return [str(summary) for summary in engine.summarize(tasks)]


def _lower(examples: list[Example]) -> list[Example]:
    return [replace(example, text=example.text.lower(), title=(example.title or "").lower()) for example in examples]


def _joined(examples: list[Example]) -> list[Example]:
    """Return several articles in one, whose references are joined, too."""
    groups = [examples[start : start + JOINED] for start in range(0, len(examples) - JOINED + 1, JOINED)]
    return [
        replace(
            group[0],
            text="\n\n".join(example.text for example in group),
            summary=" ".join(example.summary for example in group),
        )
        for group in groups
    ]


def cost(engine: Extractive, examples: list[Example]) -> dict[str, float]:
    """Return seconds, and the growth of peak memory in MB, for one megabyte of text. An earlier peak would hide it."""
    text = " ".join(example.text for example in examples)
    text = (text * (1 + MEGABYTE // len(text)))[:MEGABYTE]
    engine.summarize([Task("Un mot. " * 50, MAX_LENGTH, 0, "fr")])
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    engine.summarize([Task(text, MAX_LENGTH, 0, "fr")])
    seconds = time.perf_counter() - start
    return {
        "seconds": round(seconds, 2),
        "MB": round((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e3),
    }


def draw(figures: dict[str, dict[str, Figures]], path: Path) -> None:
    """Draw a group of bars for each corpus and measure."""
    drawing, axes = plt.subplots(1, len(figures), figsize=(5 * len(figures), 4), layout="constrained", squeeze=False)
    for axis, (corpus, rows) in zip(axes[0], figures.items(), strict=True):
        width = 0.8 / len(rows)
        for index, (name, values) in enumerate(rows.items()):
            positions = np.arange(len(NAMES)) + (index - (len(rows) - 1) / 2) * width
            bars = axis.bar(positions, [values[measure] for measure in NAMES], width, label=name)
            axis.bar_label(bars, fmt="%.1f", fontsize=7)
        axis.set_xticks(range(len(NAMES)), list(NAMES))
        axis.set_title(corpus)
        axis.legend(fontsize=8)
    axes[0][0].set_ylabel("F1, %")
    drawing.savefig(path, dpi=110)
    plt.close(drawing)


def measure(weights: ranker.RankerWeights, data: Path, out: Path) -> dict[str, Any]:
    """Measure a ranker's summaries; the plot is written to ``out``."""
    engine = Extractive(weights, "summarization")
    french, highlights = summary_data.french(data, "measured"), summary_data.highlights(data, "measured")
    sets = {
        "French: OrangeSum's validation part": Measured(french, 2, titles=True),
        "French, in lower case": Measured(_lower(french), 2, titles=True),
        "English: CNN and Daily Mail, never trained on": Measured(highlights, 3),
        "English, in lower case": Measured(_lower(highlights), 3),
        f"English: {JOINED} of these articles in one, max_length {LONG_LENGTH}": Measured(
            _joined(highlights), 8, limit=LONG_LENGTH
        ),
        "English: BBC, never trained on": Measured(summary_data.extracts(data, "measured"), 3),
    }
    rouges = {name: compare(engine, measured) for name, measured in sets.items() if measured.examples}
    draw(rouges, out / "summarization-rouge.png")
    return {
        "articles": {name: len(measured.examples) for name, measured in sets.items()},
        "rouge": rouges,
    }


def table(figures: dict[str, Any]) -> str:
    """Return the figures as a table."""
    lines = []
    for corpus, rows in figures["rouge"].items():
        lines += ["", corpus, f"{'':28}" + "".join(f"{name:>9}" for name in (*NAMES, "words"))]
        lines += [f"{name:28}" + "".join(f"{value:9.1f}" for value in row.values()) for name, row in rows.items()]
    return "\n".join(lines)


def main() -> None:
    """Run the command line at the top of this file."""
    parser = argparse.ArgumentParser(
        prog="python -m training.summarization.measures",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    shipped = Path("runners/weights/summarization-1.1.0.safetensors")
    parser.add_argument("--data", type=Path, required=True, help="folder with the articles")
    parser.add_argument("--weights", type=Path, default=shipped, help="model file (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("build/figures"), help="folder (default: %(default)s)")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    try:
        weights = ranker.read(arguments.weights)
        # First, while the process is small: an earlier peak would hide this one.
        megabyte = cost(Extractive(weights, "summarization"), summary_data.french(arguments.data, "measured"))
        figures = {"one megabyte": megabyte, **measure(weights, arguments.data, arguments.out)}
    except FileNotFoundError as error:
        parser.exit(1, f"{error}\n")
    (arguments.out / "summarization-figures.json").write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n")
    print(table(figures))
    print(f"\none megabyte: {megabyte['seconds']:.2f} s, {megabyte['MB']:.0f} MB")


if __name__ == "__main__":
    main()
