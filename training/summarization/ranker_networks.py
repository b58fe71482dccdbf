"""The ranker's networks: ensembles of small members, their losses, and the training loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from tqdm import tqdm

from runners.models.summarizers.ranker_features import Floats


@dataclass(frozen=True)
class RankerConfig:
    """Hyperparameters."""

    seed: int = 0
    members: int = 4
    term_hidden: tuple[int, ...] = (24,)
    sentence_hidden: tuple[int, ...] = (32,)
    set_hidden: tuple[int, ...] = (64, 32)
    term_epochs: int = 3
    sentence_epochs: int = 12
    set_epochs: int = 12
    sets: int = 32  # sets of sentences of an article, in each of the two rounds
    titled: float = 0.5  # share of the articles that are read with their title
    long: int = 42  # words from which an abstract is also used as an extract
    full: int = 35  # words from which highlights count twice: those of CNN in 2015 are shorter than most
    extracted: float = 0.3  # weight of the F1 of articles whose references were chosen by a program
    lower_cased: float = 0.1  # share of the articles that are read in lower case
    rate: float = 2e-3  # maximum learning rate
    decay: float = 1e-4  # weight decay
    temperature: float = 0.02  # of the softmax over an article's sets, in F1


class Ensemble(nn.Module):
    """Small networks of the same shape, trained in parallel."""

    def __init__(self, features: Tensor, hidden: tuple[int, ...], members: int) -> None:
        super().__init__()
        self.mean, self.scale = features.mean(dim=0), 1 / features.std(dim=0).clamp(min=1e-3)
        sides = (features.shape[1], *hidden, 1)
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        for inputs, outputs in pairwise(sides):
            self.weights.append(nn.Parameter(torch.randn(members, inputs, outputs) * (2 / inputs) ** 0.5))
            self.biases.append(nn.Parameter(torch.zeros(members, outputs)))

    def forward(self, features: Tensor) -> Tensor:
        """Return [members, N] of features [N, F], computed as in ``ranker.Network``."""
        hidden = ((features - self.mean) * self.scale).clamp(-6, 6).expand(len(self.weights[0]), -1, -1)
        for index, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            hidden = torch.baddbmm(bias[:, None], hidden, weight)
            if index + 1 < len(self.weights):
                hidden = hidden.relu()
        return hidden[:, :, 0]

    def tensors(self, name: str) -> dict[str, Floats]:
        """Return the parameters under the names that ``ranker.Network`` reads."""
        named = {f"{name}.mean": self.mean, f"{name}.scale": self.scale}
        for index, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            named |= {f"{name}.weight.{index}": weight, f"{name}.bias.{index}": bias}
        return {key: value.detach().numpy() for key, value in named.items()}


Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class FitPlan:
    """How a network is fitted; ``batch`` is in rows."""

    title: str
    loss: Loss
    epochs: int
    batch: int


def fit(ensemble: Ensemble, features: Tensor, targets: Tensor, plan: FitPlan, config: RankerConfig) -> None:
    """Fit by AdamW with a cosine learning-rate schedule on shuffled rows of ``features`` and ``targets``."""
    optimizer = torch.optim.AdamW(ensemble.parameters(), lr=config.rate, weight_decay=config.decay)
    steps = plan.epochs * -(-len(features) // plan.batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    bar = tqdm(total=steps, desc=plan.title, unit="step", mininterval=2)
    for _ in range(plan.epochs):
        for rows in torch.randperm(len(features)).split(plan.batch):  # type: ignore[no-untyped-call]
            optimizer.zero_grad()
            value = plan.loss(ensemble(features[rows].flatten(0, -2)), targets[rows])
            value.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            bar.update()
    bar.close()


def term_loss(logits: Tensor, present: Tensor) -> Tensor:
    """Cross-entropy of [members, N] against [N]."""
    return nn.functional.binary_cross_entropy_with_logits(logits, present.expand_as(logits))


def squared_error(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean squared error of [members, N] against [N]."""
    return (predicted - target).square().mean()


def listwise_loss(config: RankerConfig) -> Loss:
    """Listwise loss over the sets of each article: predictions [members, B * S] against F1 values [B, S].

    The sum of the squared error after centring on the article's mean, and the expected regret in F1 of a choice by
    the softmax of the predictions.
    """

    def loss(predicted: Tensor, f1: Tensor) -> Tensor:
        values = predicted.view(len(predicted), *f1.shape)
        centred = values - values.mean(dim=2, keepdim=True)
        error = centred - (f1 - f1.mean(dim=1, keepdim=True)) * 10
        probability = (values / 10 / config.temperature).softmax(dim=2)
        regret = (f1.amax(dim=1) - (probability * f1).sum(dim=2)) * 10
        return error.square().mean() + regret.mean()

    return loss
