"""The knowledge tables in ``tables/``, read once: elements, symptoms, syndromes, herbs, incompatible pairs.

They were written for this project from the common content of textbooks and national standards; the last column of each
row is the key of its main source in ``sources.tsv``. They are tab-separated, and edited by hand.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, Literal

FOLDER: Final = Path(__file__).parent / "tables"
Language = Literal["zh", "en", "fr"]
LANGUAGES: Final[tuple[Language, ...]] = ("zh", "en", "fr")


@dataclass(frozen=True)
class Names:
    """Names in three languages; English and French are empty if there is no usual name."""

    zh: str
    en: str
    fr: str

    def as_dict(self) -> dict[str, str]:
        """Return ``name``, and ``name_en`` and ``name_fr`` if they exist."""
        translations = {"name_en": self.en, "name_fr": self.fr}
        return {"name": self.zh} | {key: name for key, name in translations.items() if name}


@dataclass(frozen=True)
class Element:
    """A syndrome element (证素): a location of disease (病位) or a nature of it (病性)."""

    names: Names
    kind: Literal["location", "nature"]


@dataclass(frozen=True)
class Symptom:
    """A symptom or sign, its synonyms, and its weights by element: 1 to 3 for it, -1 to -3 against it."""

    names: Names
    synonyms: tuple[str, ...]
    weights: Mapping[str, int]
    source: str


@dataclass(frozen=True)
class Syndrome:
    """A syndrome (证名) with its elements and the principle of its treatment (治法)."""

    names: Names
    synonyms: tuple[str, ...]
    elements: frozenset[str]
    principle: str


@dataclass(frozen=True)
class Herb:
    """A drug of the materia medica; ``cautions`` are some of toxic, pregnancy, protected, banned."""

    names: Names
    synonyms: tuple[str, ...]
    pinyin: str
    latin: str
    cautions: tuple[str, ...]


@dataclass(frozen=True)
class Pair:
    """Two drugs that tradition forbids together: the eighteen oppositions and the nineteen fears.

    ``translations`` are the rule in three languages.
    """

    first: str
    second: str
    rule: str
    translations: Names


@cache
def elements() -> tuple[Element, ...]:
    """Return all elements, in the order of the network's outputs."""
    return tuple(Element(_names(row), _kind(row["kind"])) for row in _rows("elements"))


@cache
def symptoms() -> tuple[Symptom, ...]:
    """Return all symptoms, in the order of the network's inputs."""
    return tuple(
        Symptom(_names(row, "term"), _listed(row["synonyms"]), _weights(row["elements"]), row["source"])
        for row in _rows("symptoms")
    )


@cache
def near() -> Mapping[str, str]:
    """Return replacements for symptoms that a smaller vocabulary may lack: a similar, more common symptom."""
    return {row["term"]: row["near"] for row in _rows("near")}


@cache
def syndromes() -> tuple[Syndrome, ...]:
    """Return the catalogue of syndromes."""
    return tuple(
        Syndrome(_names(row), _listed(row["synonyms"]), frozenset(row["elements"].split()), row["principle"])
        for row in _rows("syndromes")
    )


@cache
def wording() -> Mapping[str, tuple[str, ...]]:
    """Return the elements of each word that syndromes' names contain."""
    return {row["pattern"]: tuple(row["elements"].split()) for row in _rows("wording")}


@cache
def herbs() -> tuple[Herb, ...]:
    """Return all drugs, the most used first."""
    return tuple(
        Herb(_names(row), _listed(row["synonyms"]), row["pinyin"], row["latin"], tuple(row["caution"].split()))
        for row in _rows("herbs")
    )


@cache
def pairs() -> tuple[Pair, ...]:
    """Return the incompatible pairs of drugs."""
    return tuple(
        Pair(row["first"], row["second"], row["rule"], Names(row["rule"], row["en"], row["fr"]))
        for row in _rows("incompatible")
    )


def _rows(name: str) -> Iterator[dict[str, str]]:
    with (FOLDER / f"{name}.tsv").open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)


def _names(row: Mapping[str, str], column: str = "name") -> Names:
    return Names(row[column], row["en"], row["fr"])


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part for part in text.split("、") if part)


def _kind(text: str) -> Literal["location", "nature"]:
    return "location" if text == "location" else "nature"


def _weights(text: str) -> dict[str, int]:
    return {name: int(weight) for name, weight in (pair.rsplit(":", 1) for pair in text.split())}
