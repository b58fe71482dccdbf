"""Trains the sentence ranker of the extractive summarizer: python -m training.summarization --data DIR --out DIR.

DIR holds ``fr_train.jsonl`` and ``en_extractive.jsonl``. Some ten minutes on one processor core.

The recipe: one network learns which terms of an article its reference has; a second, with that, how good each sentence
is alone; a third, what ROUGE a set of sentences gets. The sets it learns from are those that a beam search meets, first
one that trusts the expected terms, then one that trusts the network itself. Each network is four small ones, averaged.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file
from tqdm import tqdm

from runners.models.summarizers import ranker
from runners.models.summarizers.ranker import RankerWeights
from runners.models.summarizers.ranker_features import SENTENCE_FEATURES, TERM_FEATURES, Floats
from training.summarization import data, measures
from training.summarization.data import Example
from training.summarization.ranker_lessons import Lesson, lessons_of
from training.summarization.ranker_networks import Members, Plan, RankerConfig, fit, square_loss, term_loss
from training.summarization.ranker_sets import train_sets


def train_terms(lessons: list[Lesson], config: RankerConfig) -> Members:
    """The first network: is a term in the reference?"""
    features = torch.from_numpy(np.concatenate([one.measured.terms for one in lessons]))
    present = [float(term in one.words) for one in map(_Said, lessons) for term in one.vocabulary]
    members = Members(features, config.term_hidden, config.members)
    fit(members, features, torch.tensor(present), Plan("terms", term_loss, config.term_epochs, 4096), config)
    return members


class _Said:
    """A reference's words as a set, beside the vocabulary of its article."""

    def __init__(self, one: Lesson) -> None:
        self.words, self.vocabulary = set(one.reference.words), one.measured.vocabulary


def train_sentences(lessons: list[Lesson], tensors: dict[str, Floats], config: RankerConfig) -> Members:
    """The second network: how good is a sentence alone, against the article's best?"""
    terms = ranker.Network(tensors, "terms")
    seen = [ranker.with_expected(one.measured, ranker.probability(terms(one.measured.terms))) for one in lessons]
    alone = [np.array([one.f1([row]) for row in range(len(one.said))]) for one in tqdm(lessons, desc="alone")]
    wanted = np.concatenate([values / max(1e-6, values.max()) for values in alone])
    features = torch.from_numpy(np.concatenate(seen))
    members = Members(features, config.sentence_hidden, config.members)
    targets = torch.from_numpy(wanted.astype(np.float32))
    fit(members, features, targets, Plan("sentences", square_loss, config.sentence_epochs, 1024), config)
    return members


def train(examples: list[Example], config: RankerConfig) -> dict[str, Floats]:
    """The tensors of all three networks."""
    random.seed(config.seed)
    torch.manual_seed(config.seed)
    lessons = lessons_of(examples, config)
    tensors = train_terms(lessons, config).tensors("terms")
    tensors |= train_sentences(lessons, tensors, config).tensors("sentences")
    return tensors | train_sets(lessons, tensors, config).tensors("sets")


def save(path: Path, stored: RankerWeights) -> None:
    """Writes one safetensors file that explains itself."""
    save_file(stored.tensors, path, metadata={"facts": json.dumps(stored.facts, ensure_ascii=False, sort_keys=True)})
    path.chmod(0o644)  # the file is created for its owner alone, but a container runs as another user


def facts(config: RankerConfig, counts: dict[str, int]) -> dict[str, Any]:
    """Return the facts that are stored in the file."""
    return {
        "network": "sentence ranker",
        "weights": f"trained from scratch by training/summarization/train.py, seed {config.seed}",
        "licence": "Apache-2.0; trained on OrangeSum (CC BY-SA 4.0) and BBC news (research use)",
        "features": {"terms": TERM_FEATURES, "sentences": SENTENCE_FEATURES, "sets": ranker.SET_FEATURES},
        "normalisation": "(feature - mean) * scale, clipped to 6 either way",
        "config": asdict(config),
        "data": counts,
    }


def parse() -> argparse.Namespace:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.summarization",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with the articles")
    parser.add_argument("--out", type=Path, default=Path("build/summarization"), help="folder (default: %(default)s)")
    parser.add_argument(
        "--articles",
        type=int,
        default=7300,
        help="of each language; those after them tuned the recipe (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=RankerConfig.seed)
    return parser.parse_args()


def main() -> None:
    """Trains and writes the model file."""
    arguments = parse()
    config = replace(RankerConfig(), seed=arguments.seed)
    try:
        french = data.french(arguments.data, "train")[: arguments.articles]
        english = data.english(arguments.data, "train")[: arguments.articles]
        data.french(arguments.data, "measured")
    except FileNotFoundError as error:
        sys.exit(str(error))
    arguments.out.mkdir(parents=True, exist_ok=True)
    tensors = train(french + english, config)
    path = arguments.out / "summarization-1.0.0.safetensors"
    stored = RankerWeights(tensors, facts(config, {"fr": len(french), "en": len(english)}))
    figures = measures.measure(stored, arguments.data, arguments.out)
    save(path, RankerWeights(tensors, {**stored.facts, "figures": figures}))
    print(measures.table(figures))
    print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")
