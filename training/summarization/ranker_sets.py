"""The ranker's third network: predicts the ROUGE of a set of sentences, trained on sets from beam searches."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from runners.models.summarizers import ranker
from runners.models.summarizers.ranker import Bools, Pool
from runners.models.summarizers.ranker_features import Floats
from runners.models.text.tokens import tokens
from training.summarization.ranker_networks import Ensemble, FitPlan, RankerConfig, fit, listwise_loss
from training.summarization.ranker_samples import MAX_LENGTH, RankerSample

ScoreSets = Callable[[Floats, bool], Floats]
"""Scores sets by their features [S, F]; the flag says whether the summary is an extract."""


def expected_f1(features: Floats, extract: bool) -> Floats:
    """Score sets by the expected terms alone, as in the first round's beam search."""
    name = "expected F1 of an extract" if extract else "expected F1 of an abstract"
    values: Floats = features[:, ranker.SET_FEATURES.index(name)]
    return values


def sampled_sets(
    sample: RankerSample, pool: Pool, score: ScoreSets, count: int, generator: np.random.Generator
) -> Bools:
    """Draw ``count`` of the sets that a beam search visits, with replacement where it visits fewer."""
    lengths = np.array([tokens(sample.article.sentences[row]) for row in pool.rows])
    beam: Bools = np.zeros((1, len(pool.rows)), dtype=np.bool_)
    visited = []
    for _ in range(ranker.MAX_SENTENCES if sample.article.extract else 4):
        grown = ranker.grown(beam)
        fits = grown[grown @ lengths <= MAX_LENGTH]
        if not len(fits):
            break
        beam = fits[np.argsort(-score(pool.features(fits), sample.article.extract), kind="stable")[: ranker.BEAM_WIDTH]]
        others = generator.choice(len(fits), min(len(fits), 10), replace=False)
        visited += [beam, fits[others]]
    if not visited:
        return np.zeros((0, len(pool.rows)), dtype=np.bool_)
    unique = np.unique(np.concatenate(visited), axis=0)
    return unique[generator.choice(len(unique), count, replace=len(unique) < count)]


def train_sets(samples: list[RankerSample], tensors: dict[str, Floats], config: RankerConfig) -> Ensemble:
    """Train the third network in two rounds, each on the sets of all searches so far."""
    generator = np.random.default_rng(config.seed)
    terms, sentences = ranker.Network(tensors, "terms"), ranker.Network(tensors, "sentences")
    pools = [ranker.pool_of(ranker.scored(sample.measured, terms, sentences)) for sample in samples]
    features, targets = _labelled_sets(samples, pools, expected_f1, config, generator)
    ensemble = Ensemble(features.flatten(0, 1), config.set_hidden, config.members)
    first = FitPlan("sets, round 1", listwise_loss(config), max(1, config.set_epochs // 2), 64)
    fit(ensemble, features, targets, first, config)
    network = ranker.Network(tensors | ensemble.tensors("sets"), "sets")
    more_features, more_targets = _labelled_sets(
        samples, pools, lambda features, _: network(features), config, generator
    )
    features, targets = torch.cat([features, more_features], dim=1), torch.cat([targets, more_targets], dim=1)
    fit(ensemble, features, targets, FitPlan("sets, round 2", listwise_loss(config), config.set_epochs, 64), config)
    return ensemble


def _labelled_sets(
    samples: list[RankerSample],
    pools: list[Pool],
    score: ScoreSets,
    config: RankerConfig,
    generator: np.random.Generator,
) -> tuple[Tensor, Tensor]:
    """Return the features [N, S, F] of sets from a beam search in each article, and their weighted F1 [N, S]."""
    features, targets = [], []
    for sample, pool in zip(tqdm(samples, desc="sets", unit="article", mininterval=2), pools, strict=True):
        chosen = sampled_sets(sample, pool, score, config.sets, generator)
        if not len(chosen):  # every sentence is too long
            chosen = np.tile(np.eye(1, len(pool.rows), dtype=np.bool_), (config.sets, 1))
        features.append(pool.features(chosen))
        known: dict[bytes, float] = {}
        weight = config.extracted if sample.example.extracted else 1.0
        for row in chosen:
            if row.tobytes() not in known:
                known[row.tobytes()] = sample.f1(pool.rows[row].tolist()) * weight
        targets.append([known[row.tobytes()] for row in chosen])
    return torch.from_numpy(np.stack(features)), torch.tensor(targets)
