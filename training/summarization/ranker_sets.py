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
from training.summarization.ranker_lessons import LIMIT, Lesson
from training.summarization.ranker_networks import Members, Plan, RankerConfig, fit, set_loss

Value = Callable[[Floats, bool], Floats]


def expected_f1(features: Floats, extract: bool) -> Floats:
    """What the expected terms alone say of sets: the value of the first round's search."""
    name = "expected F1 of an extract" if extract else "expected F1 of an abstract"
    values: Floats = features[:, ranker.SET_FEATURES.index(name)]
    return values


def sets_met(one: Lesson, pool: Pool, value: Value, count: int, draw: np.random.Generator) -> Bools:
    """``count`` of the sets that a beam search meets, some of them twice where it meets fewer."""
    room = np.array([tokens(one.article.sentences[row]) for row in pool.rows])
    beam: Bools = np.zeros((1, len(pool.rows)), dtype=np.bool_)
    met = []
    for _ in range(ranker.MAX_SENTENCES if one.article.extract else 4):
        grown = ranker.grown(beam)
        fits = grown[grown @ room <= LIMIT]
        if not len(fits):
            break
        beam = fits[np.argsort(-value(pool.features(fits), one.article.extract), kind="stable")[: ranker.BEAM_WIDTH]]
        others = draw.choice(len(fits), min(len(fits), 10), replace=False)
        met += [beam, fits[others]]
    if not met:
        return np.zeros((0, len(pool.rows)), dtype=np.bool_)
    every = np.unique(np.concatenate(met), axis=0)
    return every[draw.choice(len(every), count, replace=len(every) < count)]


def train_sets(lessons: list[Lesson], tensors: dict[str, Floats], config: RankerConfig) -> Members:
    """The third network, in two rounds: each on all sets that the searches so far have met."""
    draw = np.random.default_rng(config.seed)
    terms, sentences = ranker.Network(tensors, "terms"), ranker.Network(tensors, "sentences")
    pools = [ranker.pool_of(ranker.scored(one.measured, terms, sentences)) for one in lessons]
    features, targets = _judged(lessons, pools, expected_f1, config, draw)
    members = Members(features.flatten(0, 1), config.set_hidden, config.members)
    first = Plan("sets, round 1", set_loss(config), max(1, config.set_epochs // 2), 64)
    fit(members, features, targets, first, config)
    network = ranker.Network(tensors | members.tensors("sets"), "sets")
    more_features, more_targets = _judged(lessons, pools, lambda seen, _: network(seen), config, draw)
    features, targets = torch.cat([features, more_features], dim=1), torch.cat([targets, more_targets], dim=1)
    fit(members, features, targets, Plan("sets, round 2", set_loss(config), config.set_epochs, 64), config)
    return members


def _judged(
    lessons: list[Lesson], pools: list[Pool], value: Value, config: RankerConfig, draw: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Features [L, S, F] of the sets that a search meets in each article, and their F1 [L, S]."""
    features, targets = [], []
    for one, pool in zip(tqdm(lessons, desc="sets", unit="article", mininterval=2), pools, strict=True):
        chosen = sets_met(one, pool, value, config.sets, draw)
        if not len(chosen):  # not one sentence is short enough
            chosen = np.tile(np.eye(1, len(pool.rows), dtype=np.bool_), (config.sets, 1))
        features.append(pool.features(chosen))
        known: dict[bytes, float] = {}
        counts = config.english if one.example.language == "en" else 1.0
        for row in chosen:
            if row.tobytes() not in known:
                known[row.tobytes()] = one.f1(pool.rows[row].tolist()) * counts
        targets.append([known[row.tobytes()] for row in chosen])
    return torch.from_numpy(np.stack(features)), torch.tensor(targets)
