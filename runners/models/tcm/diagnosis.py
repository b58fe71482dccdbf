"""Diagnosis: from a patient's phrases to elements and ranked syndromes, with the phrases for and against each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from runners.models.onnx_file import OnnxFile
from runners.models.tcm import naming, tables
from runners.models.tcm.differentiation import Differentiator, Evidence, Floats
from runners.models.tcm.features import Features, symptom_lexicon
from runners.models.tcm.phrases import Phrase, phrases
from runners.models.tcm.ranking import Ranking, fits, membership, shared

MIN_CONTRIBUTION: Final = 0.05
"""Logits from which a symptom speaks for or against a syndrome."""

MAX_SYNDROMES: Final = 50
"""Syndromes of a diagnosis: the most probable."""

Candidate = tuple[str, tables.Syndrome | None]
"""A syndrome's name, and its entry in the catalogue if there is one."""


@dataclass(frozen=True)
class Patient:
    """A patient: symptoms or other texts, ``gender`` of male, female or None, and names of ``candidates`` to rank."""

    texts: tuple[str, ...]
    gender: str | None = None
    candidates: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReadPhrase:
    """The table's ``terms`` in a phrase; it is ``known`` also if only its characters contribute to the evidence."""

    phrase: Phrase
    terms: tuple[tables.Symptom, ...]
    known: bool


@dataclass(frozen=True)
class Ranked:
    """A syndrome, its probability (0 if its name is not understood), and the phrases that speak for and against it."""

    name: str
    entry: tables.Syndrome | None
    elements: tuple[tables.Element, ...]
    probability: float
    speaks_for: tuple[str, ...]
    speaks_against: tuple[str, ...]


@dataclass(frozen=True)
class Diagnosed:
    """The result for one patient; without elements and syndromes if no phrase is known."""

    readings: tuple[ReadPhrase, ...]
    elements: tuple[tuple[tables.Element, float], ...] = ()
    syndromes: tuple[Ranked, ...] = ()

    @property
    def known(self) -> bool:
        """Whether the patient has a symptom of the table; characters alone are not enough."""
        return any(reading.terms and not reading.phrase.denied for reading in self.readings)


class Diagnostician:
    """The diagnosis model of a file."""

    def __init__(self, path: Path) -> None:
        stored = OnnxFile(path)
        self.facts = stored.facts
        self.lexicon = symptom_lexicon()
        self._features = Features(self.lexicon, stored.facts["grams"])
        self._differentiate = Differentiator(stored, self._features)
        self._catalogue: list[Candidate] = [(syndrome.names.zh, syndrome) for syndrome in tables.syndromes()]
        self._member = membership([syndrome.elements for syndrome in tables.syndromes()])
        self._rankings = {name: Ranking.from_dict(facts) for name, facts in stored.facts["ranking"].items()}

    def __call__(self, patients: Sequence[Patient]) -> list[Diagnosed]:
        """Return diagnoses in the order of the patients."""
        readings = [self.read(patient.texts) for patient in patients]
        known = [_known_texts(phrases) for phrases in readings]
        evidence = self._differentiate(known, [patient.gender for patient in patients])
        return [self._diagnosis(*row) for row in zip(patients, readings, known, evidence, strict=True)]

    def read(self, texts: Sequence[str]) -> tuple[ReadPhrase, ...]:
        """Split texts into phrases and look them up."""
        return tuple(self._reading(phrase) for phrase in phrases(texts, self._features.lexicon))

    def _reading(self, phrase: Phrase) -> ReadPhrase:
        rows = dict.fromkeys(self._features.lexicon.inside(phrase.text))
        terms = tuple(tables.symptoms()[row] for row in rows)
        return ReadPhrase(phrase, terms, bool(self._features.of(phrase.text)))

    def _diagnosis(
        self, patient: Patient, readings: tuple[ReadPhrase, ...], texts: list[str], evidence: Evidence
    ) -> Diagnosed:
        if not Diagnosed(readings).known:
            return Diagnosed(readings)
        pairs = zip(tables.elements(), evidence.probabilities.tolist(), strict=True)
        elements = tuple(sorted(pairs, key=lambda pair: -pair[1]))
        candidates, member, probabilities = self._weighed(patient.candidates, readings, evidence)
        syndromes = tuple(
            _explained(candidates[row], float(probabilities[row]), member[row], texts, evidence)
            for row in np.argsort(-probabilities, kind="stable")[:MAX_SYNDROMES].tolist()
        )
        return Diagnosed(readings, elements, syndromes)

    def _weighed(
        self, names: Sequence[str], readings: tuple[ReadPhrase, ...], evidence: Evidence
    ) -> tuple[list[Candidate], Floats, Floats]:
        """Return the named candidates, else the catalogue, with their membership [C, E] and probabilities [C]."""
        texts = [reading.phrase.text for reading in readings if not reading.phrase.denied]
        if names:
            candidates = [(name, naming.syndrome_of(name)) for name in names]
            member, ranking = membership([naming.elements_of(name) for name in names]), self._rankings["candidates"]
        else:
            candidates, member, ranking = self._catalogue, self._member, self._rankings["catalogue"]
        probabilities = ranking(fits(evidence, member, shared([name for name, _ in candidates], texts)))
        return candidates, member, np.where(member.any(axis=1), probabilities, np.float32(0))


def _known_texts(readings: tuple[ReadPhrase, ...]) -> list[str]:
    return [reading.phrase.text for reading in readings if reading.known and not reading.phrase.denied]


def _explained(
    candidate: Candidate, probability: float, member: Floats, texts: list[str], evidence: Evidence
) -> Ranked:
    contributions = evidence.contributions @ member / max(1.0, float(member.sum()))
    order = np.argsort(-np.abs(contributions), kind="stable").tolist()
    elements = tuple(element for element, has in zip(tables.elements(), member.tolist(), strict=True) if has)
    return Ranked(
        *candidate,
        elements,
        probability,
        tuple(texts[row] for row in order if contributions[row] > MIN_CONTRIBUTION),
        tuple(texts[row] for row in order if contributions[row] < -MIN_CONTRIBUTION),
    )
