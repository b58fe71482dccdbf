"""State of the open elements of a Word document's body while it is read."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from runners.documents.docx.symbols import TICKED, UNTICKED

CENTIMETRES: Final = {"pt": 2.54 / 72, "in": 2.54, "cm": 1.0, "mm": 0.1, "px": 2.54 / 96, "pc": 2.54 / 6}
EMU: Final = 1 / 360_000
"""Centimetres of one English Metric Unit, in which drawings are measured."""
LENGTH: Final = re.compile(r"(?:^|;)\s{0,9}(width|height)\s{0,9}:\s{0,9}([0-9.]{1,12})([a-z]{2})", re.IGNORECASE)


@dataclass
class Run:
    """A stretch of text in one format; ``is_hidden`` is None where the styles decide."""

    style: str = ""
    font: str = ""
    is_hidden: bool | None = None


@dataclass
class Paragraph:
    """An open paragraph. ``after`` are its pictures and diagrams; ``is_within_hidden`` hides all of it."""

    pieces: list[str]
    is_within_hidden: bool = False
    style: str = ""
    run: Run = field(default_factory=Run)
    is_mark_gone: bool = False
    after: list[str] = field(default_factory=list)


@dataclass
class Table:
    """An open table: the cells of its open row, each a list of blocks."""

    cells: list[list[str]] = field(default_factory=list)
    is_row_hidden: bool = False


@dataclass
class Control:
    """A content control; ``is_ticked`` is None where it is not a checkbox."""

    is_placeholder: bool = False
    is_contents: bool = False
    is_ticked: bool | None = None
    is_shown: bool = False

    def shown(self, text: str) -> str:
        """Return the text to show: a checkbox shows its mark once, whatever glyph Word stores."""
        if self.is_ticked is None:
            return text
        mark, self.is_shown = "" if self.is_shown else mark_of(self.is_ticked), True
        return mark


@dataclass
class FormField:
    """A legacy form field, whose value is not part of the text: a checkbox, or a list of entries."""

    is_box: bool = False
    is_ticked: bool = False
    chosen: int = 0
    entries: list[str] = field(default_factory=list)

    def choose(self, number: str) -> None:
        """Choose an entry by its number, from 0 on; anything invalid chooses the first."""
        self.chosen = int(number) if number.isdecimal() and len(number) < 9 else 0

    def shown(self) -> str:
        """Return what Word shows: the checkbox's mark, or the chosen entry."""
        if self.is_box:
            return mark_of(self.is_ticked)
        return "".join(self.entries[self.chosen : self.chosen + 1])


@dataclass
class Fields:
    """The open fields, outermost first; ``begun`` says whether each has passed from its code to its result."""

    begun: list[bool] = field(default_factory=list)
    codes: int = 0

    def meet(self, kind: str) -> None:
        """Handle a field character: begin, separate (the result follows), or end."""
        if kind == "begin":
            self.begun.append(False)
            self.codes += 1
        elif kind == "separate" and self.begun:
            self.codes -= not self.begun[-1]
            self.begun[-1] = True
        elif kind == "end" and self.begun:
            self.codes -= not self.begun.pop()

    def end_codes(self) -> None:
        """Close field codes at the end of a paragraph: a code that goes on past it lacks its end."""
        while self.begun and not self.begun[-1]:
            self.codes -= not self.begun.pop()

    @property
    def are_code(self) -> bool:
        """Whether the text belongs to another field's code, which Word does not show."""
        return self.codes > (1 if self.begun and not self.begun[-1] else 0)


def mark_of(is_ticked: bool) -> str:
    """Return the character for a ticked or an empty checkbox."""
    return TICKED if is_ticked else UNTICKED


def drawn_area(across: str, down: str) -> float:
    """Square centimetres of a drawing; 0 where its sizes are invalid."""
    sizes = [int(size) * EMU if size.isdecimal() and len(size) < 12 else 0.0 for size in (across, down)]
    return sizes[0] * sizes[1]


def styled_area(style: str) -> float:
    """Square centimetres of a VML shape, from its style; 0 where the style gives no size."""
    sizes = {
        name.lower(): _number(size) * CENTIMETRES.get(unit.lower(), 0) for name, size, unit in LENGTH.findall(style)
    }
    return sizes.get("width", 0.0) * sizes.get("height", 0.0)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
