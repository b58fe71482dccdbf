"""Prescriptions: which herbs were given for which symptoms (github.com/yuanyuansiyuan/ICDE-2020-SMGCN, MIT).

Each line of ``train.txt`` is a prescription: symptom numbers, a tab, herb numbers. ``sym_mapping.txt`` and
``herb_mapping.txt`` have their names.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Prescriptions:
    """N prescriptions as ones and zeros: ``symptoms`` [N, S] and ``herbs`` [N, H], with the names of the columns."""

    symptoms: Floats
    herbs: Floats
    symptom_names: tuple[str, ...]
    herb_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.symptoms)

    def of(self, rows: Integers) -> Prescriptions:
        """Return the prescriptions with these row numbers."""
        return Prescriptions(self.symptoms[rows], self.herbs[rows], self.symptom_names, self.herb_names)

    def split(self, share: float, seed: int) -> tuple[Prescriptions, Prescriptions]:
        """Split at random into two parts; the second has the share."""
        rows = np.random.default_rng(seed).permutation(len(self))
        cut = round(len(self) * share)
        return self.of(rows[cut:]), self.of(rows[:cut])


def read(folder: Path, name: str = "train.txt") -> Prescriptions:
    """Read the prescriptions of a file. Raises FileNotFoundError that says where to download them."""
    if not (folder / name).is_file():
        raise FileNotFoundError(f"no {folder / name}. {__doc__}")
    symptoms, herbs = _names(folder / "sym_mapping.txt"), _names(folder / "herb_mapping.txt")
    lines = [line.split("\t") for line in (folder / name).read_text().splitlines() if line.strip()]
    symptom_rows, herb_rows = zip(*((_numbers(left), _numbers(right)) for left, right in lines), strict=True)
    return Prescriptions(_dense(symptom_rows, len(symptoms)), _dense(herb_rows, len(herbs)), symptoms, herbs)


def _names(path: Path) -> tuple[str, ...]:
    rows = [line.rsplit(maxsplit=1) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    by_number = {int(number): name for name, number in rows}
    return tuple(by_number[number] for number in range(len(by_number)))


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split()]


def _dense(rows: tuple[list[int], ...], width: int) -> Floats:
    array = np.zeros((len(rows), width), dtype=np.float32)
    for row, numbers in enumerate(rows):
        array[row, numbers] = 1
    return array
