"""The last step of the recipe: refits the served head on the frozen trunk with pictures as users send them.

The trunk learns best from views far from the tiles, its classifier from pictures like those it will judge (Kang et al.,
"Decoupling Representation and Classifier", ICLR 2020): the tiles as they are, rescaled, recompressed, and under clouds.
"""

from __future__ import annotations

import copy
import random

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from runners.engines.torch_gpu import TorchEngine
from runners.models.vision.networks import SatelliteNet, Served
from runners.models.vision.satellite import CLASSES, UNKNOWN
from runners.models.vision.transform import SATELLITE_TRANSFORM
from training.satellite import augment, measures
from training.satellite.measures import Scenes
from training.satellite.recipe import CLOUDY, DESERT
from training.satellite.tiles import Tiles

SIDES = (32, 512)  # pixels
QUALITIES = (35, 95)
CLOUDED = 1500  # tiles of each set
RARE_COPIES = 3  # changed copies of a desert tile
DECAY = 1e-5
STEPS = 150
REFITTED = 0.7  # of the blend; on validation tiles the blend errs less than either head


def refit(network: SatelliteNet, sets: list[Tiles], seed: int) -> None:
    """Changes the head's weights. The loss is that of the five outputs and, for the four covers, among themselves."""
    random.seed(seed)
    torch.manual_seed(seed)
    seen = Scenes([], torch.empty(0, dtype=torch.long))
    for one in sets:
        seen = seen + _plain(one) + _changed(one) + _clouded(one)
    trunk = TorchEngine(Served(network.trunk, SATELLITE_TRANSFORM), {})
    features = measures.outputs(trunk, SATELLITE_TRANSFORM, seen.pictures, "features")
    _fit(network, features, seen.truth)


def _plain(tiles: Tiles) -> Scenes:
    return Scenes([measures.picture(tile) for tile in tiles.pixels], tiles.cover)


def _changed(one: Tiles) -> Scenes:
    copies = torch.ones(len(one), dtype=torch.long)
    copies[one.cover == DESERT] = RARE_COPIES
    copies[(one.cover == UNKNOWN) & (torch.rand(len(one)) < 0.6)] = 0
    rows = torch.arange(len(one)).repeat_interleave(copies)
    return Scenes([_change(measures.picture(one.pixels[row])) for row in rows.tolist()], one.cover[rows])


def _change(picture: Image.Image) -> Image.Image:
    """Rescaled, recompressed, or both."""
    kind = random.choice(("rescaled", "recompressed", "both"))
    if kind != "recompressed":
        low, high = SIDES
        picture = measures.rescaled(round(low * (high / low) ** random.random()))(picture)
    return picture if kind == "rescaled" else measures.recompressed(random.randint(*QUALITIES))(picture)


def _clouded(one: Tiles) -> Scenes:
    """Tiles under clouds; a picture whose label would be shared is left out."""
    pictures: list[Image.Image] = []
    truth: list[Tensor] = []
    for rows in torch.randperm(len(one))[:CLOUDED].split(50):  # type: ignore[no-untyped-call]
        clouded = augment.clouds(one.pixels[rows].float().div(255))
        share = augment.cloudiness(clouded.cover)
        decided = (share == 0) | (share == 1)
        pictures += [measures.picture(tile.mul(255).byte()) for tile in clouded.pixels[decided]]
        truth.append(torch.where(share == 1, CLOUDY, one.cover[rows])[decided])
    return Scenes(pictures, torch.cat(truth))


def _fit(network: SatelliteNet, features: Tensor, truth: Tensor) -> None:
    # Rare kinds of scene count more, but not as much as the frequent ones together.
    frequency = torch.bincount(truth, minlength=len(CLASSES) + 1).float()
    weight = frequency[truth].rsqrt()
    weight = weight / weight.sum()
    own = truth != UNKNOWN
    head, learned = network.head, copy.deepcopy(network.head)
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=STEPS, history_size=20, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        logits = head(features)
        loss = (F.cross_entropy(logits, truth, reduction="none") * weight).sum()
        among = F.cross_entropy(logits[own, :UNKNOWN], truth[own], reduction="none")
        loss = loss + (among * weight[own]).sum() + DECAY * head.weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    _blend(head, learned, features)


@torch.no_grad()
def _blend(head: nn.Linear, learned: nn.Linear, features: Tensor) -> None:
    """Mixes the learned head into the refitted one, scaled to logits of the same spread."""
    scale = head(features).std() / learned(features).std()
    for mixed, old in ((head.weight, learned.weight), (head.bias, learned.bias)):
        mixed.mul_(REFITTED).add_(old * scale, alpha=1 - REFITTED)
