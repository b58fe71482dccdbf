"""Trains the satellite network: python -m training.satellite --data DIR --foreign DIR --out DIR.

``--data`` holds ``eurosat`` and ``aid`` (train and val folders of class folders), and ``real``; ``--foreign`` holds
pictures that show none of the four. ``--model satellite`` (the default) tunes an EfficientNet-Lite0 from ImageNet's
weights, in about an hour on two CPU cores; ``--model embedding`` trains a ResNet18 from scratch, whose features are the
vectors of image embedding, in an hour and a half. A GPU takes minutes. A stopped run is resumed (``--out`` holds
``resume.pt``).

The recipe (``recipe``): one trunk with three heads. The served head has five outputs (four covers and "none of these");
two auxiliary heads classify the ten EuroSAT and the thirty AID classes and improve the trunk's features. SGD with
one-cycle learning rates, progressive resizing, strong and then mild augmentation, and an exponential moving average of
the weights; then the served head is fitted anew on the trunk (``refit``).
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import torch

from runners import registry
from runners.models.vision.networks import SatelliteNet
from runners.models.vision.satellite import LABELS
from training import onnx_export
from training.satellite import measures, pictures, recipe, refit, tiles
from training.satellite.recipe import Config, Data
from training.satellite.run import Run

DATA_LICENCE: Final = "EuroSAT (MIT) and AID (research use)"


@dataclass(frozen=True)
class Target:
    """What is trained for a model: by which recipe, into which file, and the tag that its trunk gets."""

    recipe: Config
    file: str
    trunk: str


TARGETS: Final = {
    "satellite": Target(recipe.FINE_TUNED, measures.SHIPPED.name, registry.tag_of(measures.SHIPPED.name)),
    "embedding": Target(recipe.FROM_SCRATCH, "embedding-satellite-1.1.0.onnx", "embedding:satellite-1.1.0"),
}
"""By the model that a network is trained for. Vectors of another trunk have another tag than the shipped ones."""


def export(network: SatelliteNet, config: Config, data: Path, path: Path, trunk: str) -> None:
    """Write the network's file, whose head is not fitted yet; ``trunk`` is its trunk's tag."""
    epochs = sum(phase.epochs for phase in config.phases)
    start = "ImageNet's weights" if config.pretrained else "scratch"
    licence = f"trained on {DATA_LICENCE}"
    if config.pretrained:
        licence = f"ImageNet's weights: Apache-2.0; {licence}"
    facts = {
        "network": config.network,
        "weights": f"trained from {start} by training/satellite/train.py, {epochs} epochs, seed {config.seed}",
        "trunk": trunk,
        "licence": f"Apache-2.0; {licence}",
        "precision": config.precision,
        "transform": config.transform.as_dict(),
        "labels": LABELS,
        "config": asdict(config),
        "data": {
            f"{source}{'' if split == 'val' else ' train'}": tiles.count(data, source, split)
            for split in ("val", "train")
            for source in ("eurosat", "aid")
        },
    }
    onnx_export.export_pictures(network, config.transform, facts, path)


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.satellite", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with eurosat/, aid/ and real/")
    parser.add_argument("--foreign", type=Path, required=True, help="folder of pictures that show none of the four")
    parser.add_argument(
        "--model", choices=sorted(TARGETS), default="satellite", help="whose network is trained (default: %(default)s)"
    )
    parser.add_argument(
        "--drawn", type=int, default=pictures.DRAWN, help="drawn pictures of each kind (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, help="folder of checkpoints and report (default: build/MODEL)")
    parser.add_argument("--epochs", type=int, help="epochs of each phase (default: the recipe's)")
    parser.add_argument("--tiles-per-epoch", type=int, help="tiles drawn in each epoch (default: the recipe's)")
    parser.add_argument("--seed", type=int, help="of every random choice (default: the recipe's)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser.parse_args()


def configured(arguments: argparse.Namespace) -> Config:
    """Return the recipe with the options of the command line."""
    config = TARGETS[arguments.model].recipe
    given = {name: getattr(arguments, name) for name in ("seed", "tiles_per_epoch")}
    config = replace(config, **{name: value for name, value in given.items() if value is not None})
    if arguments.epochs:
        config = replace(config, phases=tuple(replace(phase, epochs=arguments.epochs) for phase in config.phases))
    return config


def main() -> None:
    """Train, calibrate, measure and write the model file."""
    arguments = parse()
    config, aim = configured(arguments), TARGETS[arguments.model]
    out: Path = arguments.out or Path("build") / arguments.model
    out.mkdir(parents=True, exist_ok=True)
    device = torch.device(arguments.device)
    try:
        found = pictures.real(arguments.data) + pictures.foreign(arguments.foreign, arguments.drawn)
        eurosat, aid = (tiles.read(arguments.data, source, "train") for source in ("eurosat", "aid"))
    except (FileNotFoundError, ValueError) as error:
        sys.exit(str(error))
    network = Run(Data(eurosat, aid, device), config, out).finish()
    trained = out / "trained.onnx"
    export(network.served.cpu(), config, arguments.data, trained, aim.trunk)
    extra = refit.refit(trained, arguments.data, found, out / aim.file)
    measures.publish(out / aim.file, arguments.data, out, extra)
