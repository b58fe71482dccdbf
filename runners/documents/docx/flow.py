"""Collects a Word document's text into paragraphs, table rows and blocks, and drops hidden text."""

from __future__ import annotations

from typing import Final

from runners.documents.document import TOO_LONG
from runners.documents.docx.elements import Fields, Paragraph, Run, Table
from runners.documents.docx.styles import Styles
from runners.errors import PayloadTooLarge
from runners.limits import MAX_CHARACTERS

MAX_PARAGRAPHS: Final = MAX_CHARACTERS
"""Paragraphs of one part, including those without text."""


class Flow:
    """The sink for a document's text. ``title`` is the first paragraph in a title style."""

    def __init__(self, styles: Styles) -> None:
        self.title = ""
        self.fields = Fields()
        self._styles = styles
        self._blocks: list[str] = []
        self._contents: list[str] = []
        self._paragraphs: list[Paragraph] = []  # a paragraph may hold a text box with paragraphs
        self._tables: list[Table] = []
        self._joined = ""  # the text of a paragraph that goes on in the next one
        self._length = self._number = 0

    @property
    def paragraph(self) -> Paragraph | None:
        """The innermost open paragraph."""
        return self._paragraphs[-1] if self._paragraphs else None

    @property
    def table(self) -> Table | None:
        """The innermost open table."""
        return self._tables[-1] if self._tables else None

    @property
    def is_hidden(self) -> bool:
        """Whether Word hides what is written now."""
        if self.fields.are_code or not self._paragraphs:
            return self.fields.are_code or any(table.is_row_hidden for table in self._tables)
        paragraph = self._paragraphs[-1]
        return paragraph.is_within_hidden or self._hides(paragraph, paragraph.run)

    def write(self, text: str) -> None:
        """Append text to the open paragraph. Raises PayloadTooLarge."""
        if self._paragraphs and not self.is_hidden:
            self._count(text)
            self._paragraphs[-1].pieces.append(text)

    def add(self, block: str) -> None:
        """Add a block of its own, after the open paragraph if there is one. Raises PayloadTooLarge."""
        if not block or self.is_hidden:
            return
        self._count(block)
        if self._paragraphs:
            self._paragraphs[-1].after.append(block)
        else:
            self._flush()
            self._place([block])

    def taken(self) -> list[str]:
        """Return and clear the blocks so far; a table of contents only where there is nothing else."""
        self._flush()
        blocks, self._blocks = self._blocks or self._contents, []
        self._contents = []
        return blocks

    def begin_paragraph(self) -> None:
        """Open a paragraph, nested where the open one holds a text box. Raises PayloadTooLarge."""
        joined = "" if self._paragraphs else self._joined
        self._joined = self._joined[len(joined) :]
        self._number += 1
        if self._number > MAX_PARAGRAPHS:
            raise PayloadTooLarge(TOO_LONG)
        within_hidden = self.is_hidden or any(table.is_row_hidden for table in self._tables[-1:])
        self._paragraphs.append(Paragraph([joined], within_hidden))

    def end_paragraph(self, is_contents: bool = False) -> None:
        """Close the innermost paragraph; ``is_contents`` marks an entry of a table of contents."""
        if not self._paragraphs:
            return
        paragraph = self._paragraphs.pop()
        self.fields.end_codes()
        text = "".join(paragraph.pieces)
        if paragraph.is_mark_gone and not self._paragraphs:
            self._joined = text
        elif text.strip() and (is_contents or self._styles.is_contents(paragraph.style)):
            self._contents.append(text.strip())
        elif text.strip():
            self._take(text.strip(), paragraph.style)
        self._place(paragraph.after)

    def begin_table(self) -> None:
        """Open a table, nested where a cell is open."""
        self._flush()
        self._tables.append(Table())

    def begin_cell(self) -> None:
        """Open a cell in the innermost table."""
        if self._tables:
            self._tables[-1].cells.append([])

    def end_cell(self) -> None:
        """Close the innermost cell."""
        self._flush()

    def end_row(self) -> None:
        """Place the row as one block; a single cell, which is only a frame, keeps its blocks."""
        if not self._tables:
            return
        cells = [cell for cell in self._tables[-1].cells if cell]
        self._tables[-1] = Table()
        if len(cells) == 1:
            self._place(cells[0], above=1)
        elif cells:
            self._place([" | ".join(map(" ".join, cells))], above=1)

    def end_table(self) -> None:
        """Close the innermost table."""
        self.end_row()
        if self._tables:
            self._tables.pop()

    def _hides(self, paragraph: Paragraph, run: Run) -> bool:
        return self._styles.hides(paragraph.style, run.style) if run.is_hidden is None else run.is_hidden

    def _count(self, text: str) -> None:
        self._length += len(text)
        if self._length > MAX_CHARACTERS:
            raise PayloadTooLarge(TOO_LONG)

    def _take(self, text: str, style: str) -> None:
        if not self.title and self._styles.is_title(style):
            self.title = text
        self._place([text])

    def _place(self, blocks: list[str], above: int = 0) -> None:
        """Append to the open cell of the innermost table, or ``above`` tables further out; else to the document."""
        tables = self._tables[: len(self._tables) - above]
        into = tables[-1].cells[-1] if tables and tables[-1].cells else self._blocks
        into += blocks

    def _flush(self) -> None:
        self._place([text] if (text := self._joined.strip()) else [])
        self._joined = ""
