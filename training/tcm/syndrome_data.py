"""Textbook entries and case records of Chinese medicine, and the elements that their labels mean.

``textbook.jsonl``: symptoms, 病位证素, 病性证素, 证名, treatment (github.com/Wayyuanyuan/MTCMB, Apache-2.0).
``cases_train.json``: clinical records with ten syndromes to choose from (TCMEval-SDT, github.com/zhuyan166/TCMEval).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from runners.models.tcm import naming, tables

ELEMENTS_OF_LABEL: Final = {
    "火（热）": "热",
    "火": "热",
    "实热": "热",
    "外风": "风",
    "皮肤": "肌肤",
    "卫表": "表",
    "肺卫": "肺、表",
    "肝肾": "肝、肾",
    "筋": "筋骨",
    "骨": "筋骨",
    "营": "营血",
    "血": "营血",
    "脾气虚": "气虚",
    "肺气虚": "气虚",
    "湿热": "湿、热",
    "风寒": "风、寒",
    "风热": "风、热",
    "瘀": "血瘀",
    "寒凝": "寒",
    "气郁": "气滞",
    "惊": "惊恐",
    "虚火": "阴虚、热",
    "肝肾亏虚": "精亏",
    "少阳": "半表半里",
    "-": "",
}
"""Names in the element table of labels with several spellings, and of labels that stand for two elements."""

_SEPARATORS: Final = re.compile("[、，,;；]")


@dataclass(frozen=True)
class Entry:
    """A textbook's description of one syndrome of one disease."""

    symptoms: str
    disease: str
    syndrome: str
    elements: frozenset[str]
    principle: str
    formula: str
    herbs: tuple[str, ...]


@dataclass(frozen=True)
class Case:
    """A case record: its running text, the symptoms that an expert marked in it, ten syndromes, and the right ones."""

    text: str
    symptoms: str
    options: tuple[str, ...]
    right: frozenset[str]

    @property
    def whole(self) -> str:
        """The marked symptoms and the running text, for training."""
        return f"{self.symptoms}。{self.text}"

    @property
    def elements(self) -> frozenset[str]:
        """The elements in the names of the right syndromes."""
        return frozenset().union(*map(naming.elements_of, self.right))


def entries(folder: Path) -> list[Entry]:
    """Read the textbook entries. Raises FileNotFoundError, and KeyError for a label outside the element table."""
    return [_entry(json.loads(line)) for line in _text(folder / "textbook.jsonl").splitlines() if line.strip()]


def cases(folder: Path) -> list[Case]:
    """Read the case records. Raises FileNotFoundError."""
    return [_case(row) for row in json.loads(_text(folder / "cases_train.json"))]


def _text(path: Path) -> str:
    if not path.is_file():
        raise FileNotFoundError(f"no {path}. {__doc__}")
    return path.read_text(encoding="utf-8")


def _entry(row: dict[str, Any]) -> Entry:
    treatment = row["treatment"]
    labels = _listed(row["病位证素"]) + _listed(row["病性证素"])
    elements = frozenset(part for label in labels for part in _listed(ELEMENTS_OF_LABEL.get(label, label)))
    unknown = elements - {element.names.zh for element in tables.elements()}
    if unknown:
        raise KeyError(f"no such element: {unknown}")
    return Entry(
        row["symptoms"],
        row["疾病名称"],
        row["证名"],
        elements,
        treatment["治法"],
        treatment["方剂"],
        tuple(_listed(treatment["药物组成"])),
    )


def _case(row: dict[str, Any]) -> Case:
    options = tuple(option.split(":", 1)[1] for option in row["Options of TCM Syndrome"].split(";"))
    return Case(row["Clinical Data"], row["Clinical Information"], options, frozenset(row["TCM Syndrome"].split(";")))


def _listed(text: str) -> list[str]:
    return [part.strip() for part in _SEPARATORS.split(text) if part.strip()]
