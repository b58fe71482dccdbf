"""The evaluation transform: from a decoded picture to a network's input pixels."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image, Resampling

Triple = tuple[float, float, float]
Pixels = NDArray[np.uint8]
"""One picture, [crop, crop, 3]."""

IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)
EFFICIENTNET_LITE_MEAN: Triple = (127 / 255, 127 / 255, 127 / 255)
EFFICIENTNET_LITE_STD: Triple = (128 / 255, 128 / 255, 128 / 255)


@dataclass(frozen=True)
class EvalTransform:
    """Resize the shorter side, crop the centre, normalise: torchvision's ImageNet recipe as data.

    ``resize`` and ``crop`` are in pixels; ``mean`` and ``std`` are per channel, for values in [0, 1]. The network
    itself normalises, so that a picture takes one byte per value until then.
    """

    resize: int
    crop: int
    mean: Triple = IMAGENET_MEAN
    std: Triple = IMAGENET_STD

    def __call__(self, image: Image) -> Pixels:
        """Resize and crop an RGB picture in one step, which computes only the pixels inside the crop."""
        square = image.resize(
            (self.crop, self.crop), Resampling.BILINEAR, box=self._crop_box(image.width, image.height)
        )
        return np.asarray(square)

    def _crop_box(self, width: int, height: int) -> tuple[float, float, float, float]:
        """Return the crop in the picture's own coordinates, with torchvision's rounding of both steps."""
        shorter = min(width, height)
        wide, high = self.resize * width // shorter, self.resize * height // shorter
        left, top = round((wide - self.crop) / 2), round((high - self.crop) / 2)
        across, down = width / wide, height / high
        return left * across, top * down, (left + self.crop) * across, (top + self.crop) * down

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, for a file's metadata."""
        return asdict(self)

    @classmethod
    def from_dict(cls, numbers: dict[str, Any]) -> EvalTransform:
        """Return the transform from the result of ``as_dict``. Raises KeyError if a field is missing."""
        red, green, blue = (float(value) for value in numbers["mean"])
        std_red, std_green, std_blue = (float(value) for value in numbers["std"])
        return cls(
            resize=int(numbers["resize"]),
            crop=int(numbers["crop"]),
            mean=(red, green, blue),
            std=(std_red, std_green, std_blue),
        )


IMAGENET_TRANSFORM = EvalTransform(resize=256, crop=224)
"""The same as torchvision's ``ResNet18_Weights.IMAGENET1K_V1.transforms()``."""

SATELLITE_TRANSFORM = EvalTransform(resize=128, crop=128, mean=EFFICIENTNET_LITE_MEAN, std=EFFICIENTNET_LITE_STD)
"""The transform of the satellite network."""

EMBEDDING_TRANSFORM = EvalTransform(resize=128, crop=128)
"""The transform of the ResNet18 that learned satellite pictures from scratch, whose trunk embeds."""
