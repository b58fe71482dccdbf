"""The evaluation transform: a decoded picture to the tensor a network was trained to see."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

Triple = tuple[float, float, float]

LONGEST = 8
"""How many times its width a picture's middle may be long; the rest would be cropped after resizing anyway."""

IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class EvalTransform:
    """Resize the shorter side, crop the centre, normalise: torchvision's ImageNet recipe, with its numbers as data.

    ``resize`` and ``crop`` are in pixels; ``mean`` and ``std`` are per channel of values in [0, 1].
    """

    resize: int
    crop: int
    mean: Triple = IMAGENET_MEAN
    std: Triple = IMAGENET_STD

    def __call__(self, image: Image) -> Tensor:
        """An RGB picture of any size -> float32 tensor of shape [3, crop, crop]."""
        resized = F.resize(_compact(image), [self.resize], interpolation=InterpolationMode.BILINEAR, antialias=True)
        cropped = F.center_crop(resized, [self.crop])
        pixels = F.convert_image_dtype(F.pil_to_tensor(cropped), torch.float32)
        normalised: Tensor = F.normalize(pixels, mean=list(self.mean), std=list(self.std))
        return normalised

    def as_dict(self) -> dict[str, Any]:
        """The numbers, for a checkpoint's metadata."""
        return asdict(self)

    @classmethod
    def from_dict(cls, numbers: dict[str, Any]) -> EvalTransform:
        """The transform that ``as_dict`` described. Raises KeyError when a number is missing."""
        red, green, blue = (float(value) for value in numbers["mean"])
        std_red, std_green, std_blue = (float(value) for value in numbers["std"])
        return cls(
            resize=int(numbers["resize"]),
            crop=int(numbers["crop"]),
            mean=(red, green, blue),
            std=(std_red, std_green, std_blue),
        )


def _compact(image: Image) -> Image:
    """The middle of a strip: 10,000 x 1 pixels would become a gigabyte when its shorter side is enlarged."""
    longest = LONGEST * min(image.size)
    if max(image.size) <= longest:
        return image
    compact: Image = F.center_crop(image, [min(image.height, longest), min(image.width, longest)])
    return compact


IMAGENET_TRANSFORM = EvalTransform(resize=256, crop=224)
"""What torchvision's ``ResNet18_Weights.IMAGENET1K_V1.transforms()`` does."""

SATELLITE_TRANSFORM = EvalTransform(resize=128, crop=128)
"""What the satellite network and its trunk were trained for."""
