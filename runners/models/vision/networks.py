"""The networks: ResNet18 as a trunk (He et al., "Deep Residual Learning", CVPR 2016), and what is built on it."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torchvision.models import resnet18

from runners.models.vision.satellite import CLASSES
from runners.models.vision.transform import EvalTransform

FEATURES: Final = 512
"""How long the trunk's feature vector is."""


class Mean(nn.Module):
    """The mean over a picture: [N, C, H, W] -> [N, C]; torchvision's average pooling, as one plain operation."""

    def forward(self, activations: Tensor) -> Tensor:
        """Pools a batch."""
        return activations.mean((2, 3))


def trunk() -> nn.Module:
    """ResNet18 without its classifier: [N, 3, H, W] -> [N, 512], globally average-pooled, untrained."""
    network: nn.Module = resnet18(weights=None)
    network.avgpool = Mean()
    network.fc = nn.Identity()
    return network


class SatelliteNet(nn.Module):
    """A trunk and one linear layer: [N, 3, H, W] -> logits [N, 5], the four covers and "none of these"."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = trunk()
        self.head = nn.Linear(FEATURES, len(CLASSES) + 1)

    def forward(self, pixels: Tensor) -> Tensor:
        """Judges a batch."""
        logits: Tensor = self.head(self.trunk(pixels))
        return logits


class Served(nn.Module):
    """A network as it is served: pixels as they were decoded, uint8 [N, H, W, 3], through the transform's numbers."""

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, network: nn.Module, transform: EvalTransform) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("pixel_mean", torch.tensor(transform.mean)[:, None, None] * 255)
        self.register_buffer("pixel_std", torch.tensor(transform.std)[:, None, None] * 255)

    def forward(self, pixels: Tensor) -> Tensor:
        """Normalises a batch and runs the network over it."""
        dtype = next(self.network.parameters()).dtype
        output: Tensor = self.network(self.normalised(pixels).to(dtype))
        return output

    def normalised(self, pixels: Tensor) -> Tensor:
        """uint8 [N, H, W, 3] -> float32 [N, 3, H, W], channels last in memory."""
        # Turned first: over planes of one channel each, CPUs normalise several times as fast.
        planes = pixels.permute(0, 3, 1, 2).float()
        values: Tensor = (planes - self.pixel_mean) / self.pixel_std
        return values
