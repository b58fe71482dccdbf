"""Values filled into a PDF: form fields, ticked boxes and typed notes, each in its place on the page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from ctypes import byref, c_ushort, sizeof
from typing import Any, Final

import pypdfium2
from pypdfium2 import raw

from runners.documents.html.html import spaced
from runners.documents.pdf.layer import Piece, frame_of, shown
from runners.documents.text.plain import clean

TICKED: Final = "☒"
EMPTY: Final = "☐"
BOXES: Final = frozenset({raw.FPDF_FORMFIELD_CHECKBOX, raw.FPDF_FORMFIELD_RADIOBUTTON})
CHOICES: Final = frozenset({raw.FPDF_FORMFIELD_COMBOBOX, raw.FPDF_FORMFIELD_LISTBOX})
TYPED: Final = frozenset({raw.FPDF_FORMFIELD_TEXTFIELD, raw.FPDF_FORMFIELD_COMBOBOX})
PASSWORD: Final = 1 << 13
"""Flag of a text field for a password."""
UNSEEN: Final = raw.FPDF_ANNOT_FLAG_HIDDEN | raw.FPDF_ANNOT_FLAG_NOVIEW
MAX_FIELDS: Final = 1_000
"""Annotations of a page that are read."""
MAX_OPTIONS: Final = 500
MAX_VALUE: Final = 100_000
"""Bytes of a value, as UTF-16."""
LINE: Final = 14.0
"""Points between the lines of a value that has several, at most."""
NEAR: Final = 3.0
"""Distance to a label on the right of its checkbox, in heights of a line."""
SHELL: Final = 600
"""Letters below which an XFA form's only page is a notice that it cannot be shown."""


def has_fields(pdf: pypdfium2.PdfDocument) -> bool:
    """Whether the PDF is a form, filled or not."""
    return bool(pdf.get_formtype() != raw.FORMTYPE_NONE)


def is_shell(pdf: pypdfium2.PdfDocument, letters: int) -> bool:
    """Whether the pages are a placeholder for an XFA form, which PDFium cannot draw."""
    kind = pdf.get_formtype()
    if kind not in {raw.FORMTYPE_XFA_FULL, raw.FORMTYPE_XFA_FOREGROUND} or any(
        map(_has_widgets, range(len(pdf)), [pdf] * len(pdf))
    ):
        return False
    return bool(kind == raw.FORMTYPE_XFA_FULL) or (len(pdf) == 1 and letters < SHELL)


def values(page: pypdfium2.PdfPage) -> list[list[Piece]]:
    """Return the lines of each value, from the top of the page to its foot."""
    fields = [lines for annotation in _annotations(page) if (lines := _value(page, annotation))]
    return sorted(fields, key=lambda lines: (-lines[0].top, lines[0].left))


def filled(pieces: Sequence[Piece], values: Sequence[list[Piece]]) -> list[Piece]:
    """Insert each value after its label in the page's pieces."""
    placed = list(pieces)
    for lines in values:
        place, mate = _place(placed, lines[0])
        is_in_row = mate is not None and len(lines) == 1
        placed[place:place] = [
            line._replace(bottom=mate.bottom, top=mate.top) if is_in_row and mate else line for line in lines
        ]
    return placed


def set_in(pieces: Sequence[Piece], blocks: Sequence[list[Piece]]) -> list[Piece]:
    """Insert each block of lines after the piece above it."""
    placed = list(pieces)
    for block in blocks:
        left, right = min(piece.left for piece in block), max(piece.right for piece in block)
        top = max(piece.top for piece in block)
        above = [
            index
            for index, piece in enumerate(placed)
            if piece.middle >= top and piece.left < right and piece.right > left and not piece.turns
        ]
        is_first = not any(piece.middle >= top for piece in placed)
        place = max(above, key=lambda index: -placed[index].bottom) + 1 if above else 0 if is_first else len(placed)
        placed[place:place] = block
    return placed


def _has_widgets(number: int, pdf: pypdfium2.PdfDocument) -> bool:
    page = pdf[number]
    try:
        return any(raw.FPDFAnnot_GetSubtype(annotation) == raw.FPDF_ANNOT_WIDGET for annotation in _annotations(page))
    finally:
        page.close()


def _annotations(page: pypdfium2.PdfPage) -> Iterator[Any]:
    """Yield visible annotations; each is open until the next one is requested."""
    for index in range(min(raw.FPDFPage_GetAnnotCount(page), MAX_FIELDS)):
        annotation = raw.FPDFPage_GetAnnot(page, index)
        if not annotation:
            continue
        try:
            if not raw.FPDFAnnot_GetFlags(annotation) & UNSEEN:
                yield annotation
        finally:
            raw.FPDFPage_CloseAnnot(annotation)


def _value(page: pypdfium2.PdfPage, annotation: Any) -> list[Piece]:
    subtype = raw.FPDFAnnot_GetSubtype(annotation)
    if subtype == raw.FPDF_ANNOT_FREETEXT:
        text = _string(lambda *room: raw.FPDFAnnot_GetStringValue(annotation, b"Contents", *room))
    elif subtype == raw.FPDF_ANNOT_WIDGET and page.formenv:
        text = _of_field(page.formenv.raw, annotation)
    else:
        return []
    rect = raw.FS_RECTF()
    if not raw.FPDFAnnot_GetRect(annotation, byref(rect)):
        return []
    return _stacked([spaced(line) for line in clean(text).split("\n") if line.strip()], shown(rect, frame_of(page)))


def _stacked(texts: Sequence[str], box: tuple[float, float, float, float]) -> list[Piece]:
    left, bottom, right, top = box
    step = min(LINE, (top - bottom) / len(texts)) if len(texts) > 1 else top - bottom
    return [
        Piece(text, left, right, top - step * (number + 1), top - step * number, 0, -1, -1, 0)
        for number, text in enumerate(texts)
    ]


def _of_field(form: Any, annotation: Any) -> str:
    kind = raw.FPDFAnnot_GetFormFieldType(form, annotation)
    if kind in BOXES:
        return TICKED if raw.FPDFAnnot_IsChecked(form, annotation) else EMPTY
    if kind in CHOICES and (chosen := _chosen(form, annotation)):
        return "\n".join(chosen)
    if kind not in TYPED or raw.FPDFAnnot_GetFormFieldFlags(form, annotation) & PASSWORD:
        return ""
    return _string(lambda *room: raw.FPDFAnnot_GetFormFieldValue(form, annotation, *room))


def _chosen(form: Any, annotation: Any) -> list[str]:
    """Return the labels of the selected options."""
    count = min(raw.FPDFAnnot_GetOptionCount(form, annotation), MAX_OPTIONS)
    return [
        _string(lambda *room, index=index: raw.FPDFAnnot_GetOptionLabel(form, annotation, index, *room))
        for index in range(count)
        if raw.FPDFAnnot_IsOptionSelected(form, annotation, index)
    ]


def _string(get: Callable[..., int]) -> str:
    """Return the string that a PDFium function writes into a buffer as UTF-16 with a final zero."""
    size = get(None, 0)
    if not 2 < size <= MAX_VALUE:
        return ""
    buffer = (c_ushort * (size // sizeof(c_ushort) + 1))()
    get(buffer, size)
    return bytes(buffer)[: size - 2].decode("utf-16-le", "replace")


def _place(pieces: Sequence[Piece], value: Piece) -> tuple[int, Piece | None]:
    """Return the index at which to insert a value, and the piece in whose row it stands."""
    level = [index for index, piece in enumerate(pieces) if not piece.turns and _are_level(piece, value)]
    before = max(
        (index for index in level if pieces[index].left < value.left),
        key=lambda index: pieces[index].left,
        default=None,
    )
    after = min(
        (index for index in level if pieces[index].left >= value.left),
        key=lambda index: pieces[index].left,
        default=None,
    )
    if (
        value.text in {TICKED, EMPTY}
        and after is not None
        and pieces[after].left - value.right < NEAR * pieces[after].size
    ):
        return after, pieces[after]
    label = _above(pieces, value)
    if before is not None and (label is None or not _is_nearer(pieces[label], pieces[before], value)):
        return before + 1, pieces[before]
    if label is not None:
        return label + 1, None
    return (after, pieces[after]) if after is not None else _by_height(pieces, value)


def _are_level(piece: Piece, value: Piece) -> bool:
    shared = min(piece.top, value.top) - max(piece.bottom, value.bottom)
    return shared >= 0.5 * min(piece.size, value.size)


def _above(pieces: Sequence[Piece], value: Piece) -> int | None:
    """Return the index of the piece right above a value that may be its label."""
    near = [
        index
        for index, piece in enumerate(pieces)
        if not piece.turns
        and piece.row >= 0
        and piece.left < value.right
        and piece.right > value.left
        and -0.5 * piece.size <= piece.bottom - value.top < 1.5 * piece.size
    ]
    return min(near, key=lambda index: (pieces[index].bottom, abs(pieces[index].left - value.left)), default=None)


def _is_nearer(label: Piece, before: Piece, value: Piece) -> bool:
    """Whether the label above a value begins where it does, and is nearer than the piece on its left."""
    is_aligned = abs(label.left - value.left) < label.size
    return is_aligned and label.bottom - value.top < 0.3 * (value.left - before.right)


def _by_height(pieces: Sequence[Piece], value: Piece) -> tuple[int, None]:
    above = [index for index, piece in enumerate(pieces) if piece.bottom >= value.middle]
    return (max(above, key=lambda index: (-pieces[index].bottom, index)) + 1 if above else 0), None
