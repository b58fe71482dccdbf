"""Pictures beside the tiles: real clouds and deserts of several sensors, and pictures that show none of the four."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from PIL import Image
from torch import Tensor

from runners.images import decode
from runners.models.vision.satellite import CLASSES, UNKNOWN
from training.satellite import drawn

REAL: Final = "real "
"""Beginning of the groups of real pictures."""
DRAWN: Final = 300
"""Pictures of each drawn kind."""
SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp", ".gif"})
REFUSED: Final = frozenset({"snow"})
"""Classes of real pictures that are none of the four."""
SOURCES: Final = """Real clouds and deserts are cut from pictures of CloudSEN12 (Aybar et al. 2022), RICE (Lin et al.
2019) and NASA's MODIS; lay them out as DATA/real/train/{cloudy,desert,snow}/*.jpg, with DATA/real/train/index.csv:
file,class,sensor,scene. Photographs: BSDS500 (Arbelaez et al. 2011, https://github.com/BIDS/BSDS500); any pictures
below --foreign will do that show none of the four."""


@dataclass(frozen=True)
class Pictures:
    """Pictures with the right output, [N] in 0..4, where each comes from, and what it must not be parted from."""

    pictures: list[Image.Image]
    truth: Tensor
    sources: list[str]
    groups: list[str]

    def __len__(self) -> int:
        return len(self.pictures)

    def __add__(self, other: Pictures) -> Pictures:
        return Pictures(
            self.pictures + other.pictures,
            torch.cat([self.truth, other.truth]),
            self.sources + other.sources,
            self.groups + other.groups,
        )

    def counts(self) -> dict[str, int]:
        """Return the number of pictures of each source and output."""
        names = [f"{source}: {(*CLASSES, 'none')[cover]}" for source, cover in self._labels()]
        return {name: names.count(name) for name in sorted(set(names))}

    def _labels(self) -> Iterator[tuple[str, int]]:
        return zip(self.sources, self.truth.tolist(), strict=True)


def real(data: Path) -> Pictures:
    """Read ``data/real``: the tiles of one scene are one group.

    Raises FileNotFoundError with where to get the data, and ValueError for a class that is not known.
    """
    folder = data / "real" / "train"
    index = next((path for path in (folder / "index.csv", data / "real" / "index.csv") if path.is_file()), None)
    if index is None:
        raise FileNotFoundError(f"no index.csv in {folder}. {SOURCES}")
    with index.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if unknown := {row["class"] for row in rows} - {*CLASSES, *REFUSED}:
        raise ValueError(f"{index}: no class of this model: {', '.join(sorted(unknown))}")
    covers = [CLASSES.index(row["class"]) if row["class"] in CLASSES else UNKNOWN for row in rows]
    paths = [path if (path := folder / row["file"]).is_file() else data / "real" / row["file"] for row in rows]
    return Pictures(
        [_read(path) for path in paths],
        torch.tensor(covers),
        [row["sensor"] for row in rows],
        [f"{REAL}{row['sensor']} {row['scene']}" for row in rows],
    )


def foreign(folder: Path, count: int = DRAWN, seed: int = 0) -> Pictures:
    """Read all pictures below a folder, each a group, and draw ``count`` of each kind.

    Raises FileNotFoundError with where to get photographs.
    """
    paths = files(folder)
    kinds: dict[str, Sequence[Image.Image]] = {
        "charts": drawn.charts(count, seed),
        "screens": drawn.screens(count, seed),
        "drawings": drawn.drawings(count, seed),
    }
    pictures = [_read(path) for path in paths]
    sources = [path.relative_to(folder).parts[0] if path.parent != folder else "pictures" for path in paths]
    for kind, made in kinds.items():
        pictures += made
        sources += [kind] * len(made)
    groups = [f"foreign {source} {number}" for number, source in enumerate(sources)]
    return Pictures(pictures, torch.full((len(pictures),), UNKNOWN), sources, groups)


def files(folder: Path) -> list[Path]:
    """Return the pictures below a folder. Raises FileNotFoundError without any."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not found:
        raise FileNotFoundError(f"no pictures below {folder}. {SOURCES}")
    return found


def _read(path: Path) -> Image.Image:
    return decode.decode(path.read_bytes())
