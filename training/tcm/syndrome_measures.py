"""The diagnosis model's figures, every one of them out of fold."""

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

PARTS: Final = 10


@dataclass(frozen=True)
class Record:
    """A patient as a textbook or a case record tells of one; of a case, both its running text and its symptoms."""

    told: Entry | Case
    phrases: tuple[str, ...]
    elements: frozenset[str]


Judge = Callable[[Sequence[Record], Sequence[Record]], Tensor]
"""Trains on some records and gives the logits [N, E] of others."""


@dataclass(frozen=True)
class Folds:
    """Records of one kind with their out-of-fold logits [N, E] and the part that each was in."""

    records: list[Record]
    logits: Tensor
    part: Tensor

    @property
    def right(self) -> Tensor:
        """Which elements each record has, [N, E]."""
        names = [one.names.zh for one in tables.elements()]
        return torch.tensor([[name in record.elements for name in names] for record in self.records])

    def prior(self, slope: float, offset: float) -> Tensor:
        """The mean calibrated logits, [E]."""
        return (self.logits * slope + offset).mean(dim=0)

    def choices(self, slope: float, offset: float, prior: Tensor) -> list[Choice]:
        """What each record is to choose from, with its calibrated evidence."""
        logits = self.logits * slope + offset
        none = np.zeros((0, logits.shape[1]), dtype=np.float32)
        return [
            _choice(Evidence(row, prior.numpy(), none), record)
            for row, record in zip(logits.numpy(), self.records, strict=True)
        ]


@dataclass(frozen=True)
class Study:
    """The entries and, read in two ways, the cases: by the symptoms that an expert marked, by the running text."""

    entries: Folds
    marked: Folds
    running: Folds


def _choice(evidence: Evidence, record: Record) -> Choice:
    if isinstance(record.told, Entry):
        return syndrome_ranking.among_catalogue(evidence, record.phrases, record.told)
    return syndrome_ranking.among_options(evidence, record.phrases, record.told)


def read(lexicon: Lexicon, told: Entry | Case, text: str) -> Record:
    """The record of a text."""
    return Record(told, tuple(one.text for one in phrases([text], lexicon) if not one.denied), told.elements)


def out_of_fold(entries: Sequence[Entry], cases: Sequence[Case], lexicon: Lexicon, judge: Judge, seed: int) -> Study:
    """Splits both kinds of records in ten and has each part judged by what was learned from the other nine."""
    textbook = [read(lexicon, one, one.symptoms) for one in entries]
    whole = [read(lexicon, one, one.whole) for one in cases]
    marked = [read(lexicon, one, one.symptoms) for one in cases]
    running = [read(lexicon, one, one.text) for one in cases]
    entry_part, case_part = _parts(len(entries), seed), _parts(len(cases), seed)
    study = Study(_unjudged(textbook, entry_part), _unjudged(marked, case_part), _unjudged(running, case_part))
    for number in range(PARTS):
        seen = _of(textbook, entry_part != number) + _of(whole, case_part != number)
        for folds in (study.entries, study.marked, study.running):
            rows = folds.part == number
            folds.logits[rows] = judge(seen, _of(folds.records, rows))
    return study


def _unjudged(records: list[Record], part: Tensor) -> Folds:
    return Folds(records, torch.zeros(len(records), len(tables.elements())), part)


def _parts(count: int, seed: int) -> Tensor:
    part = torch.zeros(count, dtype=torch.long)
    for number, (_, rows) in enumerate(KFold(PARTS, shuffle=True, random_state=seed).split(range(count))):
        part[torch.from_numpy(rows)] = number
    return part


def _of(records: Sequence[Record], mask: Tensor) -> list[Record]:
    return [records[row] for row in mask.nonzero().flatten().tolist()]


def only_once(entries: Sequence[Entry], cases: Sequence[Case], lexicon: Lexicon) -> frozenset[str]:
    """Phrases that a single record has: the symptom table may hold them only because that record was looked at."""
    texts = [one.symptoms for one in entries] + [one.whole for one in cases]
    counts = Counter(phrase for text in texts for phrase in {one.text for one in phrases([text], lexicon)})
    return frozenset(phrase for phrase, count in counts.items() if count == 1)


def calibrated(folds: Folds, without: int | None = None) -> tuple[float, float]:
    """Slope and offset under which the logits outside a part are likeliest."""
    rows = folds.part != (-1 if without is None else without)
    return calibration.fit_logistic(folds.logits[rows], folds.right[rows])


def ranking_of(choices: Sequence[Choice], part: Tensor, without: int | None = None) -> Ranking:
    """What every choice outside a part teaches about ranking."""
    seen = [one for one, of in zip(choices, part.tolist(), strict=True) if of != without]
    weights = syndrome_ranking.fit(seen)
    said = torch.cat([torch.logit(one.likely(weights)) for one in seen])
    right = torch.cat([torch.tensor(one.right) for one in seen])
    return Ranking(tuple(weights), *calibration.fit_logistic(said, right))


def threshold_of(likely: Tensor, right: Tensor) -> float:
    """The probability from which on elements are named for the best micro-F1."""
    return max((one / 100 for one in range(5, 96)), key=lambda one: micro(likely >= one, right)["f1"])


def micro(said: Tensor, right: Tensor) -> dict[str, float]:
    """Precision, recall and F1 over all pairs of patient and element."""
    hits = float((said & right).sum())
    precision, recall = hits / max(1.0, float(said.sum())), hits / max(1.0, float(right.sum()))
    return {"precision": precision, "recall": recall, "f1": 2 * precision * recall / max(1e-9, precision + recall)}


def measure(study: Study, out: Path | None = None) -> dict[str, Any]:
    """All figures; each part is judged with numbers that were fitted without it. A picture goes to ``out``."""
    likely, said = _judged(study.entries)
    if out:
        syndrome_report.draw(likely, said, study.entries.right, out / "diagnosis.png")
    return {
        "elements": micro(said, study.entries.right),
        "elements_calibration_error": calibration.reliability(likely.flatten(), study.entries.right.flatten()).error,
        "first": _firsts(study.entries),
        "options_by_marked_symptoms": _options(study, study.marked),
        "options_by_running_text": _options(study, study.running),
    }


def _judged(entries: Folds) -> tuple[Tensor, Tensor]:
    """How likely each element is said to be, and which are named, [N, E] both."""
    likely, said = torch.zeros_like(entries.logits), torch.zeros_like(entries.right)
    for part in range(PARTS):
        slope, offset = calibrated(entries, without=part)
        probabilities = (entries.logits * slope + offset).sigmoid()
        rows = entries.part == part
        likely[rows] = probabilities[rows]
        said[rows] = probabilities[rows] >= threshold_of(probabilities[~rows], entries.right[~rows])
    return likely, said


def _firsts(entries: Folds) -> dict[str, float]:
    firsts: list[First] = []
    for part in range(PARTS):
        slope, offset = calibrated(entries, without=part)
        choices = entries.choices(slope, offset, entries.prior(slope, offset))
        ranking = ranking_of(choices, entries.part, without=part)
        for record, choice, of in zip(entries.records, choices, entries.part.tolist(), strict=True):
            if of == part and isinstance(record.told, Entry):
                firsts.append(syndrome_ranking.first_of_catalogue(choice, ranking, record.told))
    said, right = torch.tensor([one.said for one in firsts]), torch.tensor([one.right for one in firsts])
    return {
        "elements_right_of_those_named": mean(one.precision for one in firsts),
        "elements_named_of_those_right": mean(one.recall for one in firsts),
        "elements_in_both_of_those_in_either": mean(one.likeness for one in firsts),
        "elements_all_right": mean(one.exact for one in firsts),
        "name_right": mean(one.right for one in firsts),
        "name_among_five": mean(one.among_five for one in firsts),
        "mean_confidence": float(said.mean()),
        "calibration_error": calibration.reliability(said, right).error,
    }


def _options(study: Study, cases: Folds) -> dict[str, float]:
    firsts: list[tuple[float, bool]] = []
    for part in range(PARTS):
        slope, offset = calibrated(study.entries, without=part)
        prior = study.entries.prior(slope, offset)
        both = study.marked.choices(slope, offset, prior) + study.running.choices(slope, offset, prior)
        ranking = ranking_of(both, torch.cat([study.marked.part, study.running.part]), without=part)
        choices = zip(cases.choices(slope, offset, prior), cases.part.tolist(), strict=True)
        firsts += [syndrome_ranking.first_of_options(choice, ranking) for choice, of in choices if of == part]
    said, right = torch.tensor([one for one, _ in firsts]), torch.tensor([one for _, one in firsts])
    return {
        "right": float(right.float().mean()),
        "cases": len(firsts),
        "mean_confidence": float(said.mean()),
        "calibration_error": calibration.reliability(said, right).error,
    }
