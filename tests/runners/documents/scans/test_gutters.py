from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import pytest
from PIL import Image, ImageDraw, ImageFont

from runners.documents.scans.gutters import Strip, cuts, strip_of

PITCH, HEIGHT = 26, 20
FONT = f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSerif.ttf"


def strip(row: int, gaps: Sequence[tuple[float, float]] = (), left: float = 0, right: float = 640) -> Strip:
    return Strip(left, row * PITCH, right, row * PITCH + HEIGHT, gaps)


def test_nothing_is_cut_where_there_is_nothing() -> None:
    assert cuts([]) == {}


@pytest.mark.parametrize("rows", [4, 20])
def test_lines_across_two_columns_are_cut_between_them(rows: int) -> None:
    gap = (310.0, 330.0)
    assert cuts([strip(row, [(100.0 + 7 * row, 112.0 + 7 * row), gap]) for row in range(rows)]) == {
        row: [gap] for row in range(rows)
    }


def test_three_lines_are_no_columns() -> None:
    assert cuts([strip(row, [(310.0, 330.0)]) for row in range(3)]) == {}


def test_a_line_that_was_found_across_columns_is_cut_by_those_that_were_not() -> None:
    lines = [strip(0, [(300.0, 330.0)])]
    for row in range(1, 8):
        lines += [strip(row, right=300), strip(row, left=331)]
    assert cuts(lines) == {0: [(300.0, 330.0)]}


def test_white_below_white_within_a_text_is_no_gutter() -> None:
    text = [strip(row, [(60.0 * row, 60.0 * row + 10)]) for row in range(3)]
    text += [strip(row, [(310.0, 330.0)]) for row in range(3, 9)]
    assert cuts([*text, strip(9)]) == {}


def test_a_long_gutter_between_lines_as_wide_as_both_columns_is_one() -> None:
    rows = range(1, 13)
    assert list(cuts([strip(0), *(strip(row, [(310.0, 330.0)]) for row in rows), strip(13)])) == list(rows)


def test_white_whose_lines_begin_anywhere_is_no_gutter() -> None:
    assert cuts([strip(row, [(310.0 - 9 * row, 330.0 + 9 * row)]) for row in range(8)]) == {}


def test_first_lines_that_are_set_in_are_cut_too() -> None:
    gaps = [(310.0, 330.0 + (18 if row in {0, 4} else 0)) for row in range(8)]
    assert list(cuts([strip(row, [gap]) for row, gap in enumerate(gaps)])) == list(range(8))


def test_columns_of_numbers_are_left_in_their_rows() -> None:
    assert cuts([strip(row, [(560.0, 580.0), (600.0, 615.0)]) for row in range(9)]) == {}


def test_four_columns_are_cut_at_three_places() -> None:
    gaps = [(150.0, 164.0), (310.0, 324.0), (470.0, 484.0)]
    assert cuts([strip(row, gaps) for row in range(6)]) == dict.fromkeys(range(6), gaps)


@pytest.mark.parametrize("has_rule", [False, True])
def test_the_picture_of_a_line_shows_its_ink_and_its_white(has_rule: bool) -> None:
    image = Image.new("RGB", (400, 28), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.truetype(FONT, 20)
    draw.text((20, 2), "left side", "black", font)
    draw.text((220, 2), "right side", "black", font)
    if has_rule:
        draw.line((180, 0, 180, 27), "black", 2)
    found = strip_of(image, (1000, 0, 1400, 28))
    ((start, end),) = found.gaps
    assert abs(found.left - 1020) < 4
    assert abs(found.right - (1220 + font.getlength("right side"))) < 4
    assert abs(start - (1020 + font.getlength("left side"))) < 4
    assert abs(end - 1220) < 4


def test_a_line_of_one_colour_has_no_white_in_it() -> None:
    assert strip_of(Image.new("RGB", (90, 20), "grey"), (0, 0, 90, 20)) == Strip(0, 0, 90, 20, [])


def test_a_line_that_stands_upright_is_left_alone() -> None:
    assert strip_of(Image.new("RGB", (90, 20)), (0, 0, 20, 90)) == Strip(0, 0, 20, 90)
