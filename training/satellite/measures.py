"""The satellite model's figures on tiles it was not trained on.

    python -m training.satellite.measures --data DIR --out DIR

Reads the shipped weights (or ``--weights``), and the tiles of ``--split``, through the same decoding, transform and
engine as the service. With ``val`` the second half of the tiles is measured: the first half set the temperature and
the threshold. ``--foreign`` is a folder of pictures that show none of the four. The figures of real clouds and foreign
pictures are those that ``training.satellite.refit`` measured. Writes ``satellite-figures.json``,
``satellite-confusion.png`` and ``satellite-reliability.png`` to ``--out``.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np
import satellite_cloud_generator
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor
from tqdm import tqdm

from runners import registry
from runners.engines import load
from runners.engines.base import Engine
from runners.images import decode
from runners.models.vision import graphs
from runners.models.vision.satellite import CLASSES, UNKNOWN
from runners.models.vision.transform import EvalTransform
from training import calibration, onnx_export
from training.satellite import pictures as picture_files
from training.satellite import report, tiles
from training.satellite.tiles import Tiles

SHIPPED: Final = Path("runners/weights") / registry.model("satellite").weights[0]
BATCH_SIZE = 64
CLOUDY = CLASSES.index("cloudy")
MIN_OPACITY = 0.6
"""Mean opacity from which the right label of simulated clouds is "cloudy"."""
SIDES = (32, 64, 128, 256, 512)
"""Sides of the rescaled pictures, in pixels."""
QUALITIES = (40, 60, 80, 95)
"""JPEG qualities of the recompressed pictures."""
NEIGHBOURS = 20
FIGURES = "satellite-figures.json"
CROSS_VALIDATED = ("held_out", "sensors_never_seen")
"""Figures that the fitting of the head measures, and that its model file keeps."""

Change = Callable[[Image.Image], Image.Image]


@dataclass(frozen=True)
class Scenes:
    """Pictures and which of the five outputs is right for each."""

    pictures: list[Image.Image]
    truth: Tensor

    def __add__(self, other: Scenes) -> Scenes:
        return Scenes(self.pictures + other.pictures, torch.cat([self.truth, other.truth]))

    def of(self, rows: Tensor) -> Scenes:
        """Return the scenes where the mask ``rows`` is true."""
        return Scenes([self.pictures[row] for row in rows.nonzero().flatten().tolist()], self.truth[rows])

    def changed(self, change: Change) -> Scenes:
        """Return the same scenes with each picture changed."""
        return Scenes([change(picture) for picture in self.pictures], self.truth)


def scenes(sets: Iterable[Tiles], half: slice) -> Scenes:
    """Every tile of the half without changes, and some of them under simulated clouds of at least 60 % cover."""
    clear, under = Scenes([], torch.empty(0, dtype=torch.long)), Scenes([], torch.empty(0, dtype=torch.long))
    for tile_set in sets:
        pixels, cover = tile_set.pixels[half], tile_set.cover[half]
        clear += Scenes([picture(tile) for tile in pixels], cover)
        clouded = [picture(tile) for tile in _clouded(pixels[:: max(1, len(pixels) // 80)])]
        under += Scenes(clouded, torch.full((len(clouded),), CLOUDY))
    return clear + under


def _clouded(ground: Tensor) -> list[Tensor]:
    """The tiles under the generator's own clouds (its local blur included) whose mean opacity is 0.6 or more."""
    torch.manual_seed(0)
    clouded: list[Tensor] = []
    for lowest, highest in (((0.0, 0.3), (0.95, 1.0)), ((0.3, 0.6), (0.8, 1.0)), ((0.6, 0.9), (0.9, 1.0))):
        for group in torch.split(ground.float().div(255), BATCH_SIZE):
            cloudy, opacity = satellite_cloud_generator.add_cloud(
                group, min_lvl=lowest, max_lvl=highest, return_cloud=True
            )
            enough = opacity.mean(dim=(1, 2, 3)) >= MIN_OPACITY
            clouded += list(cloudy[enough].clamp(0, 1).mul(255).byte())
    return clouded


def picture(tile: Tensor) -> Image.Image:
    """Convert a uint8 tile [3, S, S] to a picture."""
    return Image.fromarray(tile.permute(1, 2, 0).contiguous().numpy())


def rescaled(side: int) -> Change:
    """Return a function that resizes a picture to a square of ``side`` pixels."""
    return lambda image: image.resize((side, side), Image.Resampling.BICUBIC)


def recompressed(quality: int) -> Change:
    """Return a function that writes a picture as JPEG and reads it back."""

    def change(image: Image.Image) -> Image.Image:
        file = BytesIO()
        image.save(file, "JPEG", quality=quality)
        return Image.open(BytesIO(file.getvalue())).convert("RGB")

    return change


def outputs(network: Engine, transform: EvalTransform, pictures: Sequence[Image.Image], title: str) -> Tensor:
    """Return the network's outputs for each picture, [N, outputs]; ``title`` is the progress bar's."""
    rows = range(0, len(pictures), BATCH_SIZE)
    return torch.cat(
        [
            torch.from_numpy(network(np.stack([transform(picture) for picture in pictures[row : row + BATCH_SIZE]])))
            for row in tqdm(rows, desc=title, unit="batch", leave=False)
        ]
    )


def recall_by_cover(probabilities: Tensor, truth: Tensor) -> dict[str, float]:
    """Return each cover's recall where the network must choose one of the four. probabilities [N, 5], truth [N]."""
    best = probabilities[:, :UNKNOWN].argmax(dim=1)
    return {name: float((best[truth == index] == index).float().mean()) for index, name in enumerate(CLASSES)}


def robustness(network: Engine, transform: EvalTransform, known: Scenes) -> dict[str, dict[str, float]]:
    """Return the recall of each cover after rescaling and recompressing."""
    changes = {f"{side} px": rescaled(side) for side in SIDES} | {f"JPEG {q}": recompressed(q) for q in QUALITIES}
    return {
        name: recall_by_cover(outputs(network, transform, known.changed(change).pictures, name), known.truth)
        for name, change in changes.items()
    }


def nearest_neighbours(file: Path, data: Path, split: str) -> float:
    """Return the accuracy of a 20-nearest-neighbours classifier of EuroSAT's classes on the trunk's features."""
    network, transform = trunk_of(file)
    vectors, classes = [], []
    for part in ("train", split):
        eurosat = tiles.read(data, "eurosat", part)
        pictures = [picture(tile) for tile in eurosat.pixels]
        vectors.append(outputs(network, transform, pictures, f"embed {part}").numpy())
        classes.append(eurosat.fine.numpy())
    neighbours = KNeighborsClassifier(NEIGHBOURS, metric="cosine").fit(vectors[0], classes[0])
    return float(neighbours.score(vectors[1], classes[1]))


def rejection_rate(file: Path, folder: Path) -> float:
    """Return the share of the folder's pictures that are rejected, which is right for all of them."""
    pictures = [decode.decode(path.read_bytes()) for path in picture_files.files(folder)]
    network, transform = _served(file)
    probabilities = outputs(network, transform, pictures, "foreign").softmax(dim=1)
    return float((probabilities[:, :UNKNOWN].amax(dim=1) < network.facts["threshold"]).float().mean())


def trunk_of(file: Path) -> tuple[Engine, EvalTransform]:
    """Return the part of a model file up to its features, as an engine, and the transform of its pictures."""
    with tempfile.TemporaryDirectory() as folder:
        trunk = Path(folder) / "trunk.onnx"
        graphs.trunk(file, trunk, graphs.read(file).facts)
        return _served(trunk)


def _served(file: Path) -> tuple[Engine, EvalTransform]:
    network = load.load(file)
    return network, EvalTransform.from_dict(network.facts["transform"])


def measure(file: Path, data: Path, split: str, out: Path) -> dict[str, Any]:
    """Return all figures of a model file; they and the plots are written to ``out``."""
    network, transform = _served(file)
    half = slice(1, None, 2) if split == "val" else slice(None)
    everything = scenes((tiles.read(data, source, split) for source in ("eurosat", "aid")), half)
    probabilities = outputs(network, transform, everything.pictures, "judge").softmax(dim=1)
    known = everything.truth != UNKNOWN
    confidence, best = probabilities[:, :UNKNOWN].max(dim=1)
    right = best == everything.truth
    reliable = calibration.reliability(confidence[known], right[known])
    rejected = confidence < network.facts["threshold"]
    figures = {
        "tiles": {name: int((everything.truth == row).sum()) for row, name in enumerate((*CLASSES, "none"))},
        "right": recall_by_cover(probabilities, everything.truth),
        "changed": robustness(network, transform, everything.of(known)),
        "auroc": float(roc_auc_score(known.numpy(), confidence.numpy())),
        "rejected_of_none": float(rejected[~known].float().mean()),
        "rejected_of_four": float(rejected[known].float().mean()),
        "calibration_error": reliable.error,
        "calibration_error_with_none": calibration.reliability(confidence, right).error,
        "nearest_neighbours": nearest_neighbours(file, data, split),
        "engine": network.name,
        "precision": network.precision,
    }
    report.confusion(everything.truth, torch.where(rejected, UNKNOWN, best), out / "satellite-confusion.png")
    report.reliability(reliable, confidence, known, out / "satellite-reliability.png")
    return figures


def publish(file: Path, data: Path, out: Path, extra: dict[str, Any]) -> None:
    """Measure a new model file, write its figures and the ``extra`` ones into its facts, and print them."""
    figures = {**measure(file, data, "val", out), **extra}
    onnx_export.write_facts(file, {**graphs.read(file).facts, "figures": figures})
    (out / FIGURES).write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures, indent=2))
    print(f"{file}: {file.stat().st_size / 1e6:.1f} MB")


def main() -> None:
    """Run the command line at the top of this file."""
    parser = argparse.ArgumentParser(
        prog="python -m training.satellite.measures",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with eurosat/ and aid/")
    parser.add_argument("--split", default="val", help="which tiles (default: %(default)s)")
    parser.add_argument("--weights", type=Path, default=SHIPPED, help="model file (default: %(default)s)")
    parser.add_argument("--foreign", type=Path, help="folder of pictures that show none of the four")
    parser.add_argument("--out", type=Path, default=Path("build/figures"), help="folder (default: %(default)s)")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    stored = graphs.read(arguments.weights).facts.get("figures", {})
    figures = measure(arguments.weights, arguments.data, arguments.split, arguments.out)
    figures |= {name: stored[name] for name in CROSS_VALIDATED if name in stored}
    if arguments.foreign:
        figures["rejected_of_foreign"] = rejection_rate(arguments.weights, arguments.foreign)
    (arguments.out / FIGURES).write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
