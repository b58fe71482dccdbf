"""The pictures on a PDF's page: their positions, and renderings of pages."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Sequence
from ctypes import addressof, byref, c_float, c_ubyte
from typing import Any, Final, NamedTuple

import pypdfium2
from PIL import Image
from pypdfium2 import raw

from runners.documents.pdf.layer import frame_of, turned
from runners.documents.pdf.letters import Box
from runners.errors import InvalidDocument

PIXELS_PER_POINT: Final = 200 / 72
MAX_PIXELS: Final = 4_000_000
"""Pixels of a page's picture: A4 and letter have 3.9 and 3.7 million at 200 dots an inch."""
MAX_SIDE: Final = 10_000

MAX_OBJECTS: Final = 10_000
"""Objects of a page that are searched for pictures."""
MAX_PICTURES: Final = 300
MAX_DEPTH: Final = 3
"""Depth of nested form objects that are searched."""
TOUCHING: Final = 2.0
"""Points between boxes up to which they count as strips of one scan."""
OUTLINE: Final = 8
"""Segments above which a drawn path may be a letter rather than a line or frame."""
LETTER: Final = 3.0, 40.0
"""Minimum and maximum height, in points, of a letter that is drawn as a path."""
OUTLINES: Final = 200
"""Letters drawn as paths from which a page without other text is read by OCR."""
MAX_PRINTED: Final = 2_000_000
"""Bytes of a picture up to which its content is compared with other pages' pictures."""
NO_AREA: Final = "the PDF is damaged, or ends too early"

Matrix = tuple[float, float, float, float, float, float]


class PlacedPicture(NamedTuple):
    """A picture on the page as shown."""

    box: Box
    order: int
    """Number of the page's own object that holds it: later ones are drawn over earlier ones."""
    handle: Any


def placed_pictures(page: pypdfium2.PdfPage) -> list[PlacedPicture]:
    """Return a page's pictures in order of drawing, clipped to the page."""
    frame = frame_of(page)
    width, height = page.get_size()
    pictures = []
    for order, handle, matrix in _objects(page):
        if raw.FPDFPageObj_GetType(handle) != raw.FPDF_PAGEOBJ_IMAGE:
            continue
        left, bottom, right, top = turned(_moved(_bounds(handle), matrix), frame)
        box = max(left, 0.0), max(bottom, 0.0), min(right, width), min(top, height)
        if box[0] < box[2] and box[1] < box[3]:
            pictures.append(PlacedPicture(box, order, handle))
        if len(pictures) >= MAX_PICTURES:
            break
    return pictures


def outlines(page: pypdfium2.PdfPage) -> Box | None:
    """Return the box around letters that are drawn as paths, if there are many."""
    frame = frame_of(page)
    boxes = []
    for _, handle, matrix in _objects(page):
        if raw.FPDFPageObj_GetType(handle) == raw.FPDF_PAGEOBJ_PATH and raw.FPDFPath_CountSegments(handle) > OUTLINE:
            box = turned(_moved(_bounds(handle), matrix), frame)
            if LETTER[0] <= box[3] - box[1] <= LETTER[1]:
                boxes.append(box)
    return _around(boxes) if len(boxes) >= OUTLINES else None


def orders(page: pypdfium2.PdfPage) -> dict[int, int]:
    """Return the order of drawing of each object, by its address."""
    return {addressof(handle.contents): order for order, handle, _ in _objects(page)}


def regions(pictures: Sequence[Box]) -> list[Box]:
    """Merge the boxes of pictures that touch."""
    boxes: list[Box] = []
    for picture in pictures:
        joined = picture
        while touching := [other for other in boxes if _touch(joined, other)]:
            boxes = [other for other in boxes if other not in touching]
            joined = _around([joined, *touching])
        boxes.append(joined)
    return boxes


def area(box: Box) -> float:
    """Return the area in square points; 0 for an inverted box."""
    return max(box[2] - box[0], 0.0) * max(box[3] - box[1], 0.0)


def shared(box: Box, other: Box) -> Box:
    """Return the intersection of two boxes; its area is 0 where there is none."""
    return max(box[0], other[0]), max(box[1], other[1]), min(box[2], other[2]), min(box[3], other[3])


def print_of(picture: PlacedPicture) -> tuple[int, ...]:
    """Return a fingerprint of a picture and its position."""
    size = int(raw.FPDFImageObj_GetImageDataRaw(picture.handle, None, 0))
    buffer = (c_ubyte * min(size, MAX_PRINTED))()
    if size <= MAX_PRINTED:
        raw.FPDFImageObj_GetImageDataRaw(picture.handle, buffer, size)
    return zlib.crc32(buffer), size, *(round(side) for side in picture.box)


def drawn(page: pypdfium2.PdfPage) -> Image.Image:
    """Render the page. Raises InvalidDocument for one without an area."""
    bitmap = page.render(scale=scale(*page.get_size()), may_draw_forms=False)
    try:
        image: Image.Image = bitmap.to_pil().convert("RGB").copy()
    finally:
        bitmap.close()
    return image


def scale(width: float, height: float) -> float:
    """Return pixels per point. Raises InvalidDocument for a page without an area."""
    if not (0 < width < math.inf and 0 < height < math.inf):
        raise InvalidDocument(NO_AREA)
    return min(PIXELS_PER_POINT, math.sqrt(MAX_PIXELS / (width * height)), MAX_SIDE / max(width, height))


def _objects(page: pypdfium2.PdfPage) -> Iterator[tuple[int, Any, Matrix]]:
    """Yield the page's objects, including those in its forms, with their containers' matrix."""
    remaining = MAX_OBJECTS
    for order in range(min(raw.FPDFPage_CountObjects(page), MAX_OBJECTS)):
        for handle, matrix in _inside(raw.FPDFPage_GetObject(page, order), (1, 0, 0, 1, 0, 0), MAX_DEPTH):
            yield order, handle, matrix
            remaining -= 1
            if not remaining:
                return


def _inside(handle: Any, matrix: Matrix, depth: int) -> Iterator[tuple[Any, Matrix]]:
    yield handle, matrix
    if depth and raw.FPDFPageObj_GetType(handle) == raw.FPDF_PAGEOBJ_FORM:
        form_matrix = raw.FS_MATRIX()
        raw.FPDFPageObj_GetMatrix(handle, byref(form_matrix))
        inner = _multiplied(
            (form_matrix.a, form_matrix.b, form_matrix.c, form_matrix.d, form_matrix.e, form_matrix.f), matrix
        )
        for index in range(min(raw.FPDFFormObj_CountObjects(handle), MAX_OBJECTS)):
            yield from _inside(raw.FPDFFormObj_GetObject(handle, index), inner, depth - 1)


def _multiplied(first: Matrix, second: Matrix) -> Matrix:
    a, b, c, d, e, f = first
    k, m, n, o, p, q = second
    return a * k + b * n, a * m + b * o, c * k + d * n, c * m + d * o, e * k + f * n + p, e * m + f * o + q


def _bounds(handle: Any) -> Box:
    left, bottom, right, top = c_float(), c_float(), c_float(), c_float()
    raw.FPDFPageObj_GetBounds(handle, byref(left), byref(bottom), byref(right), byref(top))
    return left.value, bottom.value, right.value, top.value


def _moved(box: Box, matrix: Matrix) -> Box:
    a, b, c, d, e, f = matrix
    corners = [(x * a + y * c + e, x * b + y * d + f) for x in (box[0], box[2]) for y in (box[1], box[3])]
    across, along = zip(*corners, strict=True)
    return min(across), min(along), max(across), max(along)


def _around(boxes: Sequence[Box]) -> Box:
    left, bottom, right, top = zip(*boxes, strict=True)
    return min(left), min(bottom), max(right), max(top)


def _touch(box: Box, other: Box) -> bool:
    across = max(box[0] - other[2], other[0] - box[2])
    along = max(box[1] - other[3], other[1] - box[3])
    return across <= TOUCHING and along <= TOUCHING
