"""The extractive summarizer's figures on articles it never saw: python -m training.summarization.measures --data DIR.

Reads the shipped weights (or ``--weights``) and runs them through the engine that serves, beside what they must beat:
the first sentences, and LexRank. Writes ``summarization-figures.json`` and ``summarization-rouge.png`` to ``--out``.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
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

LIMIT = 128  # tokens, the service's default
SIMILAR = 0.1  # cosine from which LexRank joins two sentences
DAMPING = 0.85
MEGABYTE = 1_000_000
LONG = 42  # words of a reference
NAMES = ("ROUGE-1", "ROUGE-2", "ROUGE-L")

Figures = dict[str, float]


def figures_of(said: Sequence[str], examples: Sequence[Example]) -> Figures:
    """Mean ROUGE F1 in per cent, and the mean number of words."""
    scores: list[Rouge] = [rouge(one, example.summary) for one, example in zip(said, examples, strict=True)]
    values = np.array([(score.one, score.two, score.longest) for score in scores]).mean(axis=0) * 100
    words = float(np.mean([len(one.split()) for one in said]))
    return {name: round(float(value), 2) for name, value in zip(NAMES, values, strict=True)} | {
        "words": round(words, 1)
    }


def first(article: Article, count: int) -> str:
    """Return the first sentences."""
    return " ".join(article.sentences[:count])


def lexrank(article: Article, count: int) -> str:
    """Return the most central sentences (Erkan and Radev, "LexRank", JAIR 2004), in order."""
    vectorizer = TfidfVectorizer(token_pattern=r"\w+")  # noqa: S106 - no password
    vectors = vectorizer.fit_transform(article.sentences)
    joined = ((vectors @ vectors.T).toarray() >= SIMILAR).astype(float)
    steps = joined / np.maximum(1, joined.sum(axis=1, keepdims=True))
    rank = np.full(len(steps), 1 / len(steps))
    for _ in range(50):
        rank = (1 - DAMPING) / len(steps) + DAMPING * rank @ steps
    best = sorted(np.argsort(-rank, kind="stable")[:count])
    return " ".join(article.sentences[row] for row in best)


def compared(engine: Extractive, examples: list[Example], count: int, *, titles: bool) -> dict[str, Figures]:
    """Compare the engine, without and with titles, with ``count`` sentences of each baseline."""
    articles = [article_of(Task(one.text, LIMIT, 0, one.language)) for one in examples]
    baselines: dict[str, Callable[[Article, int], str]] = {f"first {count} sentences": first, "LexRank": lexrank}
    found = {
        name: figures_of([choose(one, count) for one in tqdm(articles, desc=name, leave=False)], examples)
        for name, choose in baselines.items()
    }
    found["extractive"] = figures_of(_summaries(engine, examples, titles=False), examples)
    if titles:
        found["extractive, with the title"] = figures_of(_summaries(engine, examples, titles=True), examples)
    return found


def _summaries(engine: Extractive, examples: list[Example], *, titles: bool) -> list[str]:
    tasks = [Task(one.text, LIMIT, 0, one.language, one.title if titles else None) for one in examples]
    return [str(said) for said in engine.summarize(tasks)]


def cost(engine: Extractive, examples: list[Example]) -> dict[str, float]:
    """Return seconds, and the growth of peak memory in MB, for one megabyte of text; must be measured first."""
    text = " ".join(one.text for one in examples)
    text = (text * (1 + MEGABYTE // len(text)))[:MEGABYTE]
    engine.summarize([Task("Un mot. " * 50, LIMIT, 0, "fr")])
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    engine.summarize([Task(text, LIMIT, 0, "fr")])
    seconds = time.perf_counter() - start
    return {
        "seconds": round(seconds, 2),
        "MB": round((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e3),
    }


def draw(figures: dict[str, dict[str, Figures]], path: Path) -> None:
    """One group of bars for each corpus and measure."""
    drawing, axes = plt.subplots(1, len(figures), figsize=(5 * len(figures), 4), layout="constrained", squeeze=False)
    for axis, (corpus, found) in zip(axes[0], figures.items(), strict=True):
        width = 0.8 / len(found)
        for index, (name, values) in enumerate(found.items()):
            places = np.arange(len(NAMES)) + (index - (len(found) - 1) / 2) * width
            bars = axis.bar(places, [values[measure] for measure in NAMES], width, label=name)
            axis.bar_label(bars, fmt="%.1f", fontsize=7)
        axis.set_xticks(range(len(NAMES)), list(NAMES))
        axis.set_title(corpus)
        axis.legend(fontsize=8)
    axes[0][0].set_ylabel("F1, %")
    drawing.savefig(path, dpi=110)
    plt.close(drawing)


def measure(stored: ranker.RankerWeights, data: Path, out: Path) -> dict[str, Any]:
    """Measure a ranker's summaries; the plot is written to ``out``."""
    engine = Extractive(stored, "summarization")
    french, english = summary_data.french(data, "measured"), summary_data.english(data, "measured")
    # There are no English abstracts here: the nearest corpus measures English.
    long = [replace(one, language="en") for one in french if len(one.summary.split()) >= LONG]
    sets = {
        "French: OrangeSum's validation part": (french, 2, True),
        "French: its long abstracts, as if English": (long, 3, False),
        "English: BBC, never trained on": (english, 3, False),
    }
    rouges = {
        name: compared(engine, examples, count, titles=titles)
        for name, (examples, count, titles) in sets.items()
        if examples
    }
    draw(rouges, out / "summarization-rouge.png")
    return {
        "articles": {name: len(examples) for name, (examples, _, _) in sets.items()},
        "max_length": LIMIT,
        "rouge": rouges,
    }


def table(figures: dict[str, Any]) -> str:
    """Return the figures as a table."""
    lines = []
    for corpus, found in figures["rouge"].items():
        lines += ["", corpus, f"{'':28}" + "".join(f"{name:>9}" for name in (*NAMES, "words"))]
        lines += [f"{name:28}" + "".join(f"{value:9.1f}" for value in row.values()) for name, row in found.items()]
    return "\n".join(lines)


def main() -> None:
    """Run the command line at the top of this file."""
    parser = argparse.ArgumentParser(
        prog="python -m training.summarization.measures",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    shipped = Path("runners/weights/summarization-1.0.0.safetensors")
    parser.add_argument("--data", type=Path, required=True, help="folder with the articles")
    parser.add_argument("--weights", type=Path, default=shipped, help="model file (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("build/figures"), help="folder (default: %(default)s)")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    try:
        stored = ranker.read(arguments.weights)
        # First, while the process is small: an earlier peak would hide this one.
        spent = cost(Extractive(stored, "summarization"), summary_data.french(arguments.data, "measured"))
        figures = {"one megabyte": spent, **measure(stored, arguments.data, arguments.out)}
    except FileNotFoundError as error:
        parser.exit(1, f"{error}\n")
    (arguments.out / "summarization-figures.json").write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n")
    print(table(figures))
    print(f"\none megabyte: {spent['seconds']:.2f} s, {spent['MB']:.0f} MB")


if __name__ == "__main__":
    main()
