"""Trains the ranker's networks: ensembles of small members, their losses, and the fit."""

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
    """The hyperparameters of the recipe."""

    seed: int = 0
    members: int = 4
    term_hidden: tuple[int, ...] = (24,)
    sentence_hidden: tuple[int, ...] = (32,)
    set_hidden: tuple[int, ...] = (64, 32)
    term_epochs: int = 3
    sentence_epochs: int = 12
    set_epochs: int = 12
    sets: int = 32  # of an article, in each of the two rounds
    titled: float = 0.5  # articles that show their title
    long: int = 42  # words of an abstract that is shown as an extract's stand-in too
    english: float = 0.3  # how much F1 of an English article counts, whose references a program chose
    rate: float = 2e-3
    decay: float = 1e-4
    temperature: float = 0.02  # of the preference among an article's sets, in F1


class Members(nn.Module):
    """Several small networks of the same shape, trained side by side."""

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
        """[N, F] -> [members, N]; the same steps as ``ranker.Network``."""
        hidden = ((features - self.mean) * self.scale).clamp(-6, 6).expand(len(self.weights[0]), -1, -1)
        for index, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            hidden = torch.baddbmm(bias[:, None], hidden, weight)
            if index + 1 < len(self.weights):
                hidden = hidden.relu()
        return hidden[:, :, 0]

    def tensors(self, name: str) -> dict[str, Floats]:
        """The numbers under the names that ``ranker.Network`` reads."""
        named = {f"{name}.mean": self.mean, f"{name}.scale": self.scale}
        for index, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            named |= {f"{name}.weight.{index}": weight, f"{name}.bias.{index}": bias}
        return {key: value.detach().numpy() for key, value in named.items()}


Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Plan:
    """How one network is fitted; ``batch`` is in rows."""

    what: str
    loss: Loss
    epochs: int
    batch: int


def fit(members: Members, features: Tensor, targets: Tensor, plan: Plan, config: RankerConfig) -> None:
    """Adam with a cosine schedule over shuffled rows of ``features`` and ``targets``, whose first sides agree."""
    optimizer = torch.optim.AdamW(members.parameters(), lr=config.rate, weight_decay=config.decay)
    steps = plan.epochs * -(-len(features) // plan.batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    bar = tqdm(total=steps, desc=plan.what, unit="step", mininterval=2)
    for _ in range(plan.epochs):
        for rows in torch.randperm(len(features)).split(plan.batch):  # type: ignore[no-untyped-call]
            optimizer.zero_grad()
            value = plan.loss(members(features[rows].flatten(0, -2)), targets[rows])
            value.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            bar.update()
    bar.close()


def term_loss(logits: Tensor, present: Tensor) -> Tensor:
    """Cross-entropy of [members, N] against [N]."""
    return nn.functional.binary_cross_entropy_with_logits(logits, present.expand_as(logits))


def square_loss(said: Tensor, wanted: Tensor) -> Tensor:
    """Mean squared error of [members, N] against [N]."""
    return (said - wanted).square().mean()


def set_loss(config: RankerConfig) -> Loss:
    """How far sets of one article are from their order, [members, B * S] against F1 values [B, S].

    Squared error of what differs within the article, and the F1 that is lost by choosing a set as likely as it is
    said to be good.
    """

    def loss(said: Tensor, f1: Tensor) -> Tensor:
        values = said.view(len(said), *f1.shape)
        centred = values - values.mean(dim=2, keepdim=True)
        error = centred - (f1 - f1.mean(dim=1, keepdim=True)) * 10
        chance = (values / 10 / config.temperature).softmax(dim=2)
        lost = (f1.amax(dim=1) - (chance * f1).sum(dim=2)) * 10
        return error.square().mean() + lost.mean()

    return loss
