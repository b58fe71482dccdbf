"""The diagnosis model's figures from a ten-fold cross-validation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any, Final

import numpy as np
import torch
from sklearn.model_selection import KFold
from torch import Tensor

from runners.models.tcm import tables
from runners.models.tcm.differentiation import Evidence
from runners.models.tcm.lexicon import Lexicon
from runners.models.tcm.phrases import phrases
from runners.models.tcm.ranking import Ranking
from training import calibration
from training.tcm import syndrome_ranking, syndrome_report
from training.tcm.syndrome_data import Case, Entry
from training.tcm.syndrome_ranking import Choice, First

FOLDS: Final = 10


@dataclass(frozen=True)
class Record:
    """A patient as read from a text of a textbook entry or a case record."""

    source: Entry | Case
    phrases: tuple[str, ...]
    elements: frozenset[str]


FitAndPredict = Callable[[Sequence[Record], Sequence[Record]], Tensor]
"""Fits a network on the first records and returns the logits [N, E] of the second."""


@dataclass(frozen=True)
class Folds:
    """Records of one kind with their out-of-fold logits [N, E] and the number of the fold of each, [N]."""

    records: list[Record]
    logits: Tensor
    fold: Tensor

    @property
    def right(self) -> Tensor:
        """The elements of each record as a mask, [N, E]."""
        names = [element.names.zh for element in tables.elements()]
        return torch.tensor([[name in record.elements for name in names] for record in self.records])

    def prior(self, slope: float, offset: float) -> Tensor:
        """Return the mean calibrated logits, [E]."""
        return (self.logits * slope + offset).mean(dim=0)

    def choices(self, slope: float, offset: float, prior: Tensor) -> list[Choice]:
        """Return each record's candidates, with features from its calibrated logits."""
        logits = self.logits * slope + offset
        none = np.zeros((0, logits.shape[1]), dtype=np.float32)
        return [
            _choice(Evidence(row, prior.numpy(), none), record)
            for row, record in zip(logits.numpy(), self.records, strict=True)
        ]


@dataclass(frozen=True)
class Study:
    """The entries, and the cases twice: read from the symptoms that an expert marked, and from the running text."""

    entries: Folds
    marked: Folds
    running: Folds


def _choice(evidence: Evidence, record: Record) -> Choice:
    if isinstance(record.source, Entry):
        return syndrome_ranking.among_catalogue(evidence, record.phrases, record.source)
    return syndrome_ranking.among_options(evidence, record.phrases, record.source)


def record_of(lexicon: Lexicon, source: Entry | Case, text: str) -> Record:
    """Read the phrases of a text of the entry or case that are not negated."""
    found = tuple(phrase.text for phrase in phrases([text], lexicon) if not phrase.denied)
    return Record(source, found, source.elements)


def out_of_fold(
    entries: Sequence[Entry], cases: Sequence[Case], lexicon: Lexicon, fit_and_predict: FitAndPredict, seed: int
) -> Study:
    """Cross-validate: predict each fold of entries and cases with a network fitted on the other nine."""
    textbook = [record_of(lexicon, entry, entry.symptoms) for entry in entries]
    whole = [record_of(lexicon, case, case.whole) for case in cases]
    marked = [record_of(lexicon, case, case.symptoms) for case in cases]
    running = [record_of(lexicon, case, case.text) for case in cases]
    entry_fold, case_fold = _fold_numbers(len(entries), seed), _fold_numbers(len(cases), seed)
    study = Study(_unpredicted(textbook, entry_fold), _unpredicted(marked, case_fold), _unpredicted(running, case_fold))
    for number in range(FOLDS):
        training = _of(textbook, entry_fold != number) + _of(whole, case_fold != number)
        for folds in (study.entries, study.marked, study.running):
            rows = folds.fold == number
            folds.logits[rows] = fit_and_predict(training, _of(folds.records, rows))
    return study


def _unpredicted(records: list[Record], fold: Tensor) -> Folds:
    return Folds(records, torch.zeros(len(records), len(tables.elements())), fold)


def _fold_numbers(count: int, seed: int) -> Tensor:
    fold = torch.zeros(count, dtype=torch.long)
    for number, (_, rows) in enumerate(KFold(FOLDS, shuffle=True, random_state=seed).split(range(count))):
        fold[torch.from_numpy(rows)] = number
    return fold


def _of(records: Sequence[Record], mask: Tensor) -> list[Record]:
    return [records[row] for row in mask.nonzero().flatten().tolist()]


def single_record_phrases(entries: Sequence[Entry], cases: Sequence[Case], lexicon: Lexicon) -> frozenset[str]:
    """Return the phrases of a single record, which may be in the symptom table only because of that record."""
    texts = [entry.symptoms for entry in entries] + [case.whole for case in cases]
    counts = Counter(text for read in texts for text in {phrase.text for phrase in phrases([read], lexicon)})
    return frozenset(text for text, count in counts.items() if count == 1)


def fit_calibration(folds: Folds, without: int | None = None) -> tuple[float, float]:
    """Return the slope and offset of Platt scaling, fitted on all folds but ``without``."""
    rows = folds.fold != (-1 if without is None else without)
    return calibration.fit_platt(folds.logits[rows], folds.right[rows])


def fit_ranking(choices: Sequence[Choice], fold: Tensor, without: int | None = None) -> Ranking:
    """Fit a calibrated ranking on the choices of all folds but ``without``; ``fold`` [N] is each choice's fold."""
    training = [choice for choice, number in zip(choices, fold.tolist(), strict=True) if number != without]
    weights = syndrome_ranking.fit(training)
    logits = torch.cat([torch.logit(choice.probabilities(weights)) for choice in training])
    right = torch.cat([torch.tensor(choice.right) for choice in training])
    return Ranking(tuple(weights), *calibration.fit_platt(logits, right))


def best_threshold(probabilities: Tensor, right: Tensor) -> float:
    """Return the probability threshold with the best micro-F1. probabilities, right: [N, E]."""
    return max((percent / 100 for percent in range(5, 96)), key=lambda at: micro(probabilities >= at, right)["f1"])


def micro(predicted: Tensor, right: Tensor) -> dict[str, float]:
    """Return the micro-averaged precision, recall and F1 of two masks of any one shape."""
    hits = float((predicted & right).sum())
    precision, recall = hits / max(1.0, float(predicted.sum())), hits / max(1.0, float(right.sum()))
    return {"precision": precision, "recall": recall, "f1": 2 * precision * recall / max(1e-9, precision + recall)}


def measure(study: Study, out: Path | None = None) -> dict[str, Any]:
    """Return all figures; calibration, threshold and ranking are cross-validated, too. A plot is written to ``out``."""
    probabilities, predicted = _predictions(study.entries)
    if out:
        syndrome_report.draw(probabilities, predicted, study.entries.right, out / "diagnosis.png")
    return {
        "elements": micro(predicted, study.entries.right),
        "elements_calibration_error": calibration.reliability(
            probabilities.flatten(), study.entries.right.flatten()
        ).error,
        "first": _catalogue_figures(study.entries),
        "options_by_marked_symptoms": _option_figures(study, study.marked),
        "options_by_running_text": _option_figures(study, study.running),
    }


def _predictions(entries: Folds) -> tuple[Tensor, Tensor]:
    """Return the calibrated probability of each element, and whether it is above the threshold, [N, E] both."""
    probabilities, predicted = torch.zeros_like(entries.logits), torch.zeros_like(entries.right)
    for fold in range(FOLDS):
        slope, offset = fit_calibration(entries, without=fold)
        calibrated = (entries.logits * slope + offset).sigmoid()
        rows = entries.fold == fold
        probabilities[rows] = calibrated[rows]
        predicted[rows] = calibrated[rows] >= best_threshold(calibrated[~rows], entries.right[~rows])
    return probabilities, predicted


def _catalogue_figures(entries: Folds) -> dict[str, float]:
    firsts: list[First] = []
    for fold in range(FOLDS):
        slope, offset = fit_calibration(entries, without=fold)
        choices = entries.choices(slope, offset, entries.prior(slope, offset))
        ranking = fit_ranking(choices, entries.fold, without=fold)
        for record, choice, number in zip(entries.records, choices, entries.fold.tolist(), strict=True):
            if number == fold and isinstance(record.source, Entry):
                firsts.append(syndrome_ranking.first_of_catalogue(choice, ranking, record.source))
    confidence = torch.tensor([first.probability for first in firsts])
    right = torch.tensor([first.right for first in firsts])
    return {
        "elements_right_of_those_named": mean(first.precision for first in firsts),
        "elements_named_of_those_right": mean(first.recall for first in firsts),
        "elements_in_both_of_those_in_either": mean(first.likeness for first in firsts),
        "elements_all_right": mean(first.exact for first in firsts),
        "name_right": mean(first.right for first in firsts),
        "name_among_five": mean(first.among_five for first in firsts),
        "mean_confidence": float(confidence.mean()),
        "calibration_error": calibration.reliability(confidence, right).error,
    }


def _option_figures(study: Study, cases: Folds) -> dict[str, float]:
    firsts: list[tuple[float, bool]] = []
    for fold in range(FOLDS):
        slope, offset = fit_calibration(study.entries, without=fold)
        prior = study.entries.prior(slope, offset)
        both = study.marked.choices(slope, offset, prior) + study.running.choices(slope, offset, prior)
        ranking = fit_ranking(both, torch.cat([study.marked.fold, study.running.fold]), without=fold)
        choices = zip(cases.choices(slope, offset, prior), cases.fold.tolist(), strict=True)
        firsts += [syndrome_ranking.first_of_options(choice, ranking) for choice, number in choices if number == fold]
    confidence, right = (torch.tensor(column) for column in zip(*firsts, strict=True))
    return {
        "right": float(right.float().mean()),
        "cases": len(firsts),
        "mean_confidence": float(confidence.mean()),
        "calibration_error": calibration.reliability(confidence, right).error,
    }
