"""Treatment: symptoms, or a diagnosis, to ranked herbs, textbook formulae and the principle of treatment."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from runners.models.onnx_file import OnnxFile
from runners.models.tcm import naming
from runners.models.tcm.diagnosis import Diagnosed, Diagnostician, Patient
from runners.models.tcm.herbs import Floats, HerbRanker
from runners.models.tcm.phrases import Phrase

FORMULAE: Final = 3  # of an answer
ALIKE: Final = 0.3
"""Jaccard similarity that a formula's syndrome must have with the patient's syndromes."""


OTHERS_DISEASES: Final = {
    "male": re.compile("月经|经期|痛经|经间|闭经|带下|妊娠|产后|胎|不孕|子肿|崩漏|缺乳|乳痈|阴挺|阴痒|盆腔"),
    "female": re.compile("遗精|早泄|阳痿|精浊"),
}
"""Textbook names of diseases that a patient of that gender cannot have."""


@dataclass(frozen=True)
class Formula:
    """A textbook's formula for one syndrome of one disease."""

    name: str
    disease: str
    syndrome: str
    elements: frozenset[str]
    principle: str
    herbs: tuple[str, ...]

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Formula:
        """Of a model file's facts."""
        return cls(**{**facts, "elements": frozenset(facts["elements"]), "herbs": tuple(facts["herbs"])})


@dataclass(frozen=True)
class TreatedPatient:
    """A patient to treat: by ``texts``, by ``syndromes`` with their probabilities, or both."""

    texts: tuple[str, ...] = ()
    syndromes: tuple[tuple[str, float], ...] = ()
    gender: str | None = None


@dataclass(frozen=True)
class MatchedSymptom:
    """One phrase, and the names of the herb network's symptoms in it; none where it is unknown to that."""

    phrase: Phrase
    symptoms: tuple[str, ...]


@dataclass(frozen=True)
class Treated:
    """The result for one patient; without herbs where nothing is known.

    ``herbs`` come with how likely a prescription has each, ``formulae`` with the share of
    elements that they have in common with the patient's syndromes; ``by`` says what the herbs follow from.
    """

    used: tuple[MatchedSymptom, ...]
    herbs: tuple[tuple[str, float], ...] = ()
    formulae: tuple[tuple[Formula, float], ...] = ()
    principle: str = ""
    by: str = ""


class Prescriber:
    """The treatment model of one file; syndromes are found by the diagnosis model of another."""

    def __init__(self, path: Path, diagnosis: Path) -> None:
        stored = OnnxFile(path)
        self.facts = stored.facts
        self._diagnose = Diagnostician(diagnosis)
        self._rank = HerbRanker(stored, self._diagnose.lexicon)
        self._formulae = tuple(Formula.from_dict(one) for one in stored.facts["formulae"])

    def __call__(self, patients: Sequence[TreatedPatient]) -> list[Treated]:
        """Return treatments in the order of the patients."""
        diagnoses = self._diagnose([Patient(patient.texts, patient.gender) for patient in patients])
        used = [
            tuple(MatchedSymptom(one.phrase, self._symptoms(one.phrase)) for one in diagnosis.readings)
            for diagnosis in diagnoses
        ]
        scores = self._rank([self._inputs(each) for each in used])
        rows = zip(patients, diagnoses, used, scores, strict=True)
        return [self._treatment(*row) for row in rows]

    def _symptoms(self, phrase: Phrase) -> tuple[str, ...]:
        return tuple(self._rank.vocabulary.names[number] for number in self._rank.vocabulary.of(phrase.text))

    def _inputs(self, used: tuple[MatchedSymptom, ...]) -> set[int]:
        present = [match.phrase.text for match in used if not match.phrase.denied]
        return {number for text in present for number in self._rank.vocabulary.of(text)}

    def _treatment(
        self, patient: TreatedPatient, diagnosis: Diagnosed, used: tuple[MatchedSymptom, ...], scores: Floats
    ) -> Treated:
        syndromes = patient.syndromes or tuple((one.name, one.probability) for one in diagnosis.syndromes[:FORMULAE])
        formulae = self._formulae_for(syndromes, patient.gender)
        by = "symptoms"
        if not scores.any():
            scores, by = self._rank.of_formulae({one.herbs: likely for one, likely in formulae}), "formulae"
        order = np.argsort(-scores, kind="stable").tolist()
        herbs = tuple((self._rank.herbs[row], float(scores[row])) for row in order if scores[row] > 0)
        return Treated(used, herbs, formulae, _principle(syndromes, formulae), by if herbs else "")

    def _formulae_for(
        self, syndromes: Sequence[tuple[str, float]], gender: str | None
    ) -> tuple[tuple[Formula, float], ...]:
        """Return the textbook formulae whose syndromes are most similar, weighted by the syndromes' probabilities."""
        total = sum(likely for _, likely in syndromes) or 1.0
        alike = [
            (formula, sum(likely * _likeness(name, formula) for name, likely in syndromes) / total)
            for formula in self._formulae
            if _has(gender, formula.disease)
        ]
        best = sorted(alike, key=lambda one: -one[1])[:FORMULAE]
        return tuple((formula, likeness) for formula, likeness in best if likeness >= ALIKE)


def _has(gender: str | None, disease: str) -> bool:
    """Whether a patient of that gender can have the disease."""
    excluded = OTHERS_DISEASES.get(gender or "")
    return excluded is None or excluded.search(disease) is None


def _likeness(name: str, formula: Formula) -> float:
    if name == formula.syndrome:
        return 1.0
    return naming.likeness(naming.elements_of(name), formula.elements)


def _principle(syndromes: Sequence[tuple[str, float]], formulae: Sequence[tuple[Formula, float]]) -> str:
    """Return the principle of the likeliest syndrome, from the catalogue, else of the most similar formula."""
    syndrome = naming.syndrome_of(max(syndromes, key=lambda one: one[1])[0]) if syndromes else None
    if syndrome:
        return syndrome.principle
    return formulae[0][0].principle if formulae else ""
