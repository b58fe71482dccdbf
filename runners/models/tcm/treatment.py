"""Treatment: from symptoms or a diagnosis to ranked herbs, textbook formulae and the principle of treatment."""

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

MAX_FORMULAE: Final = 3
"""Formulae of a treatment, and syndromes of a diagnosis from which they are found."""
MIN_LIKENESS: Final = 0.3
"""Smallest Jaccard similarity of a formula's syndrome with the patient's syndromes."""
IMPOSSIBLE_DISEASES: Final = {
    "male": re.compile("月经|经期|痛经|经间|闭经|带下|妊娠|产后|胎|不孕|子肿|崩漏|缺乳|乳痈|阴挺|阴痒|盆腔"),
    "female": re.compile("遗精|早泄|阳痿|精浊"),
}
"""Patterns in the names of diseases that a patient of that gender cannot have."""


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
        """Return a formula in a model file's facts."""
        return cls(**{**facts, "elements": frozenset(facts["elements"]), "herbs": tuple(facts["herbs"])})


@dataclass(frozen=True)
class TreatedPatient:
    """A patient to treat: by ``texts``, by ``syndromes`` with their probabilities, or both."""

    texts: tuple[str, ...] = ()
    syndromes: tuple[tuple[str, float], ...] = ()
    gender: str | None = None


@dataclass(frozen=True)
class MatchedSymptom:
    """A phrase, and the names of the herb network's symptoms in it; none if it is unknown."""

    phrase: Phrase
    symptoms: tuple[str, ...]


@dataclass(frozen=True)
class Treated:
    """The result for one patient; without herbs if no phrase is known.

    ``herbs`` have the probability that a prescription contains them, ``formulae`` their similarity with the patient's
    syndromes. ``by`` is the source of the herbs: "symptoms", "formulae" or, without herbs, "".
    """

    used: tuple[MatchedSymptom, ...]
    herbs: tuple[tuple[str, float], ...] = ()
    formulae: tuple[tuple[Formula, float], ...] = ()
    principle: str = ""
    by: str = ""


class Prescriber:
    """The treatment model of the file ``path``; the model of ``diagnosis`` finds the syndromes."""

    def __init__(self, path: Path, diagnosis: Path) -> None:
        stored = OnnxFile(path)
        self.facts = stored.facts
        self._diagnose = Diagnostician(diagnosis)
        self._rank = HerbRanker(stored, self._diagnose.lexicon)
        self._formulae = tuple(Formula.from_dict(facts) for facts in stored.facts["formulae"])

    def __call__(self, patients: Sequence[TreatedPatient]) -> list[Treated]:
        """Return treatments in the order of the patients."""
        diagnoses = self._diagnose([Patient(patient.texts, patient.gender) for patient in patients])
        used = [
            tuple(MatchedSymptom(reading.phrase, self._symptoms(reading.phrase)) for reading in diagnosis.readings)
            for diagnosis in diagnoses
        ]
        scores = self._rank([self._inputs(matches) for matches in used])
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
        likeliest = diagnosis.syndromes[:MAX_FORMULAE]
        syndromes = patient.syndromes or tuple((ranked.name, ranked.probability) for ranked in likeliest)
        formulae = self._formulae_for(syndromes, patient.gender)
        by = "symptoms"
        if not scores.any():
            scores, by = self._rank.of_formulae({formula.herbs: likeness for formula, likeness in formulae}), "formulae"
        order = np.argsort(-scores, kind="stable").tolist()
        herbs = tuple((self._rank.herbs[row], float(scores[row])) for row in order if scores[row] > 0)
        return Treated(used, herbs, formulae, _principle(syndromes, formulae), by if herbs else "")

    def _formulae_for(
        self, syndromes: Sequence[tuple[str, float]], gender: str | None
    ) -> tuple[tuple[Formula, float], ...]:
        """Return the formulae of the most similar syndromes, with likenesses weighted by the probabilities."""
        total = sum(probability for _, probability in syndromes) or 1.0
        scored = [
            (formula, sum(probability * _likeness(name, formula) for name, probability in syndromes) / total)
            for formula in self._formulae
            if _is_possible(gender, formula.disease)
        ]
        best = sorted(scored, key=lambda pair: -pair[1])[:MAX_FORMULAE]
        return tuple((formula, likeness) for formula, likeness in best if likeness >= MIN_LIKENESS)


def _is_possible(gender: str | None, disease: str) -> bool:
    """Return whether a patient of that gender can have the disease."""
    excluded = IMPOSSIBLE_DISEASES.get(gender or "")
    return excluded is None or excluded.search(disease) is None


def _likeness(name: str, formula: Formula) -> float:
    if name == formula.syndrome:
        return 1.0
    return naming.likeness(naming.elements_of(name), formula.elements)


def _principle(syndromes: Sequence[tuple[str, float]], formulae: Sequence[tuple[Formula, float]]) -> str:
    """Return the catalogue's principle of the most probable syndrome, else that of the most similar formula."""
    syndrome = naming.syndrome_of(max(syndromes, key=lambda pair: pair[1])[0]) if syndromes else None
    if syndrome:
        return syndrome.principle
    return formulae[0][0].principle if formulae else ""
