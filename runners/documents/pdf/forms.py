"""What was filled into a PDF: values of form fields, ticked boxes and typed notes, each in its place on the page."""

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
"""Flag of a text field that shows no letters."""
UNSEEN: Final = raw.FPDF_ANNOT_FLAG_HIDDEN | raw.FPDF_ANNOT_FLAG_NOVIEW
MAX_FIELDS: Final = 1_000
"""Most annotations of a page that are looked at."""
MAX_OPTIONS: Final = 500
MAX_VALUE: Final = 100_000
"""Most bytes of a value, as UTF-16."""
LINE: Final = 14.0
"""Most points between the lines of a value that has several."""
NEAR: Final = 3.0
"""Heights of a line within which a box's label stands to its right."""
SHELL: Final = 600
"""An XFA form's page that says only that it cannot be shown has fewer letters than this."""


def has_fields(pdf: pypdfium2.PdfDocument) -> bool:
    """Whether it is a form, filled or not."""
    return bool(pdf.get_formtype() != raw.FORMTYPE_NONE)


def is_shell(pdf: pypdfium2.PdfDocument, letters: int) -> bool:
    """Whether pages that have no fields stand in for an XFA form, of which PDFium draws nothing."""
    kind = pdf.get_formtype()
    if kind not in {raw.FORMTYPE_XFA_FULL, raw.FORMTYPE_XFA_FOREGROUND} or any(
        map(_has_widgets, range(len(pdf)), [pdf] * len(pdf))
    ):
        return False
    return bool(kind == raw.FORMTYPE_XFA_FULL) or (len(pdf) == 1 and letters < SHELL)


def values(page: pypdfium2.PdfPage) -> list[list[Piece]]:
    """The lines of each value, from the top of the page to its foot."""
    found = [lines for annotation in _annotations(page) if (lines := _value(page, annotation))]
    return sorted(found, key=lambda lines: (-lines[0].top, lines[0].left))


def filled(pieces: Sequence[Piece], values: Sequence[list[Piece]]) -> list[Piece]:
    """The page's pieces with each value behind its label."""
    found = list(pieces)
    for lines in values:
        place, mate = _place(found, lines[0])
        is_in_row = mate is not None and len(lines) == 1
        found[place:place] = [
            line._replace(bottom=mate.bottom, top=mate.top) if is_in_row and mate else line for line in lines
        ]
    return found


def set_in(pieces: Sequence[Piece], blocks: Sequence[list[Piece]]) -> list[Piece]:
    """The page's pieces with each block of lines behind what stands above it."""
    found = list(pieces)
    for block in blocks:
        left, right = min(piece.left for piece in block), max(piece.right for piece in block)
        top = max(piece.top for piece in block)
        above = [
            index
            for index, piece in enumerate(found)
            if piece.middle >= top and piece.left < right and piece.right > left and not piece.turns
        ]
        is_first = not any(piece.middle >= top for piece in found)
        place = max(above, key=lambda index: -found[index].bottom) + 1 if above else 0 if is_first else len(found)
        found[place:place] = block
    return found


def _has_widgets(number: int, pdf: pypdfium2.PdfDocument) -> bool:
    page = pdf[number]
    try:
        return any(raw.FPDFAnnot_GetSubtype(each) == raw.FPDF_ANNOT_WIDGET for each in _annotations(page))
    finally:
        page.close()


def _annotations(page: pypdfium2.PdfPage) -> Iterator[Any]:
    """Those that are shown; each is open until the next one is asked for."""
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
    """The labels of the options that are selected."""
    count = min(raw.FPDFAnnot_GetOptionCount(form, annotation), MAX_OPTIONS)
    return [
        _string(lambda *room, index=index: raw.FPDFAnnot_GetOptionLabel(form, annotation, index, *room))
        for index in range(count)
        if raw.FPDFAnnot_IsOptionSelected(form, annotation, index)
    ]


def _string(get: Callable[..., int]) -> str:
    """What one of PDFium's functions writes into a buffer, as UTF-16 that ends with a zero."""
    size = get(None, 0)
    if not 2 < size <= MAX_VALUE:
        return ""
    buffer = (c_ushort * (size // sizeof(c_ushort) + 1))()
    get(buffer, size)
    return bytes(buffer)[: size - 2].decode("utf-16-le", "replace")


def _place(pieces: Sequence[Piece], value: Piece) -> tuple[int, Piece | None]:
    """Where a value goes, and the piece in whose row it stands."""
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
    """The piece right above a value, and no value itself, which may be its label."""
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
    """Whether the label above a value is nearer than what stands left of it, and begins where it does."""
    is_aligned = abs(label.left - value.left) < label.size
    return is_aligned and label.bottom - value.top < 0.3 * (value.left - before.right)


def _by_height(pieces: Sequence[Piece], value: Piece) -> tuple[int, None]:
    above = [index for index, piece in enumerate(pieces) if piece.bottom >= value.middle]
    return (max(above, key=lambda index: (-pieces[index].bottom, index)) + 1 if above else 0), None
