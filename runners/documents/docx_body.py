"""A Word document's body, put together from its elements as they come by."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from runners.documents.document import MAX_CHARACTERS, TOO_LONG
from runners.errors import PayloadTooLarge

WORD: Final = (
    "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}",
    "{http://purl.oclc.org/ooxml/wordprocessingml/main}",
    "{http://schemas.openxmlformats.org/officeDocument/2006/math}",
)
SIGNS: Final = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-", "ptab": "\t"}
ASIDE: Final = frozenset({"Fallback", "moveFrom", "rt", "rPr", "tabs", "sectPr", "tblPr"})
"""What is said twice, was moved away, or is no text: a ``tab`` among ``tabs`` is a stop, not a sign."""

PARAGRAPH, TABLE, CELL = "p", "tbl", "tc"


class Body:
    """A target of lxml's; ``title`` is the first paragraph in one of the styles of titles."""

    def __init__(self, title_styles: frozenset[str]) -> None:
        self.title = ""
        self._title_styles = title_styles
        self._blocks: list[str] = []
        self._paragraphs: list[list[str]] = []  # those that are open: a text box stands inside one
        self._rows: list[list[list[str]]] = []  # of each table that is open, the cells of its row; of these, the blocks
        self._aside = 0
        self._in_text = False
        self._is_title = False
        self._length = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """An element begins."""
        name = _name(tag)
        if self._aside or name in ASIDE:
            self._aside += 1
            return
        self._in_text = name == "t"
        if name == PARAGRAPH:
            self._paragraphs.append([])
            self._is_title = False
        elif name == TABLE:
            self._rows.append([])
        elif name == CELL and self._rows:
            self._rows[-1].append([])
        elif name == "pStyle":
            self._is_title = not self.title and any(value in self._title_styles for value in attributes.values())
        elif name in SIGNS:
            self._write(SIGNS[name])

    def end(self, tag: str) -> None:
        """An element ends."""
        name = _name(tag)
        self._in_text = False
        if self._aside:
            self._aside -= 1
        elif name == PARAGRAPH and self._paragraphs:
            self._end_paragraph("".join(self._paragraphs.pop()).strip())
        elif name == "tr" and self._rows:
            self._end_row()
        elif name == TABLE and self._rows:
            self._end_row()
            self._rows.pop()

    def data(self, text: str) -> None:
        """A piece of text. Raises PayloadTooLarge."""
        if self._in_text and not self._aside:
            self._write(text)

    def text(self) -> str:
        """Paragraphs, and rows of tables, with an empty line between them."""
        return "\n\n".join(self._blocks)

    def _write(self, text: str) -> None:
        self._length += len(text)
        if self._length > MAX_CHARACTERS:
            raise PayloadTooLarge(TOO_LONG)
        if self._paragraphs:
            self._paragraphs[-1].append(text)

    def _end_paragraph(self, text: str) -> None:
        if text and self._is_title:
            self.title, self._is_title = text, False
        if text:
            self._place([text])

    def _end_row(self) -> None:
        cells = [cell for cell in self._rows[-1] if cell]
        self._rows[-1] = []
        if len(cells) == 1:
            self._place(cells[0], above=1)  # a table that is there for its frame
        elif cells:
            self._place([" | ".join(map(" ".join, cells))], above=1)

    def _place(self, blocks: list[str], above: int = 0) -> None:
        """Into the cell that is open in the innermost table, or in the one ``above`` it; else into the document."""
        tables = self._rows[: len(self._rows) - above]
        into = tables[-1][-1] if tables and tables[-1] else self._blocks
        into += blocks


@lru_cache(maxsize=256)
def _name(tag: str) -> str:
    """The name of an element that Word gives a meaning; those of others are nothing."""
    space, _, name = tag.rpartition("}")
    return name if space + "}" in WORD or name == "Fallback" else ""
