"""From a set of symptoms to ranked herbs: the network of a model file over its own fixed vocabulary of symptoms."""

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
    """The symptoms that herbs were learned for, found by any writing that the symptom table has for them.

    A symptom that is none of them stands for one that is near, where ``near.tsv`` has one (发热 for 壮热).
    ``names`` stand in the order of the network's inputs, the more frequent first where two are one row of the table.
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
            missed, stand_in = lexicon.exact(simplified(term)), self._input_of.get(simplified(near))
            if missed is not None and stand_in is not None:
                self._input_of_row.setdefault(missed, stand_in)

    def __len__(self) -> int:
        return len(self.names)

    def of(self, phrase: str) -> list[int]:
        """Return the inputs that a simplified phrase names; empty where it names none."""
        number = self._input_of.get(phrase)
        if number is not None:
            return [number]
        # A phrase that the table has whole may be two symptoms here: 头痛发热 is 头痛 and 发热.
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
        """Numbers of symptoms of each patient -> probabilities [N, herbs]; of a patient without any, zeros."""
        if not patients:
            return np.zeros((0, len(self.herbs)), dtype=np.float32)
        inputs = multi_hot(patients, len(self.vocabulary))
        (scores,) = self._network(symptoms=inputs)
        has_symptoms = inputs.any(axis=1, keepdims=True)
        return np.asarray(np.where(has_symptoms, scores, 0), dtype=np.float32)

    def of_formulae(self, weights: Mapping[tuple[str, ...], float]) -> Floats:
        """What formulae with these weights say of each herb instead: [herbs], the weighted share that has it."""
        total = sum(weights.values()) or 1.0
        drugs = [({materia.canonical(herb) for herb in herbs}, weight) for herbs, weight in weights.items()]
        shares = [sum(weight for herbs, weight in drugs if name in herbs) / total for name in self._canonical]
        return np.asarray(shares, dtype=np.float32)


def multi_hot(rows: Sequence[Iterable[int]], width: int) -> Floats:
    """Sets of numbers as rows of ones and zeros, [N, width]."""
    array = np.zeros((len(rows), width), dtype=np.float32)
    for row, numbers in enumerate(rows):
        array[row, list(numbers)] = 1
    return array
