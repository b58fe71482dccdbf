"""The networks: ResNet18 as a trunk (He et al., "Deep Residual Learning", CVPR 2016), and what is built on it."""

from __future__ import annotations

from typing import Final

from torch import Tensor, nn
from torchvision.models import resnet18

from runners.models.satellite import CLASSES

FEATURES: Final = 512
"""How long the trunk's feature vector is."""


def trunk() -> nn.Module:
    """ResNet18 without its classifier: [N, 3, H, W] -> [N, 512], globally average-pooled, untrained."""
    network: nn.Module = resnet18(weights=None)
    network.fc = nn.Identity()
    return network


class Embedder(nn.Module):
    """A trunk whose features have length one: [N, 3, H, W] -> float32 [N, 512] with an L2 norm of 1."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = trunk()

    def forward(self, pixels: Tensor) -> Tensor:
        """Embeds a batch."""
        features: Tensor = self.trunk(pixels)
        # The norm is taken in float32: in bfloat16 its rounding alone would move every vector.
        return nn.functional.normalize(features.float(), dim=1)


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
