"""Trains the sentence ranker of the extractive summarizer: python -m training.summarization --data DIR --out DIR.

DIR holds ``fr_train.jsonl``, ``en_train.jsonl`` and ``en_extractive.jsonl``. Some four minutes on one processor core.

The recipe: one network predicts which terms of an article are in its reference; a second, with that, the ROUGE of each
sentence alone; a third, the ROUGE of a set of sentences. Its training sets come from two beam searches, the first
scored by the expected terms, the second by the network itself. Each network is an ensemble of four.
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
from training.summarization.ranker_networks import Ensemble, FitPlan, RankerConfig, fit, squared_error, term_loss
from training.summarization.ranker_samples import RankerSample, samples_of
from training.summarization.ranker_sets import train_sets
from training.summarization.rouge import words


def train_terms(samples: list[RankerSample], config: RankerConfig) -> Ensemble:
    """Train the first network: whether a term is in the reference."""
    features = torch.from_numpy(np.concatenate([sample.measured.terms for sample in samples]))
    words = [set(sample.reference.words) for sample in samples]
    present = [float(term in words[i]) for i, sample in enumerate(samples) for term in sample.measured.vocabulary]
    ensemble = Ensemble(features, config.term_hidden, config.members)
    fit(ensemble, features, torch.tensor(present), FitPlan("terms", term_loss, config.term_epochs, 4096), config)
    return ensemble


def train_sentences(samples: list[RankerSample], tensors: dict[str, Floats], config: RankerConfig) -> Ensemble:
    """Train the second network: the F1 of a sentence alone, relative to the article's best sentence."""
    terms = ranker.Network(tensors, "terms")
    measured = [sample.measured for sample in samples]
    features = np.concatenate([ranker.with_expected(m, ranker.probability(terms(m.terms))) for m in measured])
    f1 = [
        np.array([sample.f1([row]) for row in range(len(sample.sentence_words))])
        for sample in tqdm(samples, desc="alone")
    ]
    targets = np.concatenate([values / max(1e-6, values.max()) for values in f1]).astype(np.float32)
    inputs = torch.from_numpy(features)
    ensemble = Ensemble(inputs, config.sentence_hidden, config.members)
    fit(
        ensemble,
        inputs,
        torch.from_numpy(targets),
        FitPlan("sentences", squared_error, config.sentence_epochs, 1024),
        config,
    )
    return ensemble


def train(examples: list[Example], config: RankerConfig) -> dict[str, Floats]:
    """Train the three networks and return their tensors."""
    random.seed(config.seed)
    torch.manual_seed(config.seed)
    samples = samples_of(examples, config)
    tensors = train_terms(samples, config).tensors("terms")
    tensors |= train_sentences(samples, tensors, config).tensors("sentences")
    return tensors | train_sets(samples, tensors, config).tensors("sets")


def save(path: Path, weights: RankerWeights) -> None:
    """Write the tensors and the facts to a safetensors file."""
    save_file(weights.tensors, path, metadata={"facts": json.dumps(weights.facts, ensure_ascii=False, sort_keys=True)})
    path.chmod(0o644)  # save_file makes it readable for its owner alone, and a container runs as another user


def facts(config: RankerConfig, counts: dict[str, int]) -> dict[str, Any]:
    """Return the facts that are stored in the file."""
    return {
        "network": "sentence ranker",
        "weights": f"trained from scratch by training/summarization/train.py, seed {config.seed}",
        "licence": "Apache-2.0; trained on OrangeSum (CC BY-SA 4.0), and CNN, Daily Mail and BBC news (research use)",
        "features": {"terms": TERM_FEATURES, "sentences": SENTENCE_FEATURES, "sets": ranker.SET_FEATURES},
        "normalisation": "(feature - mean) * scale, clipped to 6 either way",
        "config": asdict(config),
        "data": counts,
    }


def parse() -> argparse.Namespace:
    """Parse the command line."""
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
    """Train, measure and write the model file."""
    arguments = parse()
    config = replace(RankerConfig(), seed=arguments.seed)
    try:
        french = data.french(arguments.data, "train")[: arguments.articles]
        extracts = data.extracts(arguments.data, "train")[: arguments.articles]
        highlights = data.highlights(arguments.data, "train")[: arguments.articles]
        data.french(arguments.data, "measured")
    except FileNotFoundError as error:
        sys.exit(str(error))
    arguments.out.mkdir(parents=True, exist_ok=True)
    full = [example for example in highlights if len(words(example.summary)) >= config.full]
    tensors = train(french + extracts + highlights + full, config)
    path = arguments.out / "summarization-1.1.0.safetensors"
    weights = RankerWeights(
        tensors, facts(config, {"fr": len(french), "en": len(highlights), "en, extracts": len(extracts)})
    )
    figures = measures.measure(weights, arguments.data, arguments.out)
    save(path, RankerWeights(tensors, {**weights.facts, "figures": figures}))
    print(measures.table(figures))
    print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")
