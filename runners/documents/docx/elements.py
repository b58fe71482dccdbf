"""The elements of a Word document's body that are open while it is read, each with what is known of it so far."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from runners.documents.docx.symbols import TICKED, UNTICKED

CENTIMETRES: Final = {"pt": 2.54 / 72, "in": 2.54, "cm": 1.0, "mm": 0.1, "px": 2.54 / 96, "pc": 2.54 / 6}
EMU: Final = 1 / 360_000
"""Centimetres of the unit that drawings are measured in."""
LENGTH: Final = re.compile(r"(?:^|;)\s{0,9}(width|height)\s{0,9}:\s{0,9}([0-9.]{1,12})([a-z]{2})", re.IGNORECASE)


@dataclass
class Run:
    """A stretch of text with one look; ``is_hidden`` is None where the styles decide."""

    style: str = ""
    font: str = ""
    is_hidden: bool | None = None


@dataclass
class Paragraph:
    """``after`` are the pictures and diagrams that stand in it; ``is_within_hidden`` where nothing of it is seen."""

    pieces: list[str]
    is_within_hidden: bool = False
    style: str = ""
    run: Run = field(default_factory=Run)
    is_mark_gone: bool = False
    after: list[str] = field(default_factory=list)


@dataclass
class Table:
    """The cells of the row that is open, each of blocks."""

    cells: list[list[str]] = field(default_factory=list)
    is_row_hidden: bool = False


@dataclass
class Control:
    """A content control: ``is_ticked`` is None where it is no box."""

    is_placeholder: bool = False
    is_contents: bool = False
    is_ticked: bool | None = None
    is_shown: bool = False

    def shown(self, text: str) -> str:
        """The text in it; of a box, its mark once, whatever glyph stands for it."""
        if self.is_ticked is None:
            return text
        mark, self.is_shown = "" if self.is_shown else mark_of(self.is_ticked), True
        return mark


@dataclass
class FormField:
    """A form field of Word 97's kind, whose value stands in no text: a box, or a list of entries."""

    is_box: bool = False
    is_ticked: bool = False
    chosen: int = 0
    entries: list[str] = field(default_factory=list)

    def choose(self, number: str) -> None:
        """The number of the entry that is chosen, from 0 on."""
        self.chosen = int(number) if number.isdecimal() and len(number) < 9 else 0

    def shown(self) -> str:
        """What Word shows of it."""
        if self.is_box:
            return mark_of(self.is_ticked)
        return "".join(self.entries[self.chosen : self.chosen + 1])


@dataclass
class Fields:
    """The fields that are open, outermost first: whether the result of each has begun, after its code."""

    begun: list[bool] = field(default_factory=list)
    codes: int = 0

    def meet(self, kind: str) -> None:
        """A mark of a field: its begin, the separator before its result, or its end."""
        if kind == "begin":
            self.begun.append(False)
            self.codes += 1
        elif kind == "separate" and self.begun:
            self.codes -= not self.begun[-1]
            self.begun[-1] = True
        elif kind == "end" and self.begun:
            self.codes -= not self.begun.pop()

    def end_codes(self) -> None:
        """No code goes beyond its paragraph: where it seems to, the field's end is missing."""
        while self.begun and not self.begun[-1]:
            self.codes -= not self.begun.pop()

    @property
    def are_code(self) -> bool:
        """Whether a field's result is part of another one's code, which nobody sees."""
        return self.codes > (1 if self.begun and not self.begun[-1] else 0)


def mark_of(is_ticked: bool) -> str:
    """A box."""
    return TICKED if is_ticked else UNTICKED


def drawn_area(across: str, down: str) -> float:
    """Square centimetres of a drawing; 0 where its sizes are none."""
    sizes = [int(size) * EMU if size.isdecimal() and len(size) < 12 else 0.0 for size in (across, down)]
    return sizes[0] * sizes[1]


def styled_area(style: str) -> float:
    """Square centimetres of a VML shape, from its style; 0 where that says nothing."""
    sizes = {
        name.lower(): _number(size) * CENTIMETRES.get(unit.lower(), 0) for name, size, unit in LENGTH.findall(style)
    }
    return sizes.get("width", 0.0) * sizes.get("height", 0.0)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
