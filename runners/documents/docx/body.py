"""A Word document's body, assembled from the stream of its elements."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final, Protocol

from runners.documents.docx import symbols
from runners.documents.docx.elements import Control, FormField, Run, drawn_area, styled_area
from runners.documents.docx.flow import Flow
from runners.documents.docx.styles import Styles
from runners.documents.docx.xml import attribute, is_on, relation, value

WORD: Final = (
    "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}",
    "{http://purl.oclc.org/ooxml/wordprocessingml/main}",
    "{http://schemas.openxmlformats.org/officeDocument/2006/math}",
    "{http://purl.oclc.org/ooxml/officeDocument/math}",
)
FOREIGN: Final = frozenset({"Fallback", "checkbox", "checked", "extent", "blip", "imagedata", "shape", "relIds"})
"""Elements of Word's other namespaces: boxes, and the places and sizes of pictures and diagrams."""
SIGNS: Final = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-", "ptab": "\t"}
CHANGES: Final = ("rPrChange", "pPrChange", "tblPrChange", "trPrChange", "tcPrChange", "numberingChange")
ASIDE: Final = frozenset(["Fallback", "del", "moveFrom", "rt", "tabs", "sectPr", "tblPr", *CHANGES])
"""Elements that repeat text, were deleted, moved or changed, or hold no text: ``tabs`` defines tab stops."""
MAX_NOTES: Final = 20_000
"""Notes that are kept of one document."""
CONTENTS_GALLERY: Final = "table of contents"

Note = tuple[str, str]
"""A note's kind, and its id."""
Attributes = Mapping[str, str]


class Surroundings(Protocol):
    """The document around a body."""

    def chunk(self, relation: str) -> str:
        """Return the text of an embedded document, in any format."""

    def picture(self, relation: str, area: float) -> str:
        """Return the placeholder of a picture of ``area`` square centimetres (0: unknown), or ""."""

    def diagram(self, relation: str) -> str:
        """Return the text of a diagram."""


class Body:
    """An lxml parser target for the main part and for those of notes, headers and footers.

    ``notes`` are the notes that the part holds, and ``references`` are the notes that it refers to.
    """

    def __init__(self, styles: Styles, around: Surroundings) -> None:
        self.root = ""
        self.flow = Flow(styles)
        self.notes: dict[Note, list[str]] = {}
        self.references: dict[Note, None] = {}
        self._around = around
        self._controls: list[Control] = []
        self._form: FormField | None = None
        self._note: Note = ("", "")
        self._run = Run()  # the run whose properties are being read; a paragraph's mark gets a run without text
        self._area = 0.0
        self._aside = 0
        self._in_text = self._in_marks = False

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """Handle the start of an element."""
        name = _name(tag)
        self.root = self.root or name or tag
        if name == "del" and self._in_marks and not self._aside:
            self._end_mark()
        if self._aside or name in ASIDE:
            self._aside += 1
            return
        self._in_text = name == "t"
        if name in SIGNS:
            self._write(SIGNS[name])
        elif name in STARTS:
            STARTS[name](self, attributes)

    def end(self, tag: str) -> None:
        """Handle the end of an element."""
        self._in_text = False
        if self._aside:
            self._aside -= 1
        elif (name := _name(tag)) in ENDS:
            ENDS[name](self)

    def data(self, text: str) -> None:
        """Handle a piece of text. Raises PayloadTooLarge."""
        if self._in_text and not self._aside and self.flow.paragraph:
            self._write(symbols.text(self.flow.paragraph.run.font, text))

    def _write(self, text: str) -> None:
        self.flow.write(self._controls[-1].shown(text) if self._controls else text)

    # Paragraphs, runs and fields

    def _begin_paragraph(self, _: Attributes) -> None:
        self.flow.begin_paragraph()

    def _end_paragraph(self) -> None:
        self.flow.end_paragraph(is_contents=any(control.is_contents for control in self._controls))

    def _begin_marks(self, _: Attributes) -> None:
        self._in_marks, self._run = True, Run()

    def _end_marks(self) -> None:
        self._in_marks = False

    def _name_style(self, attributes: Attributes) -> None:
        if self.flow.paragraph:
            self.flow.paragraph.style = value(attributes)

    def _begin_run(self, _: Attributes) -> None:
        self._run = Run()
        if self.flow.paragraph:
            self.flow.paragraph.run = self._run

    def _name_run_style(self, attributes: Attributes) -> None:
        self._run.style = value(attributes)

    def _name_font(self, attributes: Attributes) -> None:
        self._run.font = attribute(attributes, "ascii") or attribute(attributes, "hAnsi")

    def _hide(self, attributes: Attributes) -> None:
        self._run.is_hidden = is_on(attributes)
        if self._in_marks and self._run.is_hidden:
            self._end_mark()

    def _end_mark(self) -> None:
        if self.flow.paragraph:
            self.flow.paragraph.is_mark_gone = True

    def _write_symbol(self, attributes: Attributes) -> None:
        number = attribute(attributes, "char")
        if number.isalnum() and len(number) <= 8:
            self._write(symbols.named(attribute(attributes, "font"), number))

    def _meet_field(self, attributes: Attributes) -> None:
        self.flow.fields.meet(attribute(attributes, "fldCharType"))

    # Tables

    def _begin_table(self, _: Attributes) -> None:
        self.flow.begin_table()

    def _begin_cell(self, _: Attributes) -> None:
        self.flow.begin_cell()

    def _hide_row(self, attributes: Attributes) -> None:
        if self.flow.table:
            self.flow.table.is_row_hidden = is_on(attributes)

    # Content controls and form fields

    def _begin_control(self, _: Attributes) -> None:
        self._controls.append(Control())

    def _end_control(self) -> None:
        del self._controls[-1:]

    def _set_placeholder(self, attributes: Attributes) -> None:
        for control in self._controls[-1:]:
            control.is_placeholder = is_on(attributes)

    def _set_gallery(self, attributes: Attributes) -> None:
        for control in self._controls[-1:]:
            control.is_contents = value(attributes).lower() == CONTENTS_GALLERY

    def _begin_content(self, _: Attributes) -> None:
        self._aside += any(control.is_placeholder and control.is_ticked is None for control in self._controls[-1:])

    def _end_content(self) -> None:
        if self._controls and self._controls[-1].is_ticked is not None:
            self._write("")  # a box may have no glyph in it

    def _set_box(self, _: Attributes) -> None:
        if self._form:
            self._form.is_box = True
        elif self._controls:
            self._controls[-1].is_ticked = False

    def _tick(self, attributes: Attributes) -> None:
        if self._form:
            self._form.is_ticked = is_on(attributes)
        elif self._controls and self._controls[-1].is_ticked is not None:
            self._controls[-1].is_ticked = is_on(attributes)

    def _begin_form(self, _: Attributes) -> None:
        self._form = FormField()

    def _choose(self, attributes: Attributes) -> None:
        if self._form:
            self._form.choose(value(attributes))

    def _add_entry(self, attributes: Attributes) -> None:
        if self._form:
            self._form.entries.append(value(attributes))

    def _end_form(self) -> None:
        if self._form:
            self.flow.write(self._form.shown())
        self._form = None

    # Notes, pictures, diagrams and other documents

    def _name_note(self, kind: str, attributes: Attributes) -> None:
        if len(self.references) < MAX_NOTES and not self.flow.is_hidden:
            self.references[kind, attribute(attributes, "id")] = None

    def _begin_note(self, kind: str, attributes: Attributes) -> None:
        self.flow.taken()
        self._note = (kind, attribute(attributes, "id"))

    def _end_note(self) -> None:
        blocks = self.flow.taken()
        if blocks and len(self.notes) < MAX_NOTES:
            self.notes[self._note] = blocks

    def _begin_drawing(self, _: Attributes) -> None:
        self._area = 0.0

    def _set_extent(self, attributes: Attributes) -> None:
        self._area = drawn_area(attribute(attributes, "cx"), attribute(attributes, "cy"))

    def _set_shape(self, attributes: Attributes) -> None:
        self._area = styled_area(attribute(attributes, "style"))

    def _add_picture(self, attributes: Attributes) -> None:
        if not self.flow.is_hidden:
            self.flow.add(self._around.picture(relation(attributes, "embed", "id"), self._area))

    def _add_diagram(self, attributes: Attributes) -> None:
        if not self.flow.is_hidden:
            self.flow.add(self._around.diagram(relation(attributes, "dm")))

    def _add_chunk(self, attributes: Attributes) -> None:
        if not self.flow.is_hidden:
            self.flow.add(self._around.chunk(relation(attributes, "id")))


STARTS: Final[dict[str, Callable[[Body, Attributes], None]]] = {
    "p": Body._begin_paragraph,
    "pPr": Body._begin_marks,
    "pStyle": Body._name_style,
    "r": Body._begin_run,
    "rStyle": Body._name_run_style,
    "rFonts": Body._name_font,
    "vanish": Body._hide,
    "sym": Body._write_symbol,
    "fldChar": Body._meet_field,
    "tbl": Body._begin_table,
    "tc": Body._begin_cell,
    "hidden": Body._hide_row,
    "sdt": Body._begin_control,
    "showingPlcHdr": Body._set_placeholder,
    "docPartGallery": Body._set_gallery,
    "sdtContent": Body._begin_content,
    "checkbox": Body._set_box,
    "checked": Body._tick,
    "ffData": Body._begin_form,
    "checkBox": Body._set_box,
    "default": Body._tick,
    "result": Body._choose,
    "listEntry": Body._add_entry,
    "footnoteReference": lambda body, attributes: body._name_note("footnote", attributes),
    "endnoteReference": lambda body, attributes: body._name_note("endnote", attributes),
    "footnote": lambda body, attributes: body._begin_note("footnote", attributes),
    "endnote": lambda body, attributes: body._begin_note("endnote", attributes),
    "drawing": Body._begin_drawing,
    "pict": Body._begin_drawing,
    "extent": Body._set_extent,
    "shape": Body._set_shape,
    "blip": Body._add_picture,
    "imagedata": Body._add_picture,
    "relIds": Body._add_diagram,
    "altChunk": Body._add_chunk,
}
ENDS: Final[dict[str, Callable[[Body], None]]] = {
    "p": Body._end_paragraph,
    "pPr": Body._end_marks,
    "tc": lambda body: body.flow.end_cell(),
    "tr": lambda body: body.flow.end_row(),
    "tbl": lambda body: body.flow.end_table(),
    "sdt": Body._end_control,
    "sdtContent": Body._end_content,
    "ffData": Body._end_form,
    "footnote": Body._end_note,
    "endnote": Body._end_note,
}


@lru_cache(maxsize=512)
def _name(tag: str) -> str:
    """Return the local name of an element that Word defines; "" for any other."""
    space, _, name = tag.rpartition("}")
    return name if space + "}" in WORD or name in FOREIGN else ""
