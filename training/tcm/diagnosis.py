"""Trains the diagnosis model and writes its ONNX file: python -m training.tcm.diagnosis --data DIR --out DIR.

DIR holds ``textbook.jsonl`` and ``cases_train.json`` (``syndrome_data`` says where to get them). Two minutes on one
CPU core. All figures are of a ten-fold cross-validation: network, calibration and ranking are fitted on nine folds and
measured on the tenth. Then the network that ships is fitted on all records, exported to ONNX and checked against
PyTorch. Prints the figures and writes them, with a plot, to ``--out``.
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
from training.tcm.differentiation import Differentiation, FitConfig, Sample
from training.tcm.syndrome_data import Case, Entry
from training.tcm.syndrome_measures import Record, Study

SEED: Final = 7
FILE: Final = "tcm-diagnosis-1.0.0.onnx"


def fit_network(records: Sequence[Record], lexicon: Lexicon, config: FitConfig) -> tuple[Differentiation, Features]:
    """Fit a network and its features on these records."""
    samples = [_sample(record, config) for record in records]
    features = differentiation.features_of(samples, lexicon)
    return differentiation.fit(samples, features, config), features


def _sample(record: Record, config: FitConfig) -> Sample:
    weight = config.case_weight if isinstance(record.source, Case) else 1.0
    return Sample(record.phrases, record.elements, weight)


def cross_validate(entries: list[Entry], cases: list[Case], lexicon: Lexicon, config: FitConfig) -> Study:
    """Predict every record with a network that was fitted on the other folds."""

    def fit_and_predict(training: Sequence[Record], held_out: Sequence[Record]) -> torch.Tensor:
        network, features = fit_network(training, lexicon, config)
        samples = [_sample(record, config) for record in held_out]
        return differentiation.logits_of(network, differentiation.design_matrix(samples, features))

    return syndrome_measures.out_of_fold(entries, cases, lexicon, fit_and_predict, SEED)


def publish(records: Sequence[Record], study: Study, config: FitConfig, facts: dict[str, Any], path: Path) -> None:
    """Fit the network that ships, export it with its facts, and check it."""
    slope, offset = syndrome_measures.fit_calibration(study.entries)
    network, features = fit_network(records, symptom_lexicon(), config)
    network = differentiation.with_calibration(network, slope, offset)
    examples = records[:3]
    inputs = {
        "features": torch.from_numpy(padded([features.of(phrase) for each in examples for phrase in each.phrases])),
        "items": torch.from_numpy(shares([len(record.phrases) for record in examples])),
    }
    dynamic_axes = {"features": {0: "phrases", 1: "longest"}, "items": {0: "patients", 1: "phrases"}}
    onnx_export.export(network, inputs, ["contributions", "logits"], dynamic_axes, path)
    grams = differentiation.known_grams([_sample(record, config) for record in records])
    onnx_export.write_facts(path, {**facts, **serving_facts(study), "grams": grams})
    print(f"ONNX differs from PyTorch by {onnx_export.check_equal(network, inputs, path):.1e} at most")


def serving_facts(study: Study) -> dict[str, Any]:
    """Return what serving needs besides the network: the prior, the ranking weights, and the elements' threshold."""
    slope, offset = syndrome_measures.fit_calibration(study.entries)
    prior = study.entries.prior(slope, offset)
    entries, marked, running = (
        folds.choices(slope, offset, prior) for folds in (study.entries, study.marked, study.running)
    )
    logits = study.entries.logits * slope + offset
    fold = torch.cat([study.marked.fold, study.running.fold])
    return {
        "prior": prior.tolist(),
        "ranking": {
            "catalogue": asdict(syndrome_measures.fit_ranking(entries, study.entries.fold)),
            "candidates": asdict(syndrome_measures.fit_ranking(marked + running, fold)),
        },
        "threshold": syndrome_measures.best_threshold(logits.sigmoid(), study.entries.right),
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
    """Measure, train and write the model file."""
    arguments, config, lexicon = parse(), FitConfig(), symptom_lexicon()
    arguments.out.mkdir(parents=True, exist_ok=True)
    try:
        entries, cases = syndrome_data.entries(arguments.data), syndrome_data.cases(arguments.data)
    except FileNotFoundError as error:
        sys.exit(str(error))
    study = cross_validate(entries, cases, lexicon, config)
    figures = syndrome_measures.measure(study, arguments.out)
    smaller = symptom_lexicon(syndrome_measures.single_record_phrases(entries, cases, lexicon))
    figures["table_without_writings_of_one_record"] = syndrome_measures.measure(
        cross_validate(entries, cases, smaller, config)
    )
    facts = {
        "network": "logistic regression that begins at a knowledge table",
        "weights": f"fitted by training/tcm/diagnosis.py, seed {SEED}",
        "licence": "Apache-2.0; fitted on MTCMB (Apache-2.0) and TCMEval-SDT (CC BY-NC-ND and CC BY are both stated)",
        "elements": [element.names.zh for element in tables.elements()],
        "symptoms": len(tables.symptoms()),
        "config": asdict(config),
        "data": {"entries": len(entries), "cases": len(cases)},
        "figures": figures,
    }
    records = study.entries.records + [syndrome_measures.record_of(lexicon, case, case.whole) for case in cases]
    publish(records, study, config, facts, arguments.out / FILE)
    (arguments.out / "diagnosis-figures.json").write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n")
    print(json.dumps(figures, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
