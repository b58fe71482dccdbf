"""Trains the satellite network from scratch: python -m training.satellite --data DIR --out DIR.

DIR holds ``eurosat`` and ``aid`` (train and val folders of class folders). About an hour and a half on two CPU cores,
minutes on a GPU. A stopped run is resumed (``--out`` holds ``resume.pt``).

The recipe (``recipe``): one trunk (ResNet18) with three heads. The served head has five outputs (four covers and
"none of these"); two auxiliary heads classify the ten EuroSAT and the thirty AID classes and improve the trunk's
features. SGD with one-cycle learning rates, progressive resizing, strong and then mild augmentation, and an exponential
moving average of the weights; then a temperature, fitted on validation tiles, is folded into the served head.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path

import torch

from runners.engines.torch_gpu import TorchEngine
from runners.models.vision.networks import SatelliteNet, Served
from runners.models.vision.satellite import CLASSES, LABELS
from runners.models.vision.transform import SATELLITE_TRANSFORM
from training import calibration, onnx_export
from training.satellite import head, measures, tiles
from training.satellite.recipe import Config, Data
from training.satellite.run import Run


def publish(network: SatelliteNet, config: Config, arguments: argparse.Namespace) -> None:
    """Calibrate the network, write the model file and its report, and print the figures."""
    sets = [tiles.read(arguments.data, source, "val") for source in ("eurosat", "aid")]
    scenes = measures.scenes(sets, slice(0, None, 2))
    served = TorchEngine(Served(network, SATELLITE_TRANSFORM), {})
    logits = measures.outputs(served, SATELLITE_TRANSFORM, scenes.pictures, "calibrate")
    temperature = calibration.fit_temperature(logits, scenes.truth)
    with torch.no_grad():
        network.head.weight.div_(temperature)
        network.head.bias.div_(temperature)
    confidence = (logits / temperature).softmax(dim=1)[:, : len(CLASSES)].amax(dim=1)
    known = scenes.truth < len(CLASSES)
    epochs = sum(phase.epochs for phase in config.phases)
    facts = {
        "network": "ResNet18",
        "weights": f"trained from scratch by training/satellite/train.py, {epochs} epochs, seed {config.seed}",
        "licence": "Apache-2.0; trained on EuroSAT (MIT) and AID (research use)",
        "transform": SATELLITE_TRANSFORM.as_dict(),
        "labels": LABELS,
        "temperature": temperature,
        "threshold": calibration.fit_threshold(confidence[known], confidence[~known]),
        "config": asdict(config),
        "data": {tile_set.source: tile_set.counts() for tile_set in sets}
        | {f"{source} train": tiles.count(arguments.data, source, "train") for source in ("eurosat", "aid")},
    }
    path = arguments.out / "satellite-1.0.0.onnx"
    onnx_export.export_pictures(network, SATELLITE_TRANSFORM, facts, path)
    figures = measures.measure(path, arguments.data, "val", arguments.out)
    onnx_export.write_facts(path, {**facts, "figures": figures})
    print(json.dumps(figures, indent=2))
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.satellite", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with eurosat/ and aid/")
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
    eurosat, aid = (tiles.read(arguments.data, source, "train") for source in ("eurosat", "aid"))
    network = Run(Data(eurosat, aid, device), config, arguments.out).finish()
    served = network.served.cpu()
    head.refit(served, [eurosat, aid], config.seed)
    publish(served, config, arguments)
