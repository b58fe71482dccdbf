"""Ranks herbs for a set of symptoms with the network of a model file, which has its own vocabulary of symptoms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from runners.models.onnx_file import OnnxFile
from runners.models.tcm import materia, tables
from runners.models.tcm.lexicon import Lexicon
from runners.models.tcm.script import simplified

Floats = NDArray[np.float32]


class Vocabulary:
    """The symptoms of the herb network, found by any writing in the symptom table.

    A symptom that the network lacks is replaced by a similar one of ``near.tsv`` (发热 for 壮热). ``names`` are in
    the order of the network's inputs; of two names in one row of the table, the more frequent is taken.
    """

    def __init__(self, names: Sequence[str], frequency: Sequence[int], lexicon: Lexicon) -> None:
        self.names = tuple(names)
        self._lexicon = lexicon
        self._input_of = {simplified(name): number for number, name in enumerate(names)}
        self._input_of_row: dict[int, int] = {}
        for number in sorted(range(len(names)), key=lambda candidate: -frequency[candidate]):
            row = lexicon.exact(simplified(names[number]))
            if row is not None:
                self._input_of_row.setdefault(row, number)
        for term, near in tables.near().items():
            row, replacement = lexicon.exact(simplified(term)), self._input_of.get(simplified(near))
            if row is not None and replacement is not None:
                self._input_of_row.setdefault(row, replacement)

    def __len__(self) -> int:
        return len(self.names)

    def of(self, phrase: str) -> list[int]:
        """Return the inputs that a simplified phrase names; empty if it is unknown."""
        number = self._input_of.get(phrase)
        if number is not None:
            return [number]
        # One row of the table may be two symptoms of the network: 头痛发热 is 头痛 and 发热.
        return self._inputs(self._lexicon.inside(phrase)) or self._inputs(self._lexicon.parts(phrase))

    def _inputs(self, rows: Iterable[int]) -> list[int]:
        return list(dict.fromkeys(self._input_of_row[row] for row in rows if row in self._input_of_row))


class HerbRanker:
    """Estimates the probability of each herb in a prescription for a set of symptoms."""

    def __init__(self, stored: OnnxFile, lexicon: Lexicon) -> None:
        self._network = stored
        self.vocabulary = Vocabulary(stored.facts["symptoms"], stored.facts["frequency"], lexicon)
        self.herbs: tuple[str, ...] = tuple(stored.facts["herbs"])
        self._canonical = [materia.canonical(name) for name in self.herbs]

    def __call__(self, patients: Sequence[Iterable[int]]) -> Floats:
        """Inputs of each patient -> probabilities [N, herbs], zero for a patient without inputs."""
        if not patients:
            return np.zeros((0, len(self.herbs)), dtype=np.float32)
        inputs = multi_hot(patients, len(self.vocabulary))
        (scores,) = self._network(symptoms=inputs)
        has_symptoms = inputs.any(axis=1, keepdims=True)
        return np.asarray(np.where(has_symptoms, scores, 0), dtype=np.float32)

    def of_formulae(self, weights: Mapping[tuple[str, ...], float]) -> Floats:
        """Return the share of ``weights`` whose formula contains each herb, [herbs]; a formula is its herbs' names."""
        total = sum(weights.values()) or 1.0
        drugs = [({materia.canonical(herb) for herb in herbs}, weight) for herbs, weight in weights.items()]
        shares = [sum(weight for herbs, weight in drugs if name in herbs) / total for name in self._canonical]
        return np.asarray(shares, dtype=np.float32)


def multi_hot(rows: Sequence[Iterable[int]], width: int) -> Floats:
    """Return the sets of column numbers as rows of ones and zeros, [N, width]."""
    array = np.zeros((len(rows), width), dtype=np.float32)
    for row, numbers in enumerate(rows):
        array[row, list(numbers)] = 1
    return array
