"""Satellite tiles in memory: EuroSAT and AID folders as uint8 tensors with their class names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from runners.models.vision.satellite import CLASSES, UNKNOWN

COVER_OF: dict[tuple[str, str], str] = {
    ("eurosat", "Forest"): "forest",
    ("eurosat", "SeaLake"): "sea",
    ("aid", "Forest"): "forest",
    ("aid", "Desert"): "desert",
    ("aid", "BareLand"): "desert",
}
"""Cover of each class folder that shows one; all others are examples to reject. Clouds are simulated."""


@dataclass(frozen=True)
class Tiles:
    """A set of square tiles with their labels."""

    source: str
    names: tuple[str, ...]
    """Names of the set's own classes."""
    pixels: Tensor
    """uint8 [N, 3, S, S]."""
    fine: Tensor
    """Index into ``names``, [N]."""
    cover: Tensor
    """Output of the served head, [N] in 0..4."""

    def __len__(self) -> int:
        return len(self.pixels)

    def counts(self) -> dict[str, int]:
        """Return the number of tiles of each class."""
        return {name: int((self.fine == index).sum()) for index, name in enumerate(self.names)}


def read(root: Path, source: str, split: str) -> Tiles:
    """Read ``root/source/split/CLASS/*``; tiles are resized to the size of the first one.

    Raises FileNotFoundError with where to get the data when there is no tile.
    """
    folder = root / source / split
    names = tuple(sorted(entry.name for entry in folder.iterdir() if entry.is_dir())) if folder.is_dir() else ()
    paths = [(path, index) for index, name in enumerate(names) for path in sorted((folder / name).iterdir())]
    if not paths:
        raise FileNotFoundError(
            f"no tiles under {folder}. EuroSAT RGB: github.com/phelber/EuroSAT. AID: captain-whu.github.io/AID. "
            f"Lay them out as DATA/{source}/{{train,val}}/CLASS/*.jpg"
        )
    with Image.open(paths[0][0]) as first:
        size = first.size
    pixels = np.empty((len(paths), size[1], size[0], 3), dtype=np.uint8)
    for row, (path, _) in enumerate(tqdm(paths, desc=f"read {source}/{split}", unit="tile", leave=False)):
        with Image.open(path) as image:
            tile = image.convert("RGB")
            pixels[row] = np.asarray(tile if tile.size == size else tile.resize(size, Image.Resampling.BICUBIC))
    fine = torch.tensor([index for _, index in paths])
    covers = torch.tensor([_cover(source, name) for name in names])
    return Tiles(source, names, torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(), fine, covers[fine])


def count(root: Path, source: str, split: str) -> dict[str, int]:
    """Count the tiles of each class folder, without reading them."""
    folder = root / source / split
    return {entry.name: len(list(entry.iterdir())) for entry in sorted(folder.iterdir()) if entry.is_dir()}


def _cover(source: str, name: str) -> int:
    cover = COVER_OF.get((source, name))
    return UNKNOWN if cover is None else CLASSES.index(cover)
