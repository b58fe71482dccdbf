"""Lines of text with their positions on a page to the page's text: columns, rows, paragraphs.

The recursive X-Y cut of Ha, Haralick and Phillips ("Recursive X-Y cut using bounding boxes of connected components",
ICDAR 1995) over lines. A vertical cut must be a gutter between columns of prose: the white between a receipt's labels
and its prices is as tall, and there a row is read across.
"""

from __future__ import annotations

import re
from bisect import bisect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Final

import numpy as np
import numpy.typing as npt

MIN_COLUMN_LINES: Final = 3
"""Lines of the shortest column."""
MIN_PROSE_CHARACTERS: Final = 15
"""Characters of the median line in a column of prose, at least."""
MIN_LETTER_SHARE: Final = 0.6
"""Share of letters in prose, at least; the rest are digits and signs."""
MAX_LEVEL_SHARE: Final = 0.5
"""Share of lines level with the text beside them below which a side note is separate."""
MIN_CONTINUED_SHARE: Final = 1 / 3
"""Share of a paragraph's rows after the first that begin with a small letter, at least, in prose."""

BOUND_WORDS: Final = frozenset({"elle", "elles", "il", "ils", "je", "même", "mêmes", "nous", "vous"})
"""French words before which a hyphen at a line's end belongs to the word: rendez-vous, lui-même."""


@dataclass(frozen=True)
class TextLine:
    """A piece of text with its box, in any unit of length; y grows downwards."""

    text: str
    left: float
    top: float
    right: float
    bottom: float

    @property
    def height(self) -> float:
        """Height of the box."""
        return self.bottom - self.top

    @property
    def middle(self) -> float:
        """The box's centre, down the page."""
        return (self.top + self.bottom) / 2


Row = list[TextLine]  # side by side, from left to right


def text(lines: Iterable[TextLine]) -> str:
    """Return the lines in reading order: blank lines separate paragraphs, and hyphenated words are joined."""
    written = ""
    above: Row = []
    for paragraph in paragraphs([line for line in lines if line.text.strip()]):
        piece = _written(paragraph)
        if written:
            higher = paragraph[0][0].top < above[0].bottom  # the head of the next column
            written = joined(written, piece, " " if higher and _goes_on(written, piece) else "\n\n")
        else:
            written = piece
        above = paragraph[-1]
    return written


def level(corners: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return boxes [N, 4] (left, top, right, bottom) of quadrilaterals [N, 4, 2] after correcting the page's slope.

    Corners go clockwise from the upper left one.
    """
    along = (corners[:, 1] + corners[:, 2] - corners[:, 0] - corners[:, 3]) / 2
    down = (corners[:, 2] + corners[:, 3] - corners[:, 0] - corners[:, 1]) / 2
    length, height = np.hypot(*along.T), np.hypot(*down.T)
    angle = _median(np.arctan2(along[:, 1], along[:, 0]), np.where(length > 3 * height, length, 0))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    centres, half = corners.mean(axis=1) @ turn, np.stack([length, height], axis=1) / 2
    return np.concatenate([centres - half, centres + half], axis=1)


def _median(values: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]) -> float:
    """Return the weighted median; 0 where all weights are 0."""
    if not weights.any():
        return 0.0
    order = np.argsort(values)
    cumulative = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(cumulative, cumulative[-1] / 2)])


def paragraphs(lines: Sequence[TextLine]) -> Iterator[list[Row]]:
    """Yield paragraphs as rows, every line once, in reading order."""
    if not lines:
        return
    widest = gutter(lines)
    if widest is None:
        yield from _split(rows(lines))
    else:
        for part in widest.parts(lines):
            yield from paragraphs(part)


@dataclass(frozen=True)
class Gutter:
    """White between two columns: left of ``x``, between the middles of the lines above and below it."""

    x: float
    top: float
    bottom: float

    def parts(self, lines: Iterable[TextLine]) -> tuple[list[TextLine], list[TextLine], list[TextLine], list[TextLine]]:
        """Split lines into those above the gutter, left of it, right of it and below, each in order."""
        above: list[TextLine] = []
        left: list[TextLine] = []
        right: list[TextLine] = []
        below: list[TextLine] = []
        for line in lines:
            inside = right if line.left >= self.x else left
            (above if line.middle <= self.top else below if line.middle >= self.bottom else inside).append(line)
        return above, left, right, below


def gutter(lines: Sequence[TextLine]) -> Gutter | None:
    """Return the gutter with most lines beside it, if there is one."""
    height = median(line.height for line in lines)
    best, most_lines = None, 0
    # Just left of where a line begins, so that other lines of its column may begin a little earlier.
    for x in _edges({line.left - 0.3 * height for line in lines}, 0.1 * height):
        for candidate in _gutters_at(lines, x, 0.2 * height):
            _, left, right, _ = candidate.parts(lines)
            if len(left) + len(right) > most_lines and _are_columns(left, right):
                best, most_lines = candidate, len(left) + len(right)
    return best


def _edges(places: Iterable[float], step: float) -> Iterator[float]:
    """Yield places from left to right, only the first within each step."""
    last = float("-inf")
    for place in sorted(places):
        if place >= last + step:
            last = place
            yield place


def _gutters_at(lines: Sequence[TextLine], x: float, width: float) -> Iterator[Gutter]:
    crossing = sorted(line.middle for line in lines if line.left < x and line.right > x - width)
    sides = ([0] * (len(crossing) + 1), [0] * (len(crossing) + 1))
    for line in lines:
        sides[line.left >= x][bisect(crossing, line.middle)] += 1
    for band, (top, bottom) in enumerate(pairwise((float("-inf"), *crossing, float("inf")))):
        if min(sides[0][band], sides[1][band]) >= MIN_COLUMN_LINES:
            yield Gutter(x, top, bottom)


def _are_columns(left: Sequence[TextLine], right: Sequence[TextLine]) -> bool:
    fewer, longer = sorted((left, right), key=len)
    if len(fewer) < MIN_COLUMN_LINES:
        return False
    return (_is_prose(left) and _is_prose(right)) or (_is_prose(longer) and _has_its_own_rhythm(fewer, longer))


def _is_prose(side: Sequence[TextLine]) -> bool:
    characters = "".join(line.text for line in side).replace(" ", "")
    if median(len(line.text) for line in side) < MIN_PROSE_CHARACTERS:
        return False
    return sum(map(str.isalpha, characters)) >= MIN_LETTER_SHARE * len(characters)


def _has_its_own_rhythm(note: Sequence[TextLine], body: Sequence[TextLine]) -> bool:
    level_with = [any(abs(line.middle - other.middle) < 0.25 * other.height for other in body) for line in note]
    return sum(level_with) < MAX_LEVEL_SHARE * len(note)


def rows(lines: Iterable[TextLine]) -> list[Row]:
    """Group lines that stand side by side in rows, from top to bottom."""
    ordered = sorted(lines, key=lambda line: (line.left, line.top))
    followers = _followers(ordered)
    led = set(followers.values())
    chains = [[index] for index in range(len(ordered)) if index not in led]
    for row in chains:
        while row[-1] in followers:
            row.append(followers[row[-1]])
    joined_rows = [[ordered[index] for index in row] for row in chains]
    return sorted(joined_rows, key=lambda row: (median(line.middle for line in row), row[0].left))


def _followers(lines: Sequence[TextLine]) -> dict[int, int]:
    """Return, for lines sorted by their left edges, the index of each one's right neighbour in the same row."""
    following: dict[int, int] = {}
    for index, line in enumerate(lines):
        # The nearest line to the left may already have a nearer neighbour on its right.
        before = next((other for other in range(index - 1, -1, -1) if _are_beside(lines[other], line)), None)
        if before is not None and before not in following:
            following[before] = index
    return following


def _are_beside(line: TextLine, other: TextLine) -> bool:
    lower, higher = sorted((line.height, other.height))
    overlap = min(line.bottom, other.bottom) - max(line.top, other.top)
    return overlap >= 0.5 * lower and higher <= 3 * lower and other.left >= line.right - 0.5 * lower


def _split(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Split a column's rows into paragraphs: at white, or before an indented line that follows a full stop."""
    steps = [_middle(row) - _middle(above) for above, row in pairwise(rows)]
    usual = median(steps) if len(steps) > 1 else 1.2 * rows[0][0].height
    paragraph = [rows[0]]
    for (above, row), step in zip(pairwise(rows), steps, strict=True):
        if step > 1.5 * usual or _is_set_in(row, above):
            yield paragraph
            paragraph = []
        paragraph.append(row)
    yield paragraph


def _middle(row: Row) -> float:
    return median(line.middle for line in row)


def _is_set_in(row: Row, above: Row) -> bool:
    return row[0].left > above[0].left + 0.8 * row[0].height and above[-1].text.rstrip()[-1] in ".!?:»”"


def _written(paragraph: Sequence[Row]) -> str:
    """Join a paragraph's rows: prose flows; verses, addresses, receipts and rows that end early keep line ends."""
    begin, edge = min(row[0].left for row in paragraph), max(row[-1].right for row in paragraph)
    prose = _flows(paragraph)
    written = _across(paragraph[0])
    for above, row in pairwise(paragraph):
        full = row[0].left - begin < row[0].height and _reaches(above, edge, row[0].text)
        written = joined(written, _across(row), " " if prose and full else "\n")
    return written


def _flows(paragraph: Sequence[Row]) -> bool:
    """Whether enough rows begin with a small letter, within a sentence."""
    return sum(row[0].text.strip()[0].islower() for row in paragraph[1:]) >= MIN_CONTINUED_SHARE * (len(paragraph) - 1)


def _across(row: Row) -> str:
    return " ".join(" ".join(line.text for line in row).split())


def _reaches(row: Row, edge: float, following: str) -> bool:
    """Whether the next row's first word would not have fitted in this row; a row with wide gaps is not prose."""
    if any(right.left - left.right > left.height for left, right in pairwise(row)):
        return False
    last = row[-1]
    word = len(following.split(maxsplit=1)[0]) + 1
    return edge - last.right < word * (last.right - last.left) / len(last.text) + 0.5 * last.height


def _goes_on(above: str, below: str) -> bool:
    """Whether a sentence continues from the foot of a column to the head of the next."""
    return below[0].islower() and (above[-1].isalpha() or above[-1] in ",-‐¬\xad")


def joined(above: str, below: str, space: str) -> str:
    """Join two pieces with the space between them, or without it and the hyphen where a word is divided."""
    return ended(above, below, space) + below


def ended(above: str, below: str, space: str) -> str:
    """Return the upper piece with the space after it, or without its hyphen where a word is divided."""
    if space == "\n\n" or not (re.search(r"[^\W\d_][-‐¬\xad]$", above[-2:]) and below[0].islower()):
        return above + space
    first = re.split(r"\W", below, maxsplit=1)[0]
    return above if first in BOUND_WORDS and above.endswith(("-", "‐")) else above[:-1]
