"""The pieces of a PDF's page in reading order.

Programs mostly draw a page in reading order, and that order carries more information than the geometry: it is kept, in
runs that go down the page. Geometry decides where the order of drawing cannot be read: runs below later runs, columns
of a table drawn one after the other, lines of two columns drawn in turn.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import median
from typing import Final

import numpy as np

from runners.documents.pdf.layer import Piece
from runners.documents.pdf.letters import RIGHT_TO_LEFT
from runners.documents.pdf.lines import PdfLine
from runners.documents.scans import layout

Run = list[Piece]
"""Rows of one or more pieces, each below the one before it."""

MAX_PIECES: Final = 400
"""Pieces of a page that are put in order: time grows with their square. A page of prose has fifty."""
MAX_PAIRS: Final = 400
"""Pairs of runs beside one another that are compared."""
MAX_BACKWARDS_SHARE: Final = 0.02
"""Share of a page's characters that may stand above the text they follow: formulas have some."""
ROW_TOLERANCE: Final = 0.3
"""Share of a line's height by which cells of one row may differ in height."""
SAME_ROWS: Final = 0.8
"""Share of a column's cells that must be level with cells of the column beside it."""
SOME_ROWS: Final = 0.5
MAX_SWITCHES: Final = 3
"""Switches between two columns in the order of drawing; more mean lines drawn across both."""
MIN_ROWS: Final = 3
"""Rows of several pieces from which a page may have columns that are drawn across."""
FULL_LINE_SHARE: Final = 0.85
"""Share of a column's width that a full line has."""
PROSE_SHARE: Final = 0.6
"""Share of full lines in a column of prose."""
PROSE_LETTERS: Final = 15
WRAPPED_LETTERS: Final = 20
PROSE_IDEOGRAPHS: Final = 7
IDEOGRAPHS: Final = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


def lines(pieces: Sequence[Piece]) -> list[PdfLine]:
    """Return each row as a line; sideways letters come last."""
    is_mirrored = _is_right_to_left(pieces)
    upright = [_mirrored(piece) if is_mirrored else piece for piece in pieces if piece.text and not piece.turns]
    aside = [piece for piece in pieces if piece.text and piece.turns]
    rows = [*_rows(upright), *([piece] for piece in aside)]
    return [_line([_mirrored(piece) for piece in row] if is_mirrored else row) for row in rows]


def _rows(pieces: Sequence[Piece]) -> list[Run]:
    if len(pieces) > MAX_PIECES:
        return list(_rows_of(pieces))
    runs = _merged(_sorted(_runs(pieces)))
    ordered = [piece for run in runs for piece in run]
    if _goes_back(ordered) or _crosses_columns(ordered):
        return list(_by_geometry(pieces))
    return [row for run in runs for row in _rows_of(run)]


def _line(row: Sequence[Piece]) -> PdfLine:
    first = row[0]
    left, right = min(piece.left for piece in row), max(piece.right for piece in row)
    return PdfLine(" ".join(piece.text for piece in row), left, right, first.bottom, first.size, len(row))


def _is_right_to_left(pieces: Sequence[Piece]) -> bool:
    text = "".join(piece.text for piece in pieces)
    return 2 * len(RIGHT_TO_LEFT.findall(text)) > sum(map(str.isalpha, text))


def _mirrored(piece: Piece) -> Piece:
    return piece._replace(left=-piece.right, right=-piece.left)


def _runs(pieces: Sequence[Piece]) -> list[Run]:
    """Split pieces, in order of drawing, where the next one stands higher, or to the left in the same row."""
    runs: list[Run] = []
    for piece in pieces:
        if runs and _follows(piece, runs[-1][-1]):
            runs[-1].append(piece)
        else:
            runs.append([piece])
    return runs


def _follows(piece: Piece, other: Piece) -> bool:
    return _is_below(piece, other) or _is_beside(piece, other)


def _is_below(piece: Piece, other: Piece) -> bool:
    return piece.middle < other.middle and not _are_level(piece, other)


def _is_beside(piece: Piece, other: Piece) -> bool:
    return _are_level(piece, other) and piece.left >= other.right - 0.5 * other.size


def _are_level(piece: Piece, other: Piece) -> bool:
    shared = min(piece.top, other.top) - max(piece.bottom, other.bottom)
    return shared >= 0.5 * min(piece.size, other.size)


def _rows_of(run: Sequence[Piece]) -> Iterator[Run]:
    row: Run = []
    for piece in run:
        if row and not _is_beside(piece, row[-1]):
            yield row
            row = []
        row.append(piece)
    if row:
        yield row


def _sorted(runs: list[Run]) -> list[Run]:
    """Sort runs so that none follows another that stands wholly below it (Kahn's algorithm)."""
    if len(runs) < 2:
        return runs
    boxes = np.array([_box(run) for run in runs])
    left, right, bottom, top = boxes.T
    overlap = np.minimum.outer(right, right) - np.maximum.outer(left, left) > 0
    is_above = overlap & (bottom[:, None] >= top[None, :] - 0.25 * median(piece.size for run in runs for piece in run))
    has_rows = np.array([len(run) > 2 for run in runs])
    beside = (np.minimum.outer(top, top) > np.maximum.outer(bottom, bottom)) & (right[:, None] <= left[None, :])
    later = np.tril(beside & has_rows[:, None] & has_rows[None, :])
    for index, before in np.argwhere(later)[:MAX_PAIRS]:
        is_above[index, before] |= _is_left_column(runs[index], runs[before])
    np.fill_diagonal(is_above, False)
    is_above &= ~is_above.T
    waiting = is_above.sum(axis=0)
    ready = [index for index in range(len(runs)) if not waiting[index]]
    order: list[int] = []
    while ready:
        order.append(heapq.heappop(ready))
        for below in np.flatnonzero(is_above[order[-1]]):
            waiting[below] -= 1
            if not waiting[below]:
                heapq.heappush(ready, int(below))
    return [runs[index] for index in order] if len(order) == len(runs) else runs


def _is_left_column(run: Run, other: Run) -> bool:
    """Whether both runs are columns of prose, the other one on the right."""
    cells, other_cells = _beside(run, other), _beside(other, run)
    return min(len(cells), len(other_cells)) > 2 and _is_prose(cells) and _is_prose(other_cells)


def _box(run: Run) -> tuple[float, float, float, float]:
    """Return left, right, bottom and top."""
    left, right = min(piece.left for piece in run), max(piece.right for piece in run)
    return left, right, min(piece.bottom for piece in run), max(piece.top for piece in run)


def _merged(runs: list[Run]) -> list[Run]:
    """Merge columns of a table that are drawn one after the other into rows."""
    merged: list[Run] = []
    is_table = False
    for run in runs:
        if merged and _are_columns_of_a_table(merged[-1], run, is_table=is_table):
            merged[-1] = [piece for row in _across([*merged[-1], *run]) for piece in row]
            is_table = True
        else:
            merged.append(run)
            is_table = False
    return merged


def _are_columns_of_a_table(run: Run, other: Run, *, is_table: bool) -> bool:
    """Whether the runs' cells are level with each other, and none overlap."""
    cells, other_cells = _beside(run, other), _beside(other, run)
    if min(len(cells), len(other_cells)) < 2 or any(_overlap(piece, cell) for piece in cells for cell in other_cells):
        return False
    if _is_set_in(cells) or _is_set_in(other_cells) or _wraps(cells) or _wraps(other_cells):
        return False
    share, other_share = _level_share(cells, other_cells), _level_share(other_cells, cells)
    prose = (not is_table and _is_prose(cells)) + _is_prose(other_cells)
    enough = SAME_ROWS if prose else SOME_ROWS
    return prose < 2 and max(share, other_share) >= SAME_ROWS and min(share, other_share) >= enough


def _is_set_in(column: Sequence[Piece]) -> bool:
    """Whether the column has form values, which already follow their labels."""
    return any(piece.row < 0 for piece in column)


def _wraps(column: Sequence[Piece]) -> bool:
    """Whether lines are long and continue the sentence above: cells of a table are short."""
    usual = median(len(piece.text) for piece in column)
    return usual >= WRAPPED_LETTERS and any(piece.text[0].islower() for piece in column[1:])


def _beside(run: Run, other: Run) -> list[Piece]:
    """Return the run's pieces at the height of the other run."""
    _, _, bottom, top = _box(other)
    return [piece for piece in run if bottom < piece.middle < top]


def _overlap(piece: Piece, other: Piece) -> bool:
    return _are_level(piece, other) and min(piece.right, other.right) - max(piece.left, other.left) > 0.5 * piece.size


def _level_share(cells: Sequence[Piece], other_cells: Sequence[Piece]) -> float:
    heights = np.array([other.bottom for other in other_cells])
    return sum(bool((abs(heights - cell.bottom) < ROW_TOLERANCE * cell.size).any()) for cell in cells) / len(cells)


def _is_prose(column: Sequence[Piece]) -> bool:
    """Whether lines begin within sentences, or most of them are long and full."""
    small = sum(piece.text[0].islower() for piece in column[1:])
    if len(column) > 2 and small >= layout.MIN_CONTINUED_SHARE * (len(column) - 1):
        return median(len(piece.text) for piece in column) >= PROSE_LETTERS
    left, right = min(piece.left for piece in column), max(piece.right for piece in column)
    full = sum(piece.right - left >= FULL_LINE_SHARE * (right - left) for piece in column)
    usual = median(len(piece.text) for piece in column)
    enough = _enough("".join(piece.text for piece in column))
    return len(column) > 2 and usual >= enough and full >= PROSE_SHARE * len(column)


def _enough(text: str) -> int:
    """Return the number of characters from which a line counts as prose."""
    return PROSE_IDEOGRAPHS if IDEOGRAPHS.search(text) else PROSE_LETTERS


def _goes_back(pieces: Sequence[Piece]) -> bool:
    """Whether pieces follow others that stand right below them."""
    if all(_follows(piece, other) for other, piece in pairwise(pieces)):
        return False
    boxes = np.array([(piece.left, piece.right, piece.middle, piece.size) for piece in pieces])
    left, right, middle, size = boxes.T
    overlap = np.minimum.outer(right, right) - np.maximum.outer(left, left) > 0.5 * np.minimum.outer(size, size)
    higher = middle[None, :] > middle[:, None] + 0.7 * np.minimum.outer(size, size)
    later = np.triu(np.ones((len(pieces), len(pieces)), dtype=bool), 1)
    back = (overlap & higher & later).any(axis=0)
    lengths = np.array([len(piece.text) for piece in pieces])
    return bool(lengths[back].sum() > max(MAX_BACKWARDS_SHARE * lengths.sum(), 3))


def _crosses_columns(pieces: Sequence[Piece]) -> bool:
    """Whether lines of two columns of prose alternate."""
    beside = sum(_is_beside(piece, other) for other, piece in pairwise(pieces))
    long = sum(len(piece.text) >= _enough(piece.text) for piece in pieces)
    if beside < MIN_ROWS or 2 * long < len(pieces):
        return False
    flat = [_flat(piece) for piece in pieces]
    gutter = layout.gutter(flat)
    if gutter is None:
        return False
    inside = [piece for piece, line in zip(pieces, flat, strict=True) if gutter.top < line.middle < gutter.bottom]
    sides = [piece.left >= gutter.x for piece in inside]
    if sum(side != following for side, following in pairwise(sides)) <= MAX_SWITCHES:
        return False
    return all(
        _is_prose([piece for piece, is_right in zip(inside, sides, strict=True) if is_right is side])
        for side in (False, True)
    )


def _flat(piece: Piece) -> layout.TextLine:
    return layout.TextLine(piece.text, piece.left, -piece.top, piece.right, -piece.bottom)


def _by_geometry(pieces: Sequence[Piece]) -> Iterator[Run]:
    flat = {_flat(piece): piece for piece in pieces}
    for paragraph in layout.paragraphs(list(flat)):
        for row in paragraph:
            yield [flat[line] for line in row]


def _across(pieces: Sequence[Piece]) -> list[Run]:
    flat = {_flat(piece): piece for piece in pieces}
    return [[flat[line] for line in row] for row in layout.rows(list(flat))]
