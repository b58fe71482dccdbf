"""Trains the treatment model: python -m training.tcm.treatment --data DIR --textbook DIR --out DIR.

The first DIR holds the prescriptions (``herb_data`` says where to get them), the second ``textbook.jsonl``, whose
formulae are stored in the model file. The model is an ensemble of six networks over sets of symptoms, blended with
counts of prescriptions for a single symptom; a ridge regression can be added, and does not help. ``Learning`` and
``Blend`` were chosen on the split of seed 5 (``--choose`` prints the figures for the latter); the figures are of splits
with other seeds. Then all is fitted on all prescriptions, exported to ONNX and checked against PyTorch. About a quarter
of an hour on two CPU cores.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Final

import torch

from runners.models.onnx_file import OnnxFile
from training import onnx_export
from training.tcm import herb_data, herb_measures, herb_networks, syndrome_data
from training.tcm.herb_data import Floats, Prescriptions
from training.tcm.herb_networks import Blend, HerbModel, Learning, Member

FILE: Final = "tcm-treatment-1.0.0.onnx"
SHIPPED: Final = Path("runners/weights") / FILE
MEMBERS: Final = 6
VALIDATION_SEED: Final = 5
REPORT_SEEDS: Final = (11, 12, 13)
HELD_OUT_SHARE: Final = 0.13
"""Held-out share of the prescriptions, that of the official test split."""


def members_of(known: Prescriptions, learning: Learning, seed: int) -> list[Member]:
    """Fit the ensemble; its members differ in their seeds and in their features of symptoms."""
    features = herb_networks.feature_sets(known.symptom_names)
    return [
        herb_networks.fit(known, features[number % len(features)], learning, seed * 100 + number)
        for number in range(MEMBERS)
    ]


@torch.no_grad()
def scores_of(network: torch.nn.Module, symptoms: Floats) -> Floats:
    """Return a network's scores of herbs [N, H] for sets of symptoms [N, S]."""
    scores: Floats = network(torch.from_numpy(symptoms)).numpy()
    return scores


def compare_blends(data: Prescriptions, learning: Learning) -> None:
    """Print the figures of every blend on the validation split."""
    known, held = data.split(HELD_OUT_SHARE, VALIDATION_SEED)
    members = members_of(known, learning, VALIDATION_SEED)
    for share, prior in product((0.0, 0.15, 0.3), (0.0, 20.0, 40.0, 80.0, 160.0)):
        blend = Blend(ridge_share=share, lone_prior=prior or float("inf"))
        figures = herb_measures.measure(scores_of(HerbModel(members, known, blend), held.symptoms), held.herbs)
        print(f"ridge {share:.2f}, alone {prior:5.0f}: " + format_figures(figures), flush=True)


def measure_splits(data: Prescriptions, learning: Learning) -> dict[str, Any]:
    """Return the figures of the model and its parts on other splits than the validation one: mean and deviation."""
    rows: dict[str, list[dict[str, float]]] = {"ridge regression": [], "one network": [], "six networks": [], "all": []}
    for seed in REPORT_SEEDS:
        known, held = data.split(HELD_OUT_SHARE, seed)
        weights, offset = herb_measures.ridge(known.symptoms, known.herbs, Blend().ridge_penalty)
        members = members_of(known, learning, seed)
        networks = {
            "one network": members[0],
            "six networks": HerbModel(members, known, replace(Blend(), ridge_share=0.0, lone_prior=float("inf"))),
            "all": HerbModel(members, known, Blend()),
        }
        scores = {"ridge regression": held.symptoms @ weights + offset}
        scores |= {name: scores_of(network, held.symptoms) for name, network in networks.items()}
        for name, values in scores.items():
            rows[name].append(herb_measures.measure(values, held.herbs))
            print(f"split {seed}, {name}: " + format_figures(rows[name][-1]), flush=True)
    return {name: _summary(figures) for name, figures in rows.items()}


def measure_shipped(data: Prescriptions, official: Prescriptions, shipped: Path) -> None:
    """Print the figures of a model file and of ridge regression on the official test split."""
    weights, offset = herb_measures.ridge(data.symptoms, data.herbs, Blend().ridge_penalty)
    (scores,) = OnnxFile(shipped)(symptoms=official.symptoms)
    for name, values in (("ridge regression", official.symptoms @ weights + offset), (shipped.name, scores)):
        print(f"{name}: " + format_figures(herb_measures.measure(values, official.herbs)))


def _summary(splits: Sequence[dict[str, float]]) -> dict[str, dict[str, float]]:
    values = {name: [figures[name] for figures in splits] for name in splits[0]}
    return {name: {"mean": mean(column), "spread": stdev(column)} for name, column in values.items()}


def format_figures(figures: dict[str, float]) -> str:
    """Format figures as a line of text."""
    return ", ".join(f"{name} {value:.4f}" for name, value in figures.items())


def publish(data: Prescriptions, learning: Learning, facts: dict[str, Any], path: Path) -> None:
    """Fit the model on all prescriptions, export it with its facts, and check it."""
    network = HerbModel(members_of(data, learning, REPORT_SEEDS[0]), data, Blend())
    inputs = {"symptoms": torch.from_numpy(data.symptoms[:16])}
    onnx_export.export(network, inputs, ["scores"], {"symptoms": {0: "patients"}}, path)
    onnx_export.write_facts(path, facts)
    print(f"ONNX differs from PyTorch by {onnx_export.check_equal(network, inputs, path):.1e} at most")


def formulae(folder: Path) -> list[dict[str, Any]]:
    """Return the textbook's formulae as stored in the model file."""
    return [
        {
            "name": entry.formula,
            "disease": entry.disease,
            "syndrome": entry.syndrome,
            "elements": sorted(entry.elements),
            "principle": entry.principle,
            "herbs": list(entry.herbs),
        }
        for entry in syndrome_data.entries(folder)
    ]


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.tcm.treatment",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with train.txt and the two mappings")
    parser.add_argument("--textbook", type=Path, required=True, help="folder with textbook.jsonl")
    parser.add_argument("--out", type=Path, default=Path("build/treatment"), help="folder (default: %(default)s)")
    parser.add_argument("--test", metavar="NAME", help="measure the shipped file on this file of DIR, and end")
    parser.add_argument("--choose", action="store_true", help="print what the numbers were chosen from, and end")
    parser.add_argument("--epochs", type=int, default=Learning().epochs, help="of each network (default: %(default)s)")
    return parser.parse_args()


def main() -> None:
    """Measure, train and write the model file."""
    arguments = parse()
    arguments.out.mkdir(parents=True, exist_ok=True)
    learning = Learning(epochs=arguments.epochs)
    try:
        data, textbook = herb_data.read(arguments.data), formulae(arguments.textbook)
        official = herb_data.read(arguments.data, arguments.test or "train.txt")
    except FileNotFoundError as error:
        sys.exit(str(error))
    if arguments.choose:
        compare_blends(data, learning)
        return
    if arguments.test:
        measure_shipped(data, official, SHIPPED)
        return
    figures = measure_splits(data, learning)
    facts = {
        "network": f"{MEMBERS} networks over sets of symptoms, and counts of symptoms alone",
        "weights": f"trained by training/tcm/treatment.py, seed {REPORT_SEEDS[0]}",
        "licence": "Apache-2.0; trained on SMGCN's prescriptions (MIT); formulae of MTCMB (Apache-2.0)",
        "symptoms": list(data.symptom_names),
        "frequency": data.symptoms.sum(axis=0).astype(int).tolist(),
        "herbs": list(data.herb_names),
        "formulae": textbook,
        "config": {**asdict(learning), **asdict(Blend())},
        "data": {"prescriptions": len(data)},
        "figures": figures,
    }
    publish(data, learning, facts, arguments.out / FILE)
    (arguments.out / "treatment-figures.json").write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
