"""Trains the diagnosis model and writes its ONNX file: python -m training.tcm.diagnosis --data DIR --out DIR.

DIR holds ``textbook.jsonl`` and ``cases_train.json`` (``syndrome_data`` says where they are had). Two minutes
on one CPU core. Everything measured is out of fold: of ten parts, each is judged by a network that saw the other nine,
and by a calibration and a ranking fitted on those nine. Then the network that ships is fitted on all of it, exported to
ONNX and checked against PyTorch. Prints the figures and writes them, with a picture, to ``--out``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import torch

from runners.models.tcm import tables
from runners.models.tcm.differentiation import shares
from runners.models.tcm.features import Features, padded, symptom_lexicon
from runners.models.tcm.lexicon import Lexicon
from training import onnx_export
from training.tcm import differentiation, syndrome_data, syndrome_measures
from training.tcm.differentiation import Differentiation, Fitting, Sample
from training.tcm.syndrome_data import Case, Entry
from training.tcm.syndrome_measures import Record, Study

SEED: Final = 7
FILE: Final = "tcm-diagnosis-1.0.0.onnx"


def fitted(records: Sequence[Record], lexicon: Lexicon, numbers: Fitting) -> tuple[Differentiation, Features]:
    """A network that saw these records."""
    samples = [_sample(record, numbers) for record in records]
    features = differentiation.features_of(samples, lexicon)
    return differentiation.fit(samples, features, numbers), features


def _sample(record: Record, numbers: Fitting) -> Sample:
    weight = numbers.case_weight if isinstance(record.told, Case) else 1.0
    return Sample(record.phrases, record.elements, weight)


def studied(entries: list[Entry], cases: list[Case], lexicon: Lexicon, numbers: Fitting) -> Study:
    """Every record, judged by a network that did not see it."""

    def judge(seen: Sequence[Record], judged: Sequence[Record]) -> torch.Tensor:
        network, features = fitted(seen, lexicon, numbers)
        samples = [_sample(record, numbers) for record in judged]
        return differentiation.logits_of(network, differentiation.matrix(samples, features))

    return syndrome_measures.out_of_fold(entries, cases, lexicon, judge, SEED)


def publish(records: Sequence[Record], study: Study, numbers: Fitting, told: dict[str, Any], path: Path) -> None:
    """Fits the network that ships, exports it, checks it and explains it."""
    slope, offset = syndrome_measures.calibrated(study.entries)
    network, features = fitted(records, symptom_lexicon(), numbers)
    network = differentiation.calibrated(network, slope, offset)
    inputs = {
        "features": torch.from_numpy(padded([features.of(phrase) for one in records[:3] for phrase in one.phrases])),
        "items": torch.from_numpy(shares([len(one.phrases) for one in records[:3]])),
    }
    free = {"features": {0: "phrases", 1: "longest"}, "items": {0: "patients", 1: "phrases"}}
    onnx_export.export(network, inputs, ["contributions", "logits"], free, path)
    grams = differentiation.known_grams([_sample(record, numbers) for record in records])
    onnx_export.explain(path, {**told, **learned(study), "grams": grams})
    print(f"ONNX differs from PyTorch by {onnx_export.check_equal(network, inputs, path):.1e} at most")


def learned(study: Study) -> dict[str, Any]:
    """Return what serving needs besides the network: the weights of candidates, and the threshold of elements."""
    slope, offset = syndrome_measures.calibrated(study.entries)
    prior = study.entries.prior(slope, offset)
    entries, marked, running = (
        folds.choices(slope, offset, prior) for folds in (study.entries, study.marked, study.running)
    )
    logits = study.entries.logits * slope + offset
    part = torch.cat([study.marked.part, study.running.part])
    return {
        "prior": prior.tolist(),
        "ranking": {
            "catalogue": asdict(syndrome_measures.ranking_of(entries, study.entries.part)),
            "candidates": asdict(syndrome_measures.ranking_of(marked + running, part)),
        },
        "threshold": syndrome_measures.threshold_of(logits.sigmoid(), study.entries.right),
    }


def parse() -> argparse.Namespace:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.tcm.diagnosis",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with textbook.jsonl and cases_train.json")
    parser.add_argument("--out", type=Path, default=Path("build/diagnosis"), help="folder (default: %(default)s)")
    return parser.parse_args()


def main() -> None:
    """Measures, trains and writes the model file."""
    arguments, numbers, lexicon = parse(), Fitting(), symptom_lexicon()
    arguments.out.mkdir(parents=True, exist_ok=True)
    try:
        entries, cases = syndrome_data.entries(arguments.data), syndrome_data.cases(arguments.data)
    except FileNotFoundError as error:
        sys.exit(str(error))
    study = studied(entries, cases, lexicon, numbers)
    figures = syndrome_measures.measure(study, arguments.out)
    fewer = symptom_lexicon(syndrome_measures.only_once(entries, cases, lexicon))
    figures["table_without_writings_of_one_record"] = syndrome_measures.measure(studied(entries, cases, fewer, numbers))
    told = {
        "network": "logistic regression that begins at a knowledge table",
        "weights": f"fitted by training/tcm/diagnosis.py, seed {SEED}",
        "licence": "Apache-2.0; fitted on MTCMB (Apache-2.0) and TCMEval-SDT (CC BY-NC-ND and CC BY are both stated)",
        "elements": [one.names.zh for one in tables.elements()],
        "symptoms": len(tables.symptoms()),
        "config": asdict(numbers),
        "data": {"entries": len(entries), "cases": len(cases)},
        "figures": figures,
    }
    records = study.entries.records + [syndrome_measures.read(lexicon, one, one.whole) for one in cases]
    publish(records, study, numbers, told, arguments.out / FILE)
    (arguments.out / "diagnosis-figures.json").write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n")
    print(json.dumps(figures, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
