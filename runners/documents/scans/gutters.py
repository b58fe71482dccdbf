"""Where lines that were found across several columns are to be cut.

A detector of text joins what stands close together, and columns of a newspaper stand one em apart: no farther than
words of a line that is set to full width. Words begin anywhere, though, and columns at one place in line after line.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

NARROWEST: Final = 0.4
"""Width of the narrowest gutter, in heights of its lines: half an em."""
STRAIGHT: Final = 0.35
"""Farthest that a column's line begins from where the one above began, in heights of the line."""
FEWEST_LINES: Final = 4
"""Fewest lines beside a gutter that ends where its text ends."""
MANY_LINES: Final = 9
"""Fewest lines beside a gutter that lines across it adjoin: white between words lies one below the other by chance."""
ALIGNED: Final = 0.6
"""Smallest share of lines that begin at the gutter itself; others are set in."""
COLUMN_WIDTH: Final = 5.0
"""Width of the narrowest column of prose, in heights of its lines: about twelve letters."""
ADJOINING: Final = 1.6
"""Farthest that lines of one text follow one another, in heights of a line."""

INK: Final = 0.06
"""Smallest share of a line's height that is ink where there is a letter."""
RULE: Final = 0.9
"""Smallest share of a line's height that is ink where a rule between columns passes."""
RULE_WIDTH: Final = 0.2
"""Width of the widest rule, in heights of the line."""

CONTRAST: Final = 40
"""Smallest difference between ink and paper, of 255."""
MOST_CANDIDATES: Final = 60
"""Most places where columns are looked for."""

Span = tuple[float, float]


@dataclass(frozen=True)
class Strip:
    """A line's box (left, top, right, bottom) with the white stretches across it, from left to right."""

    left: float
    top: float
    right: float
    bottom: float
    gaps: Sequence[Span] = ()

    @property
    def height(self) -> float:
        """Of the box."""
        return self.bottom - self.top

    @property
    def middle(self) -> float:
        """The box's centre, down the page."""
        return (self.top + self.bottom) / 2


@dataclass
class _Gutter:
    """White that goes on from line to line; ``x`` is where the lines right of it begin."""

    x: float
    above: Strip | None = None
    first: Strip | None = None
    last: Strip | None = None
    cuts: dict[int, Span] = field(default_factory=dict)
    lines: int = 0
    aligned: int = 0

    def take(self, index: int, strip: Strip) -> bool:
        """One more line; False where there is text across the gutter."""
        if self._begins_at(strip, strip.left):
            self._follow(strip, strip.left)
            return True
        if not strip.left < self.x < strip.right:
            return True
        gap = self._gap_of(strip)
        if gap is not None:
            self.cuts[index] = gap
            self._follow(strip, gap[1])
        return gap is not None

    def is_between_columns(self, below: Strip | None) -> bool:
        """Whether it is more than white between words; ``below`` is the line that ends it."""
        is_within = _adjoin(self.above, self.first) or _adjoin(self.last, below)
        return self.lines >= (MANY_LINES if is_within else FEWEST_LINES) and self.aligned >= ALIGNED * self.lines

    def _begins_at(self, strip: Strip, x: float) -> bool:
        return abs(x - self.x) <= STRAIGHT * strip.height

    def _follow(self, strip: Strip, x: float) -> None:
        self.lines, self.first, self.last = self.lines + 1, self.first or strip, strip
        if self._begins_at(strip, x):
            self.x, self.aligned = x, self.aligned + 1

    def _gap_of(self, strip: Strip) -> Span | None:
        for start, end in strip.gaps:
            if min(end, self.x) - start >= 0.6 * NARROWEST * strip.height and end >= self.x - STRAIGHT * strip.height:
                return start, end
        return None


def strip_of(line: Image.Image, box: Sequence[float]) -> Strip:
    """``line`` is the picture of what is in the box, straightened."""
    left, top, right, bottom = box
    if right - left <= bottom - top:  # it may stand upright on the page, and lies down in its picture
        return Strip(left, top, right, bottom)
    scale = (right - left) / line.width
    (start, end), gaps = _ink(line)
    return Strip(
        left + scale * start,
        top,
        left + scale * end,
        bottom,
        [(left + scale * start, left + scale * end) for start, end in gaps],
    )


def cuts(strips: Sequence[Strip]) -> dict[int, list[Span]]:
    """The gutters across each strip that has some, by the strip's index."""
    found: dict[int, list[Span]] = {}
    order = sorted(enumerate(strips), key=lambda item: item[1].middle)
    for x in _candidates(strips):
        for gutter, below in _followed(order, x):
            if gutter.is_between_columns(below) and _parts_columns(gutter.cuts, strips, found):
                for index, gap in gutter.cuts.items():
                    found[index] = sorted({*found.get(index, []), gap})
    return found


def _parts_columns(cuts: Mapping[int, Span], strips: Sequence[Strip], others: Mapping[int, list[Span]]) -> bool:
    """Whether what stands on both sides is wide enough for prose, up to the gutters that were found before."""
    sides: list[float] = []
    for index, (start, end) in cuts.items():
        strip, gaps = strips[index], others.get(index, [])
        left = max([strip.left, *(edge for _, edge in gaps if edge < start)])
        right = min([strip.right, *(edge for edge, _ in gaps if edge > end)])
        sides.append(min(start - left, right - end) / strip.height)
    return bool(sides) and median(sides) >= COLUMN_WIDTH


def _candidates(strips: Sequence[Strip]) -> list[float]:
    """Where enough lines, or parts of lines behind white, begin; those of most lines first."""
    if not strips:
        return []
    width = STRAIGHT * median(strip.height for strip in strips)
    beginnings = sorted(itertools.chain(*([strip.left, *(end for _, end in strip.gaps)] for strip in strips)))
    groups = _groups(beginnings, width)
    largest = sorted((group for group in groups if len(group) >= FEWEST_LINES), key=len, reverse=True)
    return [median(group) for group in largest[:MOST_CANDIDATES]]


def _groups(values: Sequence[float], width: float) -> list[list[float]]:
    """Sorted values in groups no wider than that."""
    groups: list[list[float]] = []
    for value in values:
        if groups and value - groups[-1][0] <= width:
            groups[-1].append(value)
        else:
            groups.append([value])
    return groups


def _followed(order: Sequence[tuple[int, Strip]], x: float) -> Iterator[tuple[_Gutter, Strip | None]]:
    """Every stretch of white at a place, from one line across it to the next, and the line that ends it."""
    gutter = _Gutter(x)
    for index, strip in order:
        if not gutter.take(index, strip):
            yield gutter, strip
            gutter = _Gutter(x, above=strip)
    yield gutter, None


def _adjoin(above: Strip | None, below: Strip | None) -> bool:
    """Whether two lines are of one text: as wide, as high, and one below the other."""
    if above is None or below is None:
        return False
    height = max(above.height, below.height)
    is_level = abs(above.left - below.left) < height and abs(above.right - below.right) < 2 * height
    return is_level and below.middle - above.middle < ADJOINING * height


def _ink(line: Image.Image) -> tuple[Span, list[Span]]:
    """From which to which pixel there is ink, and where white between is wide enough for a gutter."""
    grey = np.asarray(line.convert("L"), dtype=np.int16)
    dark = grey < _threshold(grey)
    ink: npt.NDArray[np.bool_] = dark if 2 * dark.sum() < dark.size else ~dark
    share = ink.mean(axis=0)
    stretches = list(_runs((share < INK) | _rules(share >= RULE, RULE_WIDTH * line.height)))
    if len(stretches) > 1:
        start = stretches[0][2] if stretches[0][0] else 0
        end = stretches[-1][1] if stretches[-1][0] else line.width
        narrowest = NARROWEST * line.height
        return (start, end), [
            (start, end) for is_white, start, end in stretches[1:-1] if is_white and end - start >= narrowest
        ]
    return (0, line.width), []


def _threshold(grey: npt.NDArray[np.int16]) -> float:
    """Between the paper and the ink; below everything where there is no ink."""
    darkest, lightest = np.percentile(grey, (1, 99))
    return float(darkest + lightest) / 2 if lightest - darkest > CONTRAST else -1.0


def _rules(full: npt.NDArray[np.bool_], widest: float) -> npt.NDArray[np.bool_]:
    """Where narrow stretches are ink from top to bottom."""
    found = np.zeros_like(full)
    for is_full, start, end in _runs(full):
        found[start:end] = is_full and end - start <= widest
    return found


def _runs(values: npt.NDArray[np.bool_]) -> Iterator[tuple[bool, int, int]]:
    """Stretches of one value: which, from where, to before where."""
    edges = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)]
    for start, end in pairwise(edges):
        yield bool(values[start]), start, end
