"""The picture networks: a trunk that makes features of pictures, and a linear layer on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torchvision.models import resnet18

from runners.models.vision import efficientnet
from runners.models.vision.efficientnet import EfficientNetLite0
from runners.models.vision.satellite import CLASSES
from runners.models.vision.transform import EvalTransform


class Mean(nn.Module):
    """Global average pooling as a single operation: [N, C, H, W] -> [N, C]."""

    def forward(self, activations: Tensor) -> Tensor:
        """Pool a batch."""
        return activations.mean((2, 3))


def resnet18_trunk() -> nn.Module:
    """Return an untrained ResNet18 without its classifier (He et al., "Deep Residual Learning", CVPR 2016)."""
    return _without_classifier(resnet18(weights=None))


def folded_resnet18() -> nn.Module:
    """Return a ResNet18 trunk with a bias in each convolution instead of batch normalisation."""
    network = _without_classifier(resnet18(weights=None, norm_layer=nn.Identity))
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.bias = nn.Parameter(torch.zeros(module.out_channels))
    return network


def _without_classifier(network: nn.Module) -> nn.Module:
    network.avgpool, network.fc = Mean(), nn.Identity()
    return network


@dataclass(frozen=True)
class Architecture:
    """A kind of trunk: normalised pixels [N, 3, H, W] -> features [N, ``features``], average-pooled."""

    trunk: Callable[[], nn.Module]
    """Makes an untrained one."""
    folded: Callable[[], nn.Module]
    """Makes one with normalisation folded into the convolutions, as model files have it."""
    features: int


ARCHITECTURES: Final[Mapping[str, Architecture]] = {
    "EfficientNet-Lite0": Architecture(
        EfficientNetLite0, lambda: EfficientNetLite0(norm=nn.Identity), efficientnet.FEATURES
    ),
    "ResNet18": Architecture(resnet18_trunk, folded_resnet18, 512),
}
"""Architectures by the name in a model file's facts."""


class SatelliteNet(nn.Module):
    """A trunk and a linear layer: [N, 3, H, W] -> logits [N, 5], the four land covers and "none of these".

    ``name`` is a name of ``ARCHITECTURES``.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        architecture = ARCHITECTURES[name]
        self.trunk = architecture.trunk()
        self.head = nn.Linear(architecture.features, len(CLASSES) + 1)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the logits of a batch."""
        logits: Tensor = self.head(self.trunk(pixels))
        return logits


class Folded(nn.Module):
    """The network of a model file: a trunk with normalisation folded in, and with a head if the file has one.

    Raises KeyError for a name that is not in ``ARCHITECTURES``.
    """

    def __init__(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        architecture = ARCHITECTURES[name]
        self.trunk = architecture.folded()
        head = tensors.get("head.weight")
        self.head = nn.Identity() if head is None else nn.Linear(architecture.features, len(head))
        self.load_state_dict({name: value for name, value in tensors.items() if name.startswith(("trunk.", "head."))})

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits, or features where there is no head."""
        output: Tensor = self.head(self.trunk(pixels))
        return output


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
