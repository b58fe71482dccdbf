"""Text of a Word document on its way into paragraphs, rows of tables and blocks: what is hidden gets no further."""

from __future__ import annotations

from typing import Final

from runners.documents.document import TOO_LONG
from runners.documents.docx.elements import Fields, Paragraph, Run, Table
from runners.documents.docx.styles import Styles
from runners.errors import PayloadTooLarge
from runners.limits import MAX_CHARACTERS

MAX_PARAGRAPHS: Final = MAX_CHARACTERS
"""Most paragraphs of one part, those without text included."""


class Flow:
    """Where text is written to. ``title`` is the first paragraph in one of the styles of titles."""

    def __init__(self, styles: Styles) -> None:
        self.title = ""
        self.fields = Fields()
        self._styles = styles
        self._blocks: list[str] = []
        self._contents: list[str] = []
        self._paragraphs: list[Paragraph] = []  # a text box stands inside one
        self._tables: list[Table] = []
        self._joined = ""  # the text of a paragraph that goes on in the next one
        self._length = self._number = 0

    @property
    def paragraph(self) -> Paragraph | None:
        """The innermost that is open."""
        return self._paragraphs[-1] if self._paragraphs else None

    @property
    def table(self) -> Table | None:
        """The innermost that is open."""
        return self._tables[-1] if self._tables else None

    @property
    def is_hidden(self) -> bool:
        """Whether nothing is seen here."""
        if self.fields.are_code or not self._paragraphs:
            return self.fields.are_code or any(table.is_row_hidden for table in self._tables)
        paragraph = self._paragraphs[-1]
        return paragraph.is_within_hidden or self._hides(paragraph, paragraph.run)

    def write(self, text: str) -> None:
        """A piece of the paragraph. Raises PayloadTooLarge."""
        if self._paragraphs and not self.is_hidden:
            self._count(text)
            self._paragraphs[-1].pieces.append(text)

    def add(self, block: str) -> None:
        """What stands for itself: behind the paragraph, where one is open. Raises PayloadTooLarge."""
        if not block or self.is_hidden:
            return
        self._count(block)
        if self._paragraphs:
            self._paragraphs[-1].after.append(block)
        else:
            self._flush()
            self._place([block])

    def taken(self) -> list[str]:
        """The blocks so far, and begins anew; a table of contents only where there is nothing else."""
        self._flush()
        blocks, self._blocks = self._blocks or self._contents, []
        self._contents = []
        return blocks

    def begin_paragraph(self) -> None:
        """Opens one, inside another where that one has a text box. Raises PayloadTooLarge."""
        joined = "" if self._paragraphs else self._joined
        self._joined = self._joined[len(joined) :]
        self._number += 1
        if self._number > MAX_PARAGRAPHS:
            raise PayloadTooLarge(TOO_LONG)
        within_hidden = self.is_hidden or any(table.is_row_hidden for table in self._tables[-1:])
        self._paragraphs.append(Paragraph([joined], within_hidden))

    def end_paragraph(self, is_contents: bool = False) -> None:
        """Closes it; ``is_contents`` where it is an entry of a table of contents."""
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
        """Opens one, inside a cell where that has one."""
        self._flush()
        self._tables.append(Table())

    def begin_cell(self) -> None:
        """Opens one in the innermost table."""
        if self._tables:
            self._tables[-1].cells.append([])

    def end_cell(self) -> None:
        """Closes it."""
        self._flush()

    def end_row(self) -> None:
        """Places its cells as one block, apart from the only one, which is there for its frame."""
        if not self._tables:
            return
        cells = [cell for cell in self._tables[-1].cells if cell]
        self._tables[-1] = Table()
        if len(cells) == 1:
            self._place(cells[0], above=1)
        elif cells:
            self._place([" | ".join(map(" ".join, cells))], above=1)

    def end_table(self) -> None:
        """Closes it."""
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
        """Into the cell that is open in the innermost table, or in the one ``above`` it; else into the document."""
        tables = self._tables[: len(self._tables) - above]
        into = tables[-1].cells[-1] if tables and tables[-1].cells else self._blocks
        into += blocks

    def _flush(self) -> None:
        self._place([text] if (text := self._joined.strip()) else [])
        self._joined = ""
