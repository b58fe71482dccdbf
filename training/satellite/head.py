"""The served head, fitted on the frozen trunk's features of pictures like those that users send.

The trunk learns best from strongly augmented tiles, its classifier from realistic pictures (Kang et al., "Decoupling
Representation and Classifier", ICLR 2020): tiles without changes, rescaled, recompressed, and under clouds.
"""

from __future__ import annotations

import random

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from runners.models.vision.satellite import CLASSES, UNKNOWN
from training.satellite import augment, measures
from training.satellite.measures import Scenes
from training.satellite.recipe import CLOUDY, DESERT
from training.satellite.tiles import Tiles

SIDES = (32, 512)
"""Range of the sides of rescaled pictures, in pixels."""
QUALITIES = (35, 95)
"""Range of the JPEG qualities of recompressed pictures."""
CLOUDED_TILES = 1500
"""Tiles of each set that are put under clouds."""
DESERT_COPIES = 3
"""Changed copies of each desert tile."""
WEIGHT_DECAY = 1e-5
MAX_STEPS = 200


def scenes(sets: list[Tiles], seed: int) -> Scenes:
    """Return the tiles without changes, changed as users change pictures, and under clouds."""
    random.seed(seed)
    torch.manual_seed(seed)
    found = Scenes([], torch.empty(0, dtype=torch.long))
    for tiles in sets:
        found = found + _plain(tiles) + _changed(tiles) + _clouded(tiles)
    return found


def _plain(tiles: Tiles) -> Scenes:
    return Scenes([measures.picture(tile) for tile in tiles.pixels], tiles.cover)


def _changed(tiles: Tiles) -> Scenes:
    copies = torch.ones(len(tiles), dtype=torch.long)
    copies[tiles.cover == DESERT] = DESERT_COPIES
    copies[(tiles.cover == UNKNOWN) & (torch.rand(len(tiles)) < 0.6)] = 0
    rows = torch.arange(len(tiles)).repeat_interleave(copies)
    return Scenes([change(measures.picture(tiles.pixels[row])) for row in rows.tolist()], tiles.cover[rows])


def change(picture: Image.Image) -> Image.Image:
    """Rescale or recompress a picture, or both."""
    kind = random.choice(("rescaled", "recompressed", "both"))
    if kind != "recompressed":
        low, high = SIDES
        picture = measures.rescaled(round(low * (high / low) ** random.random()))(picture)
    return picture if kind == "rescaled" else measures.recompressed(random.randint(*QUALITIES))(picture)


def _clouded(tiles: Tiles) -> Scenes:
    """Tiles under clouds; pictures with a soft label are left out."""
    pictures: list[Image.Image] = []
    truth: list[Tensor] = []
    for rows in torch.randperm(len(tiles))[:CLOUDED_TILES].split(50):  # type: ignore[no-untyped-call]
        clouded = augment.clouds(tiles.pixels[rows].float().div(255))
        share = augment.cloudiness(clouded.cover)
        decided = (share == 0) | (share == 1)
        pictures += [measures.picture(tile.mul(255).byte()) for tile in clouded.pixels[decided]]
        truth.append(torch.where(share == 1, CLOUDY, tiles.cover[rows])[decided])
    return Scenes(pictures, torch.cat(truth))


def fit(features: Tensor, truth: Tensor, weight: Tensor) -> nn.Linear:
    """Fit a head from nothing, by cross-entropy over all five outputs and over the four covers alone.

    features [N, F], truth [N] in 0..4, weight [N]: what a picture counts, beside the inverse square root of its class's
    frequency.
    """
    frequency = torch.bincount(truth, minlength=len(CLASSES) + 1).float()
    share = frequency[truth].rsqrt() * weight
    share = share / share.sum()
    known = truth != UNKNOWN
    head = nn.Linear(features.shape[1], len(CLASSES) + 1)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=MAX_STEPS, history_size=20, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        logits = head(features)
        loss = (F.cross_entropy(logits, truth, reduction="none") * share).sum()
        known_loss = F.cross_entropy(logits[known, :UNKNOWN], truth[known], reduction="none")
        loss = loss + (known_loss * share[known]).sum() + WEIGHT_DECAY * head.weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return head.requires_grad_(requires_grad=False)
