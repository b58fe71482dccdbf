"""Finds where lines that were detected across several columns must be cut.

A text detector joins what is close together, and columns of a newspaper are one em apart: no farther than words of a
justified line. Words begin anywhere, though, and columns at the same place in line after line.
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

MIN_GUTTER_WIDTH: Final = 0.4
"""Width of the narrowest gutter, in heights of its lines: half an em."""
MAX_OFFSET: Final = 0.35
"""Offset between the beginnings of a column's lines, at most, in heights of the line."""
MIN_LINES: Final = 4
"""Lines that a gutter must have beside it if it ends where its text ends."""
MIN_ADJOINED_LINES: Final = 9
"""Lines that a gutter must have if lines across it adjoin: white between words may align by chance."""
MIN_ALIGNED_SHARE: Final = 0.6
"""Share of lines that must begin at the gutter itself; others are indented."""
MIN_COLUMN_WIDTH: Final = 5.0
"""Width of the narrowest column of prose, in heights of its lines: about twelve letters."""
MAX_LINE_DISTANCE: Final = 1.6
"""Distance between consecutive lines of one text, at most, in heights of a line."""

MIN_INK_SHARE: Final = 0.06
"""Share of a line's height from which a pixel column holds a letter."""
MIN_RULE_SHARE: Final = 0.9
"""Share of a line's height from which a pixel column may be a rule between columns."""
MAX_RULE_WIDTH: Final = 0.2
"""Width of the widest rule, in heights of the line."""

MIN_CONTRAST: Final = 40
"""Difference in grey between ink and paper, of 255, below which a line is blank."""
MAX_CANDIDATES: Final = 60
"""Places that are examined for columns."""

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
        """Height of the box."""
        return self.bottom - self.top

    @property
    def middle(self) -> float:
        """The box's centre, down the page."""
        return (self.top + self.bottom) / 2


@dataclass
class _Gutter:
    """White that continues from line to line; ``x`` is where the lines right of it begin."""

    x: float
    above: Strip | None = None
    first: Strip | None = None
    last: Strip | None = None
    cuts: dict[int, Span] = field(default_factory=dict)
    lines: int = 0
    aligned: int = 0

    def take(self, index: int, strip: Strip) -> bool:
        """Add a line; return False where text crosses the gutter."""
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
        """Whether the gutter separates columns rather than words; ``below`` is the line that ends it."""
        is_within = _adjoin(self.above, self.first) or _adjoin(self.last, below)
        return (
            self.lines >= (MIN_ADJOINED_LINES if is_within else MIN_LINES)
            and self.aligned >= MIN_ALIGNED_SHARE * self.lines
        )

    def _begins_at(self, strip: Strip, x: float) -> bool:
        return abs(x - self.x) <= MAX_OFFSET * strip.height

    def _follow(self, strip: Strip, x: float) -> None:
        self.lines, self.first, self.last = self.lines + 1, self.first or strip, strip
        if self._begins_at(strip, x):
            self.x, self.aligned = x, self.aligned + 1

    def _gap_of(self, strip: Strip) -> Span | None:
        for start, end in strip.gaps:
            if (
                min(end, self.x) - start >= 0.6 * MIN_GUTTER_WIDTH * strip.height
                and end >= self.x - MAX_OFFSET * strip.height
            ):
                return start, end
        return None


def strip_of(line: Image.Image, box: Sequence[float]) -> Strip:
    """Measure a line; ``line`` is the straightened picture of the box."""
    left, top, right, bottom = box
    if right - left <= bottom - top:  # vertical text on the page is horizontal in its picture
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
    """Return the gutters across each strip, by the strip's index."""
    by_strip: dict[int, list[Span]] = {}
    order = sorted(enumerate(strips), key=lambda item: item[1].middle)
    for x in _candidates(strips):
        for gutter, below in _followed(order, x):
            if gutter.is_between_columns(below) and _parts_columns(gutter.cuts, strips, by_strip):
                for index, gap in gutter.cuts.items():
                    by_strip[index] = sorted({*by_strip.get(index, []), gap})
    return by_strip


def _parts_columns(cuts: Mapping[int, Span], strips: Sequence[Strip], earlier: Mapping[int, list[Span]]) -> bool:
    """Whether both sides are wide enough for prose, up to the gutters found before."""
    sides: list[float] = []
    for index, (start, end) in cuts.items():
        strip, gaps = strips[index], earlier.get(index, [])
        left = max([strip.left, *(edge for _, edge in gaps if edge < start)])
        right = min([strip.right, *(edge for edge, _ in gaps if edge > end)])
        sides.append(min(start - left, right - end) / strip.height)
    return bool(sides) and median(sides) >= MIN_COLUMN_WIDTH


def _candidates(strips: Sequence[Strip]) -> list[float]:
    """Return places where enough lines, or parts of lines after white, begin; the most frequent first."""
    if not strips:
        return []
    width = MAX_OFFSET * median(strip.height for strip in strips)
    beginnings = sorted(itertools.chain(*([strip.left, *(end for _, end in strip.gaps)] for strip in strips)))
    groups = _groups(beginnings, width)
    largest = sorted((group for group in groups if len(group) >= MIN_LINES), key=len, reverse=True)
    return [median(group) for group in largest[:MAX_CANDIDATES]]


def _groups(values: Sequence[float], width: float) -> list[list[float]]:
    """Group sorted values so that no group is wider than ``width``."""
    groups: list[list[float]] = []
    for value in values:
        if groups and value - groups[-1][0] <= width:
            groups[-1].append(value)
        else:
            groups.append([value])
    return groups


def _followed(order: Sequence[tuple[int, Strip]], x: float) -> Iterator[tuple[_Gutter, Strip | None]]:
    """Yield every stretch of white at a place between lines across it, and the line that ends it."""
    gutter = _Gutter(x)
    for index, strip in order:
        if not gutter.take(index, strip):
            yield gutter, strip
            gutter = _Gutter(x, above=strip)
    yield gutter, None


def _adjoin(above: Strip | None, below: Strip | None) -> bool:
    """Whether two lines belong to one text: equally wide and high, one below the other."""
    if above is None or below is None:
        return False
    height = max(above.height, below.height)
    is_level = abs(above.left - below.left) < height and abs(above.right - below.right) < 2 * height
    return is_level and below.middle - above.middle < MAX_LINE_DISTANCE * height


def _ink(line: Image.Image) -> tuple[Span, list[Span]]:
    """Return the first and last pixel with ink, and the white in between that is wide enough for a gutter."""
    grey = np.asarray(line.convert("L"), dtype=np.int16)
    dark = grey < _threshold(grey)
    ink: npt.NDArray[np.bool_] = dark if 2 * dark.sum() < dark.size else ~dark
    share = ink.mean(axis=0)
    stretches = list(_runs((share < MIN_INK_SHARE) | _rules(share >= MIN_RULE_SHARE, MAX_RULE_WIDTH * line.height)))
    if len(stretches) > 1:
        start = stretches[0][2] if stretches[0][0] else 0
        end = stretches[-1][1] if stretches[-1][0] else line.width
        narrowest = MIN_GUTTER_WIDTH * line.height
        return (start, end), [
            (start, end) for is_white, start, end in stretches[1:-1] if is_white and end - start >= narrowest
        ]
    return (0, line.width), []


def _threshold(grey: npt.NDArray[np.int16]) -> float:
    """Return the grey between paper and ink; below every value where there is no ink."""
    darkest, lightest = np.percentile(grey, (1, 99))
    return float(darkest + lightest) / 2 if lightest - darkest > MIN_CONTRAST else -1.0


def _rules(full: npt.NDArray[np.bool_], widest: float) -> npt.NDArray[np.bool_]:
    """Return where narrow stretches are ink from top to bottom."""
    rules = np.zeros_like(full)
    for is_full, start, end in _runs(full):
        rules[start:end] = is_full and end - start <= widest
    return rules


def _runs(values: npt.NDArray[np.bool_]) -> Iterator[tuple[bool, int, int]]:
    """Yield runs of equal values: the value, its start and its end."""
    edges = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)]
    for start, end in pairwise(edges):
        yield bool(values[start]), start, end
