"""The picture networks, on a ResNet18 trunk (He et al., "Deep Residual Learning", CVPR 2016)."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torchvision.models import resnet18

from runners.models.vision.satellite import CLASSES
from runners.models.vision.transform import EvalTransform

FEATURES: Final = 512
"""Dimension of the trunk's feature vector."""


class Mean(nn.Module):
    """Global average pooling as a single operation: [N, C, H, W] -> [N, C]."""

    def forward(self, activations: Tensor) -> Tensor:
        """Pool a batch."""
        return activations.mean((2, 3))


def trunk() -> nn.Module:
    """Return an untrained ResNet18 without its classifier: [N, 3, H, W] -> [N, 512], average-pooled."""
    network: nn.Module = resnet18(weights=None)
    network.avgpool = Mean()
    network.fc = nn.Identity()
    return network


class SatelliteNet(nn.Module):
    """A trunk and a linear layer: [N, 3, H, W] -> logits [N, 5], the four land covers and "none of these"."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = trunk()
        self.head = nn.Linear(FEATURES, len(CLASSES) + 1)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the logits of a batch."""
        logits: Tensor = self.head(self.trunk(pixels))
        return logits


class Served(nn.Module):
    """A network with its input normalisation: decoded pixels, uint8 [N, H, W, 3], to the network's output."""

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, network: nn.Module, transform: EvalTransform) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("pixel_mean", torch.tensor(transform.mean)[:, None, None] * 255)
        self.register_buffer("pixel_std", torch.tensor(transform.std)[:, None, None] * 255)

    def forward(self, pixels: Tensor) -> Tensor:
        """Normalise a batch and run the network."""
        dtype = next(self.network.parameters()).dtype
        output: Tensor = self.network(self.normalised(pixels).to(dtype))
        return output

    def normalised(self, pixels: Tensor) -> Tensor:
        """Normalise pixels, uint8 [N, H, W, 3] -> float32 [N, 3, H, W], channels last in memory."""
        # Permuted first: CPUs normalise planes of one channel several times as fast.
        planes = pixels.permute(0, 3, 1, 2).float()
        values: Tensor = (planes - self.pixel_mean) / self.pixel_std
        return values
