"""The recipe's parts: its numbers, the network under three heads, a batch of augmented tiles, and the loss."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from runners.models.vision.networks import FEATURES, SatelliteNet
from runners.models.vision.satellite import CLASSES
from runners.models.vision.transform import SATELLITE_TRANSFORM
from training.satellite import augment
from training.satellite.tiles import Tiles

CLOUDY = CLASSES.index("cloudy")
DESERT = CLASSES.index("desert")


@dataclass(frozen=True)
class Phase:
    """A part of a run with a one-cycle rate of its own."""

    epochs: int
    rate: float
    sides: tuple[int, ...]  # pixels, over equal parts of the phase
    strength: float  # of the augmentation, in [0, 1]
    class_loss: float  # weight of the two class-naming heads


LEARN = Phase(epochs=18, rate=0.12, sides=(96, 96, 96, 128, 128), strength=1.0, class_loss=0.5)
SETTLE = Phase(epochs=7, rate=0.03, sides=(128,), strength=0.3, class_loss=1.0)
"""Views far from the tiles teach what does not matter; near ones, afterwards, what the colours and textures say."""


@dataclass(frozen=True)
class Config:
    """Every number of a run; it is written into the checkpoint."""

    seed: int = 7
    phases: tuple[Phase, ...] = (LEARN, SETTLE)
    tiles_per_epoch: int = 24_000
    batch: int = 96
    momentum: float = 0.9
    weight_decay: float = 5e-4
    average: float = 0.998
    desert_weight: float = 5.0  # draws of a desert tile for one of a EuroSAT tile; there are only 414
    aid_weight: float = 2.5


class TrainingNet(nn.Module):
    """The served network with the two heads that only training needs."""

    def __init__(self, eurosat_classes: int, aid_classes: int) -> None:
        super().__init__()
        self.served = SatelliteNet()
        self.eurosat = nn.Linear(FEATURES, eurosat_classes)
        self.aid = nn.Linear(FEATURES, aid_classes)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[N, 3, S, S] -> logits [N, 5], [N, eurosat classes], [N, aid classes]."""
        features = self.served.trunk(pixels)
        return self.served.head(features), self.eurosat(features), self.aid(features)


@dataclass(frozen=True)
class Data:
    """The two training sets, and the device on which batches are augmented."""

    eurosat: Tiles
    aid: Tiles
    device: torch.device

    def draws(self, config: Config) -> Tensor:
        """Row numbers of an epoch: those of EuroSAT, then those of AID; rare scenes are drawn more often."""
        aid = torch.where(self.aid.cover == DESERT, config.desert_weight, config.aid_weight)
        weights = torch.cat([torch.ones(len(self.eurosat)), aid])
        return torch.multinomial(weights, config.tiles_per_epoch, replacement=True)


@dataclass(frozen=True)
class View:
    """An epoch's pictures: ``side`` pixels wide, augmented with ``strength``."""

    side: int
    strength: float


@dataclass(frozen=True)
class Batch:
    """``pixels`` normalised [N, 3, S, S], ``target`` soft [N, 5], ``fine`` [N], and which rows are EuroSAT's."""

    pixels: Tensor
    target: Tensor
    fine: Tensor
    clear: Tensor
    from_eurosat: Tensor


def batches(data: Data, config: Config, epoch: int, view: View) -> Iterator[Batch]:
    """One epoch of augmented batches; the same for the same seed and epoch."""
    seed_everything(config.seed + epoch)
    for rows in torch.split(data.draws(config), config.batch):
        yield _batch(data, rows, view)


def _batch(data: Data, rows: Tensor, view: View) -> Batch:
    eurosat, aid, device = data.eurosat, data.aid, data.device
    is_eurosat = rows < len(eurosat)
    first, second = rows[is_eurosat], rows[~is_eurosat] - len(eurosat)
    pixels = torch.cat(
        [
            augment.view(eurosat.pixels[first].to(device), view.side, view.strength),
            augment.view(aid.pixels[second].to(device), view.side, view.strength),
        ]
    )
    cover = torch.cat([eurosat.cover[first], aid.cover[second]]).to(device)
    fine = torch.cat([eurosat.fine[first], aid.fine[second]]).to(device)
    cloudy = torch.zeros(len(rows), device=device)
    under = torch.rand(len(rows), device=device) < augment.CLOUD_SHARE
    if under.any():
        clouded = augment.clouds(pixels[under])
        pixels[under], cloudy[under] = clouded.pixels, augment.cloudiness(clouded.cover)
    for change in (augment.colour, augment.lower_resolution, augment.noise_and_sharpness):
        pixels = change(pixels, view.strength)
    target = F.one_hot(cover, len(CLASSES) + 1).float() * (1 - cloudy)[:, None]
    target[:, CLOUDY] += cloudy
    from_eurosat = torch.arange(len(rows), device=device) < len(first)
    return Batch(normalise(pixels), target, fine, 1 - cloudy, from_eurosat)


def normalise(pixels: Tensor) -> Tensor:
    """[0, 1] -> what the evaluation transform gives."""
    mean, std = (
        torch.tensor(values, device=pixels.device).view(1, 3, 1, 1)
        for values in (SATELLITE_TRANSFORM.mean, SATELLITE_TRANSFORM.std)
    )
    return ((pixels - mean) / std).contiguous(memory_format=torch.channels_last)


def loss_of(network: TrainingNet, batch: Batch, class_loss: float) -> Tensor:
    """Soft cross-entropy of the served head, and of each class head over its own clear tiles."""
    served, eurosat, aid = network(batch.pixels)
    loss = F.cross_entropy(served.float(), batch.target)
    for logits, rows in ((eurosat, batch.from_eurosat), (aid, ~batch.from_eurosat)):
        if rows.any():
            each = F.cross_entropy(logits[rows].float(), batch.fine[rows], reduction="none")
            loss = loss + class_loss * (each * batch.clear[rows]).sum() / len(batch.fine)
    return loss


def seed_everything(seed: int) -> None:
    """Seeds every generator that the recipe draws from."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
