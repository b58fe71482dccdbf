"""EfficientNet-Lite0: [N, 3, S, S] -> features [N, 1280], average-pooled. S is a multiple of 32.

EfficientNet-B0 (Tan and Le, "EfficientNet", ICML 2019) as its authors changed it for small devices: without attention
over channels, and with activations that end at 6. Batch normalisation and padding are those of TensorFlow, in which the
published weights were trained.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from torch import Tensor, nn

FEATURES: Final = 1280
"""Dimension of the feature vector."""
STEM: Final = 32
"""Channels of the first convolution."""
EPSILON: Final = 1e-3
MOMENTUM: Final = 0.01
"""Of batch normalisation, as TensorFlow has them."""

Norm = Callable[[int], nn.Module]


@dataclass(frozen=True)
class Stage:
    """Bottlenecks in a row, of which the first has the stride; ``kernel`` and ``stride`` are in pixels."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    channels: int


STAGES: Final = (
    Stage(blocks=1, kernel=3, stride=1, expansion=1, channels=16),
    Stage(blocks=2, kernel=3, stride=2, expansion=6, channels=24),
    Stage(blocks=2, kernel=5, stride=2, expansion=6, channels=40),
    Stage(blocks=3, kernel=3, stride=2, expansion=6, channels=80),
    Stage(blocks=3, kernel=5, stride=1, expansion=6, channels=112),
    Stage(blocks=4, kernel=5, stride=2, expansion=6, channels=192),
    Stage(blocks=1, kernel=3, stride=1, expansion=6, channels=320),
)


def batch_norm(channels: int) -> nn.Module:
    """Return batch normalisation with TensorFlow's numbers."""
    return nn.BatchNorm2d(channels, eps=EPSILON, momentum=MOMENTUM)


class Convolution(nn.Sequential):
    """A convolution with its normalisation; a stride of 2 halves an even side, padded as TensorFlow pads it."""

    def __init__(self, shape: tuple[int, int], kernel: int, stride: int, groups: int, norm: Norm) -> None:
        super().__init__()
        before = (kernel - stride) // 2
        after = kernel - stride - before
        symmetric = before == after
        if not symmetric:
            self.add_module("pad", nn.ZeroPad2d((before, after, before, after)))
        normalise = norm(shape[1])
        has_bias = isinstance(normalise, nn.Identity)
        padding = before if symmetric else 0
        self.add_module("conv", nn.Conv2d(*shape, kernel, stride, padding, groups=groups, bias=has_bias))
        self.add_module("norm", normalise)


class Bottleneck(nn.Module):
    """An inverted bottleneck: widen, filter each channel, narrow, and add the input where the shapes are equal."""

    def __init__(self, channels: int, stage: Stage, stride: int, norm: Norm) -> None:
        super().__init__()
        wide = channels * stage.expansion
        layers: list[nn.Module] = []
        if stage.expansion > 1:
            layers += [Convolution((channels, wide), 1, 1, 1, norm), nn.ReLU6()]
        layers += [Convolution((wide, wide), stage.kernel, stride, wide, norm), nn.ReLU6()]
        layers += [Convolution((wide, stage.channels), 1, 1, 1, norm)]
        self.layers = nn.Sequential(*layers)
        self.adds = stride == 1 and channels == stage.channels

    def forward(self, values: Tensor) -> Tensor:
        """Run the block."""
        out: Tensor = self.layers(values)
        return values + out if self.adds else out


class EfficientNetLite0(nn.Module):
    """An untrained network: normalised pixels [N, 3, S, S] -> features [N, 1280].

    ``norm`` makes the normalisation of a number of channels; ``nn.Identity`` gives the convolutions biases instead.
    """

    def __init__(self, norm: Norm = batch_norm) -> None:
        super().__init__()
        self.stem = nn.Sequential(Convolution((3, STEM), 3, 2, 1, norm), nn.ReLU6())
        stages: list[nn.Module] = []
        channels = STEM
        for stage in STAGES:
            blocks: list[nn.Module] = []
            for number in range(stage.blocks):
                blocks.append(Bottleneck(channels, stage, stage.stride if number == 0 else 1, norm))
                channels = stage.channels
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*stages)
        self.last = nn.Sequential(Convolution((channels, FEATURES), 1, 1, 1, norm), nn.ReLU6())

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the features of normalised pixels."""
        values: Tensor = self.last(self.stages(self.stem(pixels)))
        return values.mean((2, 3))
