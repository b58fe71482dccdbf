"""Trains the treatment model: python -m training.tcm.treatment --data DIR --textbook DIR --out DIR.

DIR holds the prescriptions (``herb_data`` says where they are had), the textbook's folder ``textbook.jsonl``,
whose formulae the model file carries. Six networks over sets of symptoms, and counts of the symptoms that stood alone;
ridge regression can be mixed in, and does not help. The numbers of ``Learning`` and ``Blend`` were chosen on the split
of seed 5 (``--choose`` prints what was seen of the latter); figures are of splits with other seeds. Then everything is
fitted on all prescriptions, exported to ONNX and checked against PyTorch. About a quarter of an hour on two CPU cores.
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
from training.tcm.herb_networks import Blend, Herbs, Learning, Member

FILE: Final = "tcm-treatment-1.0.0.onnx"
SHIPPED: Final = Path("runners/weights") / FILE
MEMBERS: Final = 6
CHOOSING: Final = 5
REPORTING: Final = (11, 12, 13)
HELD: Final = 0.13  # of the prescriptions, as the official test part is


def members_of(known: Prescriptions, learning: Learning, seed: int) -> list[Member]:
    """Members with different starts and different ideas of which symptoms are alike."""
    sides = herb_networks.sides(known.symptom_names)
    return [
        herb_networks.fit(known, sides[number % len(sides)], learning, seed * 100 + number) for number in range(MEMBERS)
    ]


@torch.no_grad()
def scores_of(network: torch.nn.Module, symptoms: Floats) -> Floats:
    """What a network says of sets of symptoms."""
    scores: Floats = network(torch.from_numpy(symptoms)).numpy()
    return scores


def choose(data: Prescriptions, learning: Learning) -> None:
    """Prints what every way of blending gives on the split that numbers are chosen on."""
    known, held = data.split(HELD, CHOOSING)
    members = members_of(known, learning, CHOOSING)
    for share, prior in product((0.0, 0.15, 0.3), (0.0, 20.0, 40.0, 80.0, 160.0)):
        blend = Blend(ridge_share=share, lone_prior=prior or float("inf"))
        figures = herb_measures.measure(scores_of(Herbs(members, known, blend), held.symptoms), held.herbs)
        print(f"ridge {share:.2f}, alone {prior:5.0f}: " + shown(figures), flush=True)


def report(data: Prescriptions, learning: Learning) -> dict[str, Any]:
    """The figures of the whole and of its parts, on splits that nothing was chosen on: mean and spread."""
    rows: dict[str, list[dict[str, float]]] = {"ridge regression": [], "one network": [], "six networks": [], "all": []}
    for seed in REPORTING:
        known, held = data.split(HELD, seed)
        weights, offset = herb_measures.ridge(known.symptoms, known.herbs, Blend().ridge_penalty)
        members = members_of(known, learning, seed)
        networks = {
            "one network": members[0],
            "six networks": Herbs(members, known, replace(Blend(), ridge_share=0.0, lone_prior=float("inf"))),
            "all": Herbs(members, known, Blend()),
        }
        scores = {"ridge regression": held.symptoms @ weights + offset}
        scores |= {name: scores_of(network, held.symptoms) for name, network in networks.items()}
        for name, said in scores.items():
            rows[name].append(herb_measures.measure(said, held.herbs))
            print(f"split {seed}, {name}: " + shown(rows[name][-1]), flush=True)
    return {name: _summary(found) for name, found in rows.items()}


def measure_shipped(data: Prescriptions, official: Prescriptions, shipped: Path) -> None:
    """Prints the figures of a model file, and of ridge regression, on a part that nothing was learned from."""
    weights, offset = herb_measures.ridge(data.symptoms, data.herbs, Blend().ridge_penalty)
    (scores,) = OnnxFile(shipped)(symptoms=official.symptoms)
    for name, said in (("ridge regression", official.symptoms @ weights + offset), (shipped.name, scores)):
        print(f"{name}: " + shown(herb_measures.measure(said, official.herbs)))


def _summary(found: Sequence[dict[str, float]]) -> dict[str, dict[str, float]]:
    return {
        measure: {"mean": mean(one[measure] for one in found), "spread": stdev(one[measure] for one in found)}
        for measure in found[0]
    }


def shown(figures: dict[str, float]) -> str:
    """Figures as a line of text."""
    return ", ".join(f"{name} {value:.4f}" for name, value in figures.items())


def publish(data: Prescriptions, learning: Learning, told: dict[str, Any], path: Path) -> None:
    """Fits everything on all prescriptions, exports it, checks it and explains it."""
    network = Herbs(members_of(data, learning, REPORTING[0]), data, Blend())
    inputs = {"symptoms": torch.from_numpy(data.symptoms[:16])}
    onnx_export.export(network, inputs, ["scores"], {"symptoms": {0: "patients"}}, path)
    onnx_export.explain(path, told)
    print(f"ONNX differs from PyTorch by {onnx_export.check_equal(network, inputs, path):.1e} at most")


def formulae(folder: Path) -> list[dict[str, Any]]:
    """The textbook's formulae, as the model file carries them."""
    return [
        {
            "name": one.formula,
            "disease": one.disease,
            "syndrome": one.syndrome,
            "elements": sorted(one.elements),
            "principle": one.principle,
            "herbs": list(one.herbs),
        }
        for one in syndrome_data.entries(folder)
    ]


def parse() -> argparse.Namespace:
    """The command line."""
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
    """Measures, trains and writes the model file."""
    arguments = parse()
    arguments.out.mkdir(parents=True, exist_ok=True)
    learning = Learning(epochs=arguments.epochs)
    try:
        data, textbook = herb_data.read(arguments.data), formulae(arguments.textbook)
        official = herb_data.read(arguments.data, arguments.test or "train.txt")
    except FileNotFoundError as error:
        sys.exit(str(error))
    if arguments.choose:
        choose(data, learning)
        return
    if arguments.test:
        measure_shipped(data, official, SHIPPED)
        return
    figures = report(data, learning)
    told = {
        "network": f"{MEMBERS} networks over sets of symptoms, and counts of symptoms alone",
        "weights": f"trained by training/tcm/treatment.py, seed {REPORTING[0]}",
        "licence": "Apache-2.0; trained on SMGCN's prescriptions (MIT); formulae of MTCMB (Apache-2.0)",
        "symptoms": list(data.symptom_names),
        "frequency": data.symptoms.sum(axis=0).astype(int).tolist(),
        "herbs": list(data.herb_names),
        "formulae": textbook,
        "config": {**asdict(learning), **asdict(Blend())},
        "data": {"prescriptions": len(data)},
        "figures": figures,
    }
    publish(data, learning, told, arguments.out / FILE)
    (arguments.out / "treatment-figures.json").write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
