"""Trains the satellite network from scratch: python -m training.satellite --data DIR --foreign DIR --out DIR.

``--data`` holds ``eurosat`` and ``aid`` (train and val folders of class folders), and ``real``; ``--foreign`` holds
pictures that show none of the four. About an hour and a half on two CPU cores, minutes on a GPU. A stopped run is
resumed (``--out`` holds ``resume.pt``).

The recipe (``recipe``): one trunk (ResNet18) with three heads. The served head has five outputs (four covers and
"none of these"); two auxiliary heads classify the ten EuroSAT and the thirty AID classes and improve the trunk's
features. SGD with one-cycle learning rates, progressive resizing, strong and then mild augmentation, and an exponential
moving average of the weights; then the served head is fitted anew on the trunk (``refit``).
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

import torch

from runners.models.vision.networks import SatelliteNet
from runners.models.vision.satellite import LABELS
from runners.models.vision.transform import SATELLITE_TRANSFORM
from training import onnx_export
from training.satellite import measures, pictures, refit, tiles
from training.satellite.recipe import Config, Data
from training.satellite.run import Run

TRUNK: Final = "satellite:1.1.0"
"""The model whose trunk is trained. Embeddings of another trunk are of another model."""
LICENCE: Final = "Apache-2.0; trained on EuroSAT (MIT) and AID (research use)"


def export(network: SatelliteNet, config: Config, data: Path, path: Path) -> None:
    """Write the network's file, whose head is not fitted yet."""
    epochs = sum(phase.epochs for phase in config.phases)
    facts = {
        "network": "ResNet18",
        "weights": f"trained from scratch by training/satellite/train.py, {epochs} epochs, seed {config.seed}",
        "trunk": TRUNK,
        "licence": LICENCE,
        "transform": SATELLITE_TRANSFORM.as_dict(),
        "labels": LABELS,
        "config": asdict(config),
        "data": {
            f"{source}{'' if split == 'val' else ' train'}": tiles.count(data, source, split)
            for split in ("val", "train")
            for source in ("eurosat", "aid")
        },
    }
    onnx_export.export_pictures(network, SATELLITE_TRANSFORM, facts, path)


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.satellite", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with eurosat/, aid/ and real/")
    parser.add_argument("--foreign", type=Path, required=True, help="folder of pictures that show none of the four")
    parser.add_argument(
        "--drawn", type=int, default=pictures.DRAWN, help="drawn pictures of each kind (default: %(default)s)"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("build/satellite"), help="checkpoints and report (default: %(default)s)"
    )
    parser.add_argument("--epochs", type=int, help="epochs of each phase (default: the recipe's)")
    parser.add_argument("--tiles-per-epoch", type=int, default=Config.tiles_per_epoch)
    parser.add_argument("--seed", type=int, default=Config.seed)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser.parse_args()


def main() -> None:
    """Train, calibrate, measure and write the model file."""
    arguments = parse()
    config = Config(seed=arguments.seed, tiles_per_epoch=arguments.tiles_per_epoch)
    if arguments.epochs:
        config = replace(config, phases=tuple(replace(phase, epochs=arguments.epochs) for phase in config.phases))
    arguments.out.mkdir(parents=True, exist_ok=True)
    device = torch.device(arguments.device)
    try:
        found = pictures.real(arguments.data) + pictures.foreign(arguments.foreign, arguments.drawn)
        eurosat, aid = (tiles.read(arguments.data, source, "train") for source in ("eurosat", "aid"))
    except (FileNotFoundError, ValueError) as error:
        sys.exit(str(error))
    network = Run(Data(eurosat, aid, device), config, arguments.out).finish()
    trained = arguments.out / "trained.onnx"
    export(network.served.cpu(), config, arguments.data, trained)
    target = arguments.out / "satellite-1.1.0.onnx"
    extra = refit.refit(trained, arguments.data, found, target)
    measures.publish(target, arguments.data, arguments.out, extra)
