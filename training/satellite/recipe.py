"""The parts of the recipe: hyperparameters, the network with three heads, augmented batches, and the loss."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from runners.models.vision.efficientnet import EfficientNetLite0
from runners.models.vision.networks import ARCHITECTURES, SatelliteNet
from runners.models.vision.satellite import CLASSES
from runners.models.vision.transform import EMBEDDING_TRANSFORM, SATELLITE_TRANSFORM, EvalTransform
from training.satellite import augment, pretrained
from training.satellite.tiles import Tiles

CLOUDY = CLASSES.index("cloudy")
DESERT = CLASSES.index("desert")


@dataclass(frozen=True)
class Phase:
    """A part of a run with a one-cycle learning-rate schedule of its own."""

    epochs: int
    rate: float  # maximum learning rate
    sides: tuple[int, ...]  # pixels, over equal parts of the phase
    strength: float  # of the augmentation, in [0, 1]
    class_loss: float  # weight of the loss of the two auxiliary heads


@dataclass(frozen=True)
class Config:
    """The hyperparameters of a run; they are written into the checkpoint."""

    network: str  # a name in runners.models.vision.networks.ARCHITECTURES
    phases: tuple[Phase, ...]
    """Strong augmentation teaches invariance; mild augmentation, afterwards, the true colours and textures."""
    tiles_per_epoch: int
    transform: EvalTransform
    precision: str = "auto"  # in which the network is served
    pretrained: bool = False  # from ImageNet's weights, which EfficientNet-Lite0 has
    frozen_stages: int = 0  # of EfficientNet-Lite0: with the stem, they stay as ImageNet made them
    seed: int = 7
    batch: int = 96
    momentum: float = 0.9
    weight_decay: float = 5e-4
    average: float = 0.998  # decay of the exponential moving average of the weights
    desert_weight: float = 5.0  # sampling weight of a desert tile, of which there are 414; of a EuroSAT tile it is 1
    aid_weight: float = 2.5  # sampling weight of AID's other tiles


FINE_TUNED: Final = Config(
    network="EfficientNet-Lite0",
    phases=(
        Phase(epochs=8, rate=0.04, sides=(96,), strength=0.9, class_loss=0.5),
        Phase(epochs=5, rate=0.02, sides=(128,), strength=0.3, class_loss=1.0),
    ),
    tiles_per_epoch=12_000,
    transform=SATELLITE_TRANSFORM,
    precision="float32",  # in bfloat16, depthwise convolutions change labels near the threshold
    pretrained=True,
    frozen_stages=3,
    weight_decay=1e-4,
)
"""The classifier's: ImageNet's weights need fewer epochs, and know more than land."""
FROM_SCRATCH: Final = Config(
    network="ResNet18",
    phases=(
        Phase(epochs=18, rate=0.12, sides=(96, 96, 96, 128, 128), strength=1.0, class_loss=0.5),
        Phase(epochs=7, rate=0.03, sides=(128,), strength=0.3, class_loss=1.0),
    ),
    tiles_per_epoch=24_000,
    transform=EMBEDDING_TRANSFORM,
)
"""The embedding's, whose contract names the network."""


class TrainingNet(nn.Module):
    """The served network with two auxiliary heads, which only training needs.

    Raises ValueError for weights or stages that the network does not have.
    """

    def __init__(self, config: Config, eurosat_classes: int, aid_classes: int) -> None:
        super().__init__()
        self.served = SatelliteNet(config.network)
        trunk = self.served.trunk
        self._frozen: list[nn.Module] = []
        if isinstance(trunk, EfficientNetLite0):
            if config.pretrained:
                pretrained.load(trunk)
            self._frozen = [trunk.stem, *trunk.stages[: config.frozen_stages]] if config.frozen_stages else []
        elif config.pretrained or config.frozen_stages:
            raise ValueError(f"{config.network} has no weights of ImageNet, and no stages to freeze")
        for part in self._frozen:
            part.requires_grad_(requires_grad=False)
        features = ARCHITECTURES[config.network].features
        self.eurosat = nn.Linear(features, eurosat_classes)
        self.aid = nn.Linear(features, aid_classes)

    def train(self, mode: bool = True) -> TrainingNet:
        """Set the mode; what is frozen keeps the means and variances of its normalisations."""
        super().train(mode)
        for part in self._frozen:
            part.eval()
        return self

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits [N, 5], [N, EuroSAT classes] and [N, AID classes] of pixels [N, 3, S, S]."""
        features = self.served.trunk(pixels)
        return self.served.head(features), self.eurosat(features), self.aid(features)


@dataclass(frozen=True)
class Data:
    """The two training sets, and the device on which batches are augmented."""

    eurosat: Tiles
    aid: Tiles
    device: torch.device

    def draws(self, config: Config) -> Tensor:
        """Draw the row numbers of an epoch, of EuroSAT and then AID; rare scenes are drawn more often."""
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
    """Augmented tiles of both sets with their labels."""

    pixels: Tensor
    """Normalised, [N, 3, S, S]."""
    target: Tensor
    """Soft labels, [N, 5]."""
    fine: Tensor
    """Class of each tile within its set, [N]."""
    clear: Tensor
    """Weight of everything but "cloudy" in the soft label, [N]."""
    from_eurosat: Tensor
    """Mask of EuroSAT's rows, [N]."""


def batches(data: Data, config: Config, epoch: int, view: View) -> Iterator[Batch]:
    """Yield one epoch of augmented batches; they are the same for the same seed and epoch."""
    seed_everything(config.seed + epoch)
    for rows in torch.split(data.draws(config), config.batch):
        yield _batch(data, rows, view, config.transform)


def _batch(data: Data, rows: Tensor, view: View, transform: EvalTransform) -> Batch:
    eurosat, aid, device = data.eurosat, data.aid, data.device
    is_eurosat = rows < len(eurosat)
    first, second = rows[is_eurosat], rows[~is_eurosat] - len(eurosat)
    pixels = torch.cat(
        [
            augment.random_view(eurosat.pixels[first].to(device), view.side, view.strength),
            augment.random_view(aid.pixels[second].to(device), view.side, view.strength),
        ]
    )
    cover = torch.cat([eurosat.cover[first], aid.cover[second]]).to(device)
    fine = torch.cat([eurosat.fine[first], aid.fine[second]]).to(device)
    cloudy = torch.zeros(len(rows), device=device)
    is_clouded = torch.rand(len(rows), device=device) < augment.CLOUD_SHARE
    if is_clouded.any():
        clouded = augment.clouds(pixels[is_clouded])
        pixels[is_clouded], cloudy[is_clouded] = clouded.pixels, augment.cloudiness(clouded.cover)
    for change in (augment.colour, augment.lower_resolution, augment.noise_and_sharpness):
        pixels = change(pixels, view.strength)
    target = F.one_hot(cover, len(CLASSES) + 1).float() * (1 - cloudy)[:, None]
    target[:, CLOUDY] += cloudy
    from_eurosat = torch.arange(len(rows), device=device) < len(first)
    return Batch(normalise(pixels, transform), target, fine, 1 - cloudy, from_eurosat)


def normalise(pixels: Tensor, transform: EvalTransform) -> Tensor:
    """Normalise pixels in [0, 1] as the evaluation transform does."""
    mean, std = (
        torch.tensor(values, device=pixels.device).view(1, 3, 1, 1) for values in (transform.mean, transform.std)
    )
    return ((pixels - mean) / std).contiguous(memory_format=torch.channels_last)


def training_loss(network: TrainingNet, batch: Batch, class_loss: float) -> Tensor:
    """Soft cross-entropy of the served head, and of each auxiliary head over its own set's clear tiles."""
    served, eurosat, aid = network(batch.pixels)
    loss = F.cross_entropy(served.float(), batch.target)
    for logits, rows in ((eurosat, batch.from_eurosat), (aid, ~batch.from_eurosat)):
        if rows.any():
            losses = F.cross_entropy(logits[rows].float(), batch.fine[rows], reduction="none")
            loss = loss + class_loss * (losses * batch.clear[rows]).sum() / len(batch.fine)
    return loss


def seed_everything(seed: int) -> None:
    """Seed every random generator that the recipe uses."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
