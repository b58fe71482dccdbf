"""Trains the satellite network from scratch: python -m training.satellite --data DIR --out DIR.

DIR holds ``eurosat`` and ``aid`` (train and val folders of class folders). About an hour and a half on two CPU cores,
minutes on a GPU. A run that was stopped goes on where it was (``--out`` holds ``resume.pt``).

The recipe: one trunk (ResNet18) under three heads. The served head has five outputs (four covers and "none of
these"); two more name the ten EuroSAT and the thirty AID classes and teach the trunk what land looks like. SGD with a
one-cycle rate, progressive resizing, an exponential moving average of the weights; then one temperature, fitted on
validation tiles (Guo et al., "On Calibration of Modern Neural Networks", ICML 2017), is folded into the served head.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import cast

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from runners.engine import Engine
from runners.models import weights
from runners.models.networks import SatelliteNet
from runners.models.satellite import CLASSES, LABELS
from runners.models.transform import SATELLITE_TRANSFORM
from runners.models.weights import Weights
from training import calibration, measures, tiles
from training.recipe import Config, Data, TrainingNet, batches, loss_of, seed_everything


def train(data: Data, config: Config, out: Path) -> TrainingNet:
    """Runs (or resumes) the recipe and returns the averaged network."""
    seed_everything(config.seed)
    device = data.device
    network = TrainingNet(len(data.eurosat.names), len(data.aid.names)).to(memory_format=torch.channels_last).to(device)
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(config.average), use_buffers=True)  # type: ignore[no-untyped-call]
    optimizer = torch.optim.SGD(
        network.parameters(), config.rate, config.momentum, weight_decay=config.weight_decay, nesterov=True
    )
    steps = -(-config.tiles_per_epoch // config.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.rate, epochs=config.epochs, steps_per_epoch=steps, pct_start=0.2
    )
    parts = {"network": network, "average": average, "optimizer": optimizer, "schedule": schedule}
    resume = out / "resume.pt"
    first = load_resume(resume, parts, config)
    for epoch in range(first, config.epochs):
        side = config.sides[epoch * len(config.sides) // config.epochs]
        network.train()
        seen, total, started = 0, 0.0, time.monotonic()
        progress = tqdm(
            total=config.tiles_per_epoch, desc=f"epoch {epoch + 1}/{config.epochs} at {side} px", unit="tile"
        )
        for batch in batches(data, config, epoch, side):
            with torch.autocast(device.type, torch.bfloat16):
                loss = loss_of(network, batch, config)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimizer.step()
            schedule.step()
            average.update_parameters(network)
            seen += len(batch.fine)
            total += loss.item() * len(batch.fine)
            progress.update(len(batch.fine))
            progress.set_postfix(loss=f"{total / seen:.3f}")
        progress.close()
        save_resume(resume, parts, config, epoch + 1)
        tqdm.write(f"epoch {epoch + 1}: loss {total / seen:.4f}, {seen / (time.monotonic() - started):.0f} tiles/s")
    return cast("TrainingNet", average.module).eval()


def save_resume(path: Path, parts: dict[str, object], config: Config, epochs_done: int) -> None:
    """Writes the state of a run beside the file and moves it there, so that a kill leaves the last whole one."""
    state = {name: part.state_dict() for name, part in parts.items()}  # type: ignore[attr-defined]
    beside = path.with_suffix(".new")
    torch.save({"config": asdict(config), "epochs_done": epochs_done, **state}, beside)
    beside.replace(path)


def load_resume(path: Path, parts: dict[str, object], config: Config) -> int:
    """Puts a stopped run's state back and returns how many epochs it had done; 0 where there is none of this config."""
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    if state["config"] != asdict(config):
        tqdm.write(f"{path} is of another configuration: starting afresh")
        return 0
    for name, part in parts.items():
        part.load_state_dict(state[name])  # type: ignore[attr-defined]
    tqdm.write(f"resuming after epoch {state['epochs_done']}")
    return int(state["epochs_done"])


def publish(network: SatelliteNet, config: Config, arguments: argparse.Namespace) -> None:
    """Calibrates the network, writes the model file and its report, and prints the figures."""
    sets = [tiles.read(arguments.data, source, "val") for source in ("eurosat", "aid")]
    scenes = measures.scenes(sets, slice(0, None, 2))
    logits = measures.outputs(Engine(network), SATELLITE_TRANSFORM, scenes.pictures, "calibrate")
    # Every scene counts as if the five kinds were equally frequent: nobody knows what users will send.
    frequency = torch.bincount(scenes.truth, minlength=len(CLASSES) + 1).float()
    temperature = calibration.fit_temperature(logits, scenes.truth, 1 / frequency[scenes.truth])
    with torch.no_grad():
        network.head.weight.div_(temperature)
        network.head.bias.div_(temperature)
    confidence = (logits / temperature).softmax(dim=1)[:, : len(CLASSES)].amax(dim=1)
    own = scenes.truth < len(CLASSES)
    facts = {
        "network": "ResNet18",
        "weights": f"trained from scratch by training/satellite.py, {config.epochs} epochs, seed {config.seed}",
        "licence": "Apache-2.0; trained on EuroSAT (MIT) and AID (research use)",
        "transform": SATELLITE_TRANSFORM.as_dict(),
        "labels": LABELS,
        "temperature": temperature,
        "threshold": calibration.fit_threshold(confidence[own], confidence[~own]),
        "config": asdict(config),
        "data": {one.source: one.counts() for one in sets}
        | {f"{source} train": tiles.count(arguments.data, source, "train") for source in ("eurosat", "aid")},
    }
    path = arguments.out / "satellite-1.0.0.safetensors"
    stored = Weights({name: value.contiguous() for name, value in network.state_dict().items()}, facts)
    weights.save(path, stored)
    figures = measures.measure(weights.read(path), arguments.data, "val", arguments.out)
    weights.save(path, Weights(stored.tensors, {**facts, "figures": figures}))
    print(json.dumps(figures, indent=2))
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.satellite", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with eurosat/ and aid/")
    parser.add_argument(
        "--out", type=Path, default=Path("build/satellite"), help="checkpoints and report (default: %(default)s)"
    )
    parser.add_argument("--epochs", type=int, default=Config.epochs)
    parser.add_argument("--tiles-per-epoch", type=int, default=Config.tiles_per_epoch)
    parser.add_argument("--seed", type=int, default=Config.seed)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser.parse_args()


def main() -> None:
    """Trains, calibrates, measures and writes the model file."""
    arguments = parse()
    config = Config(seed=arguments.seed, epochs=arguments.epochs, tiles_per_epoch=arguments.tiles_per_epoch)
    arguments.out.mkdir(parents=True, exist_ok=True)
    device = torch.device(arguments.device)
    eurosat, aid = (tiles.read(arguments.data, source, "train") for source in ("eurosat", "aid"))
    network = train(Data(eurosat, aid, device), config, arguments.out)
    publish(network.served.cpu(), config, arguments)


if __name__ == "__main__":
    main()
