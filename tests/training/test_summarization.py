"""The ranker's training on synthetic articles, and ROUGE against values counted by hand."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from runners.models.summarizers import ranker
from tests.support.servers import ROOT
from training.summarization.data import Example, Part, extracts, french, highlights
from training.summarization.ranker_networks import Ensemble, RankerConfig
from training.summarization.rouge import rouge
from training.summarization.train import train

PARTS: tuple[Part, Part] = ("train", "measured")
WORDS = [
    "ville",
    "budget",
    "maire",
    "école",
    "métro",
    "dette",
    "vote",
    "place",
    "impôt",
    "projet",
    "route",
    "parc",
    "eau",
]


def article(draw: random.Random, heading: str) -> dict[str, str]:
    sentences = [" ".join(draw.sample(WORDS, 9)).capitalize() + "." for _ in range(8)]
    return {"text": heading + " ".join(sentences), "summary": " ".join(sentences[:2]), "title": " ".join(WORDS[:4])}


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root, draw = tmp_path_factory.mktemp("articles"), random.Random(0)
    for name, heading, count in (
        ("fr_train", "", 24),
        ("fr_val", "", 6),
        ("en_extractive", "A heading\n\n", 12),
        ("en_train", "", 60),
    ):
        rows = [
            article(draw, heading) | {"source": "xsum" if row % 3 else "cnn_dailymail/train"} for row in range(count)
        ]
        lines = [json.dumps(row) for row in rows]
        (root / f"{name}.jsonl").write_text("\n".join(lines), "utf-8")
    return root


def run(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"training.{module}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


@pytest.mark.slow
def test_training_writes_a_ranker_that_explains_itself_and_is_measured(data: Path, tmp_path: Path) -> None:
    done = run("summarization", "--data", str(data), "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    path = tmp_path / "summarization-1.1.0.safetensors"
    facts = ranker.read(path).facts
    assert {"licence", "features", "normalisation", "config", "data", "figures"} <= facts.keys()
    assert facts["data"] == {"fr": 24, "en": 16, "en, extracts": 8}
    done = run("summarization.measures", "--data", str(data), "--weights", str(path), "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "summarization-figures.json").read_text("utf-8"))
    assert list(figures["articles"].values()) == [6, 6, 4, 4, 1, 4]
    assert "LexRank" in done.stdout
    assert (tmp_path / "summarization-rouge.png").stat().st_size > 1000


def test_training_twice_gives_the_same_numbers(data: Path) -> None:
    examples = french(data, "train")[:6] + extracts(data, "train")[:2] + highlights(data, "train")[:2]
    once, again = (train(examples, RankerConfig(set_epochs=1, sentence_epochs=1)) for _ in range(2))
    assert all(np.array_equal(once[name], again[name]) for name in once)


def test_serving_computes_what_training_computed() -> None:
    torch.manual_seed(0)
    features = torch.randn(20, 5)
    ensemble = Ensemble(features, (7, 3), 2)
    features = features * 10  # outside the range of its training data
    served = ranker.Network(ensemble.tensors("sets"), "sets")(features.numpy())
    assert np.allclose(served, ensemble(features).mean(dim=0).detach().numpy(), atol=1e-5)


@pytest.mark.parametrize(("read", "lengths"), [(extracts, [8, 4]), (highlights, [16, 4])])
def test_english_articles_are_trained_on_or_measured_on_and_never_both(
    data: Path, read: Callable[[Path, Part], list[Example]], lengths: list[int]
) -> None:
    parts = [{article.text for article in read(data, part)} for part in PARTS]
    assert [len(part) for part in parts] == lengths
    assert not parts[0] & parts[1]


@pytest.mark.parametrize("module", ["summarization", "summarization.measures"])
def test_missing_articles_are_named_with_where_to_get_them(module: str, data: Path, tmp_path: Path) -> None:
    weights = ("--weights", str(ROOT / "runners/weights/summarization-1.1.0.safetensors"))
    done = run(module, "--data", str(tmp_path), "--out", str(tmp_path), *(weights if "measures" in module else ()))
    assert done.returncode != 0
    assert "EdinburghNLP/orange_sum" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("summary", "reference", "expected"),
    [
        ("le chat dort", "le chat dort", (1, 1, 1)),
        ("Le CHAT, dort !", "le chat dort", (1, 1, 1)),
        # 3 of 4 and 3 words; 1 of 3 and 2 pairs; "le chat dort" in order
        ("le petit chat dort", "le chat dort", (6 / 7, 2 / 5, 6 / 7)),
        # all words, no pair, one in order
        ("dort chat le", "le chat dort", (1, 0, 1 / 3)),
        # a word counts as often as both have it
        ("le le le", "le chat", (2 / 5, 0, 2 / 5)),
        ("été", "ete", (0, 0, 0)),
        ("", "le chat", (0, 0, 0)),
        ("le", "", (0, 0, 0)),
    ],
)
def test_rouge_is_what_a_hand_counts(summary: str, reference: str, expected: tuple[float, float, float]) -> None:
    score = rouge(summary, reference)
    assert (score.rouge1, score.rouge2, score.rouge_l) == pytest.approx(expected)


def test_the_longest_common_subsequence_is_that_of_its_table() -> None:
    draw = random.Random(1)
    for _ in range(200):
        summary, reference = (draw.choices("abcd", k=draw.randint(1, 90)) for _ in range(2))
        table = [[0] * (len(reference) + 1) for _ in range(len(summary) + 1)]
        for row, word in enumerate(summary):
            for column, other in enumerate(reference):
                longest = max(table[row][column + 1], table[row + 1][column])
                table[row + 1][column + 1] = table[row][column] + 1 if word == other else longest
        f1 = 2 * table[-1][-1] / (len(summary) + len(reference))
        assert rouge(" ".join(summary), " ".join(reference)).rouge_l == pytest.approx(f1)
