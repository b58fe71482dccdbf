"""Diagnosis: a patient's phrases to elements and ranked syndromes, with what speaks for and against each."""

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

TELLING: Final = 0.05
"""Logits below which a symptom speaks neither for nor against a syndrome."""

LISTED: Final = 50  # likeliest syndromes that an answer has at most

Candidate = tuple[str, tables.Syndrome | None]
"""A syndrome's name and, where it has it, the catalogue's entry."""


@dataclass(frozen=True)
class Patient:
    """What is known of a patient: texts or symptoms, and ``gender`` of male, female or None."""

    texts: tuple[str, ...]
    gender: str | None = None
    candidates: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReadPhrase:
    """How one phrase was read: the table's ``terms`` in it; ``known`` also where only its characters say something."""

    phrase: Phrase
    terms: tuple[tables.Symptom, ...]
    known: bool


@dataclass(frozen=True)
class Ranked:
    """A syndrome, how likely it is, and which phrases speak for and against it; 0 where its name cannot be read."""

    name: str
    entry: tables.Syndrome | None
    elements: tuple[tables.Element, ...]
    probability: float
    speaks_for: tuple[str, ...]
    speaks_against: tuple[str, ...]


@dataclass(frozen=True)
class Diagnosed:
    """The result for one patient; without elements and syndromes where no phrase is known."""

    readings: tuple[ReadPhrase, ...]
    elements: tuple[tuple[tables.Element, float], ...] = ()
    syndromes: tuple[Ranked, ...] = ()

    @property
    def known(self) -> bool:
        """Whether the patient has a symptom of the table; characters alone say too little."""
        return any(reading.terms and not reading.phrase.denied for reading in self.readings)


class Diagnostician:
    """The diagnosis model of one file."""

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
        known = [[one.phrase.text for one in each if one.known and not one.phrase.denied] for each in readings]
        evidence = self._differentiate(known, [patient.gender for patient in patients])
        return [self._diagnosis(*each) for each in zip(patients, readings, known, evidence, strict=True)]

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
        likely = zip(tables.elements(), evidence.probabilities.tolist(), strict=True)
        elements = tuple(sorted(likely, key=lambda pair: -pair[1]))
        candidates, member, likeliness = self._weighed(patient.candidates, readings, evidence)
        syndromes = tuple(
            _explained(candidates[row], float(likeliness[row]), member[row], texts, evidence)
            for row in np.argsort(-likeliness, kind="stable")[:LISTED].tolist()
        )
        return Diagnosed(readings, elements, syndromes)

    def _weighed(
        self, names: Sequence[str], readings: tuple[ReadPhrase, ...], evidence: Evidence
    ) -> tuple[list[Candidate], Floats, Floats]:
        """Return the given candidates, else the whole catalogue, with their elements and probabilities."""
        texts = [reading.phrase.text for reading in readings if not reading.phrase.denied]
        if names:
            candidates = [(name, naming.syndrome_of(name)) for name in names]
            member, ranking = membership([naming.elements_of(name) for name in names]), self._rankings["candidates"]
        else:
            candidates, member, ranking = self._catalogue, self._member, self._rankings["catalogue"]
        likely = ranking(fits(evidence, member, shared([name for name, _ in candidates], texts)))
        return candidates, member, np.where(member.any(axis=1), likely, np.float32(0))


def _explained(candidate: Candidate, likely: float, member: Floats, texts: list[str], evidence: Evidence) -> Ranked:
    moved = evidence.contributions @ member / max(1.0, float(member.sum()))
    order = np.argsort(-np.abs(moved), kind="stable").tolist()
    elements = tuple(element for element, has in zip(tables.elements(), member.tolist(), strict=True) if has)
    return Ranked(
        *candidate,
        elements,
        likely,
        tuple(texts[row] for row in order if moved[row] > TELLING),
        tuple(texts[row] for row in order if moved[row] < -TELLING),
    )
