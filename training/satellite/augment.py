"""Random augmentation of batches of tiles: geometry, clouds, colour, resolution and JPEG, noise.

Every class goes through the same chain, so that the size, the sharpness and the compression of a picture say nothing
about its class. ``strength`` in [0, 1] scales how much a picture is changed. Unless stated otherwise, ``pixels`` are
float [N, 3, H, W] in [0, 1].
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from io import BytesIO

import numpy as np
import satellite_cloud_generator
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

CLOUD_SHARE = 0.22
"""Share of a batch that gets clouds."""
LOW_RESOLUTION_SHARE = 0.7
"""Share of a batch whose resolution is lowered."""
MIN_SIDE = 28
"""Smallest side of a picture whose resolution was lowered, in pixels."""
JPEG_SHARE = 0.4
"""Share of a batch that is compressed."""
CLEAR_BELOW, CLOUDY_ABOVE = 0.20, 0.45
"""Mean opacities of clouds; between them the label is soft."""


@dataclass(frozen=True)
class Clouded:
    """Pictures under clouds, and the mean opacity ``cover`` of the clouds over each, [N] in [0, 1]."""

    pixels: Tensor
    cover: Tensor


def random_view(tiles: Tensor, size: int, strength: float = 1.0) -> Tensor:
    """Zoom, rotate, flip and stretch each tile at random: uint8 [N, 3, S, S] -> float [N, 3, size, size] in [0, 1]."""
    count, device = len(tiles), tiles.device
    if not count:
        return torch.empty(0, 3, size, size, device=device)
    zoom = torch.empty(count, device=device).uniform_(strength * math.log(0.6), strength * math.log(1.1)).exp()
    stretch = torch.empty(count, device=device).uniform_(-0.15 * strength, 0.15 * strength).exp()
    turn = torch.randint(0, 4, (count,), device=device) * (math.pi / 2)
    turn = turn + torch.empty(count, device=device).uniform_(-0.2 * strength, 0.2 * strength)
    flip = torch.randint(0, 2, (count,), device=device) * 2.0 - 1.0
    cos, sin = turn.cos() * zoom, turn.sin() * zoom
    slack = (1 - zoom).clamp(min=0)
    shift = torch.empty(2, count, device=device).uniform_(-1, 1) * slack
    affine = torch.stack(
        [cos * flip * stretch, -sin, shift[0], sin * flip, cos / stretch, shift[1]],
        dim=1,
    ).view(count, 2, 3)
    grid = F.affine_grid(affine, [count, 3, size, size], align_corners=False)
    pixels = tiles.float().div_(255)
    if tiles.shape[-1] > size:  # grid_sample does not filter: shrink first where it would alias
        pixels = F.interpolate(pixels, size=[size, size], mode="bilinear", antialias=True)
    return F.grid_sample(pixels, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def lower_resolution(pixels: Tensor, strength: float = 1.0) -> Tensor:
    """Shrink a part of the batch to a random side, compress some of it, and enlarge it again."""
    size = pixels.shape[-1]
    out = pixels.clone()
    for rows in torch.randperm(len(pixels)).chunk(8):
        if random.random() > LOW_RESOLUTION_SHARE:
            out[rows] = jpeg(pixels[rows])
            continue
        side = round(math.exp(random.uniform(math.log(MIN_SIDE), math.log(size))))
        # Most sources have the tiles' own 64 pixels; the smallest pictures say little and are rare at a low strength.
        side = side if random.random() < strength else random.randint(min(56, size), min(72, size))
        small = F.interpolate(pixels[rows], size=[side, side], mode="bilinear", antialias=random.random() < 0.8)
        mode = random.choice(["bilinear", "bilinear", "bicubic", "nearest"])
        out[rows] = F.interpolate(jpeg(small.clamp(0, 1)), size=[size, size], mode=mode)
    return out.clamp_(0, 1)


def clouds(pixels: Tensor) -> Clouded:
    """Lay clouds of random cover on every picture (Czerkawski et al., Remote Sensing 15(17):4138, 2023)."""
    ground = blur(pixels) if random.random() < 0.6 else pixels
    lowest = random.choice([(0.0, 0.1), (0.0, 0.6), (0.3, 0.9)])
    under, opacity = satellite_cloud_generator.add_cloud(
        ground.clone(),
        min_lvl=lowest,
        max_lvl=random.choice([(0.6, 1.0), (0.95, 1.0)]),
        clear_threshold=random.choice([0.0, (0.0, 0.25)]),
        decay_factor=random.uniform(0.7, 1.6),
        locality_degree=random.choice([1, 1, 1, 2, 3]),
        channel_offset=random.choice([0, 0, 1, 2]),
        cloud_color=random.random() < 0.7,
        blur_scaling=0.0,  # its local blur takes 40 ms a picture: the ground is blurred above instead
        return_cloud=True,
    )
    # Real clouds are seldom pure white: self-shadowing greys them and air light makes them bluish.
    count = len(pixels)
    device = pixels.device
    shade = torch.empty(count, 1, 1, 1, device=device).uniform_(0.55, 1.0)
    blue = torch.tensor([0.18, 0.08, 0.0], device=device).view(1, 3, 1, 1)
    tint = 1 - torch.rand(count, 1, 1, 1, device=device) * blue
    tinted = under * (1 - opacity * (1 - shade * tint))
    if random.random() < 0.5:  # the generator's clouds are all of one size: enlarge some
        tinted, opacity = random_crop(tinted, opacity)
    return Clouded(tinted.clamp(0, 1), opacity.mean(dim=(1, 2, 3)).clamp(0, 1))


def random_crop(*pictures: Tensor) -> list[Tensor]:
    """Crop the same random window, 30 to 80 % of the side, from each batch, and enlarge it to the old size."""
    size = pictures[0].shape[-1]
    side = int(size * random.uniform(0.3, 0.8))
    top, left = random.randint(0, size - side), random.randint(0, size - side)
    windows = [picture[..., top : top + side, left : left + side] for picture in pictures]
    return [F.interpolate(window, size=[size, size], mode="bilinear") for window in windows]


def cloudiness(cover: Tensor) -> Tensor:
    """Return the weight of "cloudy" in the soft label, [N] in [0, 1], from the mean opacity [N]."""
    return ((cover - CLEAR_BELOW) / (CLOUDY_ABOVE - CLEAR_BELOW)).clamp(0, 1)


def colour(pixels: Tensor, strength: float = 1.0) -> Tensor:
    """Change brightness, contrast, saturation, gamma and white balance of each picture at random."""

    def factor(spread: float, channels: int = 1) -> Tensor:
        log_factor = torch.empty(len(pixels), channels, 1, 1, device=pixels.device)
        return log_factor.uniform_(-spread * strength, spread * strength).exp()

    pixels = pixels.clamp(1e-4, 1).pow(factor(0.25)) * factor(0.3) * factor(0.1, channels=3)
    grey = pixels.mean(dim=1, keepdim=True)
    pixels = grey + (pixels - grey) * factor(0.4)
    level = pixels.mean(dim=(1, 2, 3), keepdim=True)
    return (level + (pixels - level) * factor(0.3)).clamp_(0, 1)


def noise_and_sharpness(pixels: Tensor, strength: float = 1.0) -> Tensor:
    """Add sensor noise to some pictures, and sharpen or blur others."""

    def amount(low: float, high: float) -> Tensor:
        shape = (len(pixels), 1, 1, 1)
        chosen = torch.rand(shape, device=pixels.device) < 0.35 * strength
        return torch.empty(shape, device=pixels.device).uniform_(low, high) * chosen

    sharpened = pixels + amount(-0.8, 1.5) * (pixels - blur(pixels))
    return (sharpened + amount(0, 0.04) * torch.randn_like(pixels)).clamp_(0, 1)


def blur(pixels: Tensor) -> Tensor:
    """Blur by two passes of a 3x3 mean: close to a Gaussian of 1.2 pixels, and thirty times as fast."""
    for _ in range(2):
        pixels = F.avg_pool2d(pixels, 3, stride=1, padding=1, count_include_pad=False)
    return pixels


def jpeg(pixels: Tensor) -> Tensor:
    """Compress a part of the batch as JPEG with a quality of 30 to 95."""
    rows = (torch.rand(len(pixels)) < JPEG_SHARE).nonzero().flatten().tolist()
    out = pixels.clone()
    for row in rows:
        out[row] = _recompressed(pixels[row].cpu(), random.randint(30, 95)).to(pixels.device)
    return out


def _recompressed(pixels: Tensor, quality: int) -> Tensor:
    file = BytesIO()
    Image.fromarray(pixels.mul(255).byte().permute(1, 2, 0).numpy()).save(file, "JPEG", quality=quality)
    with Image.open(file) as image:
        return torch.from_numpy(np.array(image)).permute(2, 0, 1).float().div_(255)
