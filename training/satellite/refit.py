"""Refits the satellite network's head on its trunk.

    python -m training.satellite.refit --data DIR --foreign DIR --out DIR

DIR of ``--data`` holds ``eurosat``, ``aid`` and ``real``; ``--foreign`` holds pictures that show none of the four. The
trunk stays what it is. Some four minutes on two CPU cores.

Few real clouds and foreign pictures are at hand, so none is set aside: every figure of theirs is of heads that were
fitted without the scene, in five folds, and of heads that were fitted without the sensor. The shipped head is fitted on
all. The first half of the validation tiles sets the scale of the outputs, and with those predictions the threshold; the
figures of tiles are of the second half.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import onnx
import torch
from onnx import numpy_helper
from PIL import Image
from torch import Tensor, nn
from tqdm import tqdm

from runners import registry
from runners.models.vision import graphs
from runners.models.vision.satellite import CLASSES, UNKNOWN
from training import calibration
from training.satellite import head, measures, pictures, tiles
from training.satellite.pictures import Pictures

LICENCE: Final = "; its head fitted on real pictures and photographs, too (research use)"
"""What a file's licence gets besides its trunk's."""
FOLDS: Final = 5
COPIES: Final = 4
"""Changed copies of each real or foreign picture."""
REAL_WEIGHT: Final = 3.0
"""What a real picture counts against a tile, of which there are fifty times as many."""
FOREIGN_WEIGHT: Final = 2.0
"""What a foreign picture counts against a tile."""
COPY_WEIGHT: Final = 0.5
"""What a changed copy counts against its picture."""
LEAST_OF_SENSOR: Final = 10
"""Pictures from which a sensor is left out once, to measure sensors that were never trained on."""
MAX_FALSE_ACCEPTS: Final = 0.06
"""Goal: maximum share of other scenes and foreign pictures that are accepted."""
MAX_FALSE_REJECTS: Final = 0.03
"""Goal: maximum share of pictures of the four that are rejected."""


@dataclass(frozen=True)
class Features:
    """What the trunk makes of pictures, [N, F], with the right outputs [N]."""

    values: Tensor
    truth: Tensor

    def of(self, rows: Tensor) -> Features:
        """Return the rows of a mask."""
        return Features(self.values[rows], self.truth[rows])


class Trunk:
    """The part of a model file up to its features."""

    def __init__(self, file: Path) -> None:
        self._network, self._transform = measures.trunk_of(file)

    def __call__(self, shown: list[Image.Image], truth: Tensor, title: str) -> Features:
        """Return the features of pictures; ``title`` is the progress bar's."""
        return Features(measures.outputs(self._network, self._transform, shown, title), truth)


@dataclass(frozen=True)
class Extras:
    """Real and foreign pictures: their features, and those of their changed copies, ``COPIES`` after each other."""

    pictures: Pictures
    plain: Features
    copies: Features

    def samples(self, rows: Tensor) -> tuple[Features, Tensor]:
        """Return the features of these pictures and of their copies, and what each counts."""
        copied = rows.repeat_interleave(COPIES)
        plain, copies = self.plain.of(rows), self.copies.of(copied)
        real = torch.tensor([_is_real(group) for group in self.pictures.groups])
        weight = torch.where(real, REAL_WEIGHT, FOREIGN_WEIGHT)
        weights = torch.cat([weight[rows], COPY_WEIGHT * weight[rows].repeat_interleave(COPIES)])
        return Features(torch.cat([plain.values, copies.values]), torch.cat([plain.truth, copies.truth])), weights


def extras_of(trunk: Trunk, found: Pictures, seed: int) -> Extras:
    """Return the features of real and foreign pictures, and of copies: parts of them, rescaled and recompressed."""
    random.seed(seed)
    copies = [head.change(_part(picture)) for picture in found.pictures for _ in range(COPIES)]
    return Extras(
        found,
        trunk(found.pictures, found.truth, "real and foreign"),
        trunk(copies, found.truth.repeat_interleave(COPIES), "their copies"),
    )


def _part(picture: Image.Image) -> Image.Image:
    """Return the whole picture, or a random square of it."""
    if random.random() < 0.5:
        return picture
    side = max(1, int(min(picture.size) * random.uniform(0.4, 0.9)))
    left, top = (random.randint(0, length - side) for length in picture.size)
    return picture.crop((left, top, left + side, top + side))


def fit(base: Features, extras: Extras, rows: Tensor) -> nn.Linear:
    """Fit a head on all tiles and on the extras of a mask."""
    more, weights = extras.samples(rows)
    return head.fit(
        torch.cat([base.values, more.values]),
        torch.cat([base.truth, more.truth]),
        torch.cat([torch.ones(len(base.truth)), weights]),
    )


def out_of_fold(base: Features, extras: Extras) -> Tensor:
    """Return the logits [N, 5] of each extra by a head that was fitted without its group."""
    names = sorted(set(extras.pictures.groups))
    random.Random(0).shuffle(names)
    fold = torch.tensor([names.index(group) % FOLDS for group in extras.pictures.groups])
    logits = torch.empty(len(fold), len(CLASSES) + 1)
    for number in tqdm(range(FOLDS), desc="folds"):
        out = fold == number
        logits[out] = fit(base, extras, ~out)(extras.plain.values[out])
    return logits


def without_sensor(base: Features, extras: Extras) -> dict[str, Tensor]:
    """Return the logits of each sensor's real pictures by a head that saw nothing of that sensor."""
    sources, logits = extras.pictures.sources, {}
    real = {source for source, group in zip(sources, extras.pictures.groups, strict=True) if _is_real(group)}
    for sensor in tqdm(sorted(real), desc="sensors"):
        rows = torch.tensor([source == sensor for source in sources])
        if int(rows.sum()) >= LEAST_OF_SENSOR:
            logits[sensor] = fit(base, extras, ~rows)(extras.plain.values[rows])
    return logits


def _is_real(group: str) -> bool:
    return group.startswith(pictures.REAL)


@dataclass(frozen=True)
class Judged:
    """Probabilities [N, 5] with the right outputs, and the threshold."""

    probabilities: Tensor
    truth: Tensor
    threshold: float

    def rejected(self) -> Tensor:
        """Return which are rejected."""
        return self.probabilities[:, :UNKNOWN].amax(dim=1) < self.threshold

    def right(self) -> Tensor:
        """Return which get their name, or are rejected if they have none."""
        best = self.probabilities[:, :UNKNOWN].argmax(dim=1)
        return torch.where(self.truth == UNKNOWN, self.rejected(), (best == self.truth) & ~self.rejected())


def shares(judged: Judged, names: Iterable[str]) -> dict[str, dict[str, float]]:
    """Return the share of right answers and the number of pictures by name and right output."""
    found: dict[str, list[bool]] = {}
    for name, cover, right in zip(names, judged.truth.tolist(), judged.right().tolist(), strict=True):
        found.setdefault(f"{name}: {(*CLASSES, 'none')[cover]}", []).append(right)
    return {
        name: {"right": round(sum(right) / len(right), 4), "pictures": len(right)}
        for name, right in sorted(found.items())
    }


def write_head(file: Path, target: Path, fitted: nn.Linear, facts: dict[str, Any]) -> None:
    """Write a model file with another head and other facts. Raises ValueError where the head does not fit."""
    model = onnx.load(file)
    parts = {f"network.head.{name}": getattr(fitted, name).numpy() for name in ("weight", "bias")}
    tensors = [tensor for tensor in model.graph.initializer if tensor.name in parts]
    if [list(tensor.dims) for tensor in tensors] != [list(parts[tensor.name].shape) for tensor in tensors] or len(
        tensors
    ) != len(parts):
        raise ValueError(f"{file} has another head")
    for tensor in tensors:
        kind = numpy_helper.to_array(tensor).dtype
        tensor.CopyFrom(numpy_helper.from_array(parts[tensor.name].astype(kind), tensor.name))
    graphs.write(target, model, facts)


def refit(file: Path, data: Path, found: Pictures, target: Path) -> dict[str, Any]:
    """Fit, calibrate and write the head into ``target``; return the figures of real and foreign pictures."""
    trunk, seed = Trunk(file), 0
    sets = [tiles.read(data, source, "train") for source in ("eurosat", "aid")]
    scenes = head.scenes(sets, seed)
    base = trunk(scenes.pictures, scenes.truth, "tiles")
    extras = extras_of(trunk, found, seed)
    held_out, unseen = out_of_fold(base, extras), without_sensor(base, extras)
    fitted = fit(base, extras, torch.ones(len(found), dtype=torch.bool))

    half = measures.scenes((tiles.read(data, source, "val") for source in ("eurosat", "aid")), slice(0, None, 2))
    calibrated = trunk(half.pictures, half.truth, "calibrate")
    logits = torch.cat([fitted(calibrated.values), held_out])
    truth = torch.cat([calibrated.truth, found.truth])
    # Heads that were fitted without a picture are less sure of it than the shipped one, so that tiles alone set this.
    scale = calibration.fit_scale(fitted(calibrated.values), calibrated.truth)
    fitted.bias.data[UNKNOWN] += scale.offset
    for part in (fitted.weight, fitted.bias):
        part.data.div_(scale.temperature)
    confidence = scale(logits).softmax(dim=1)[:, :UNKNOWN].amax(dim=1)
    known = truth < UNKNOWN
    threshold = calibration.fit_threshold(
        confidence[known], confidence[~known], max_accepts=MAX_FALSE_ACCEPTS, max_rejects=MAX_FALSE_REJECTS
    )

    def judged(outputs: Tensor, right: Tensor) -> Judged:
        return Judged(scale(outputs).softmax(dim=1), right, threshold)

    figures = {"held_out": shares(judged(held_out, found.truth), found.sources), "sensors_never_seen": {}}
    for sensor, outputs in unseen.items():
        rows = torch.tensor([source == sensor for source in found.sources])
        figures["sensors_never_seen"] |= shares(judged(outputs, found.truth[rows]), [sensor] * len(outputs))
    facts = graphs.read(file).facts
    facts.setdefault("trunk", registry.tag_of(file.name))
    facts |= {"temperature": scale.temperature, "offset": scale.offset, "threshold": threshold}
    facts["data"] = {**facts["data"], "real and foreign": found.counts()}
    facts["licence"] = facts.setdefault("trunk_licence", facts["licence"]) + LICENCE
    facts["head"] = f"fitted by training/satellite/refit.py, seed {seed}"
    write_head(file, target, fitted, facts)
    return figures


def main() -> None:
    """Refit, measure and write the model file."""
    parser = argparse.ArgumentParser(
        prog="python -m training.satellite.refit",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with eurosat/, aid/ and real/")
    parser.add_argument("--foreign", type=Path, required=True, help="folder of pictures that show none of the four")
    parser.add_argument(
        "--drawn", type=int, default=pictures.DRAWN, help="drawn pictures of each kind (default: %(default)s)"
    )
    parser.add_argument("--weights", type=Path, default=measures.SHIPPED, help="model file (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("build/satellite"), help="folder (default: %(default)s)")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    try:
        found = pictures.real(arguments.data) + pictures.foreign(arguments.foreign, arguments.drawn)
        target = arguments.out / arguments.weights.name
        extra = refit(arguments.weights, arguments.data, found, target)
    except (FileNotFoundError, ValueError) as error:
        parser.exit(1, f"{error}\n")
    measures.publish(target, arguments.data, arguments.out, extra)


if __name__ == "__main__":
    main()
