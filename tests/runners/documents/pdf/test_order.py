"""The order of reading of PDF pages that are drawn in another one, and of those that are not."""

from __future__ import annotations

from random import Random

import pytest

from runners.documents.pdf import lines as pdf_lines
from runners.documents.pdf import order
from runners.documents.pdf.layer import Piece, upright
from runners.documents.reader import read
from tests.doubles.documents_doubles import Double
from tests.inputs.documents_made import pdf, typed
from tests.support.running import cpu_time

LEFT = (
    "The board met on Monday to look at the",
    "accounts of the ferry line. Fewer travellers",
    "had come in the spring, because two of the",
    "four boats were being repaired in the yard",
    "of the north harbour until the end of May.",
)
RIGHT = (
    "Unions doubt that the loan is needed. Their",
    "speaker recalled that the line had earned",
    "more than it spent in each of the last six",
    "years. A vote of all members will be held in",
    "October, and its result binds the board.",
)
COLUMNS = (LEFT, 60), (RIGHT, 320)
TABLE = ("Port", "Ships", "Tonnes"), ("Lohme", "12", "340"), ("Sassnitz", "118", "9,120"), ("Barth", "4", "1,002")


def text_of(*contents: bytes) -> str:
    return " ".join(read(pdf(b"".join(contents)), "", Double()).text.split())


def line(text: str, left: int, row: int, size: int = 11) -> bytes:
    return typed([text], left, 700 - 14 * row, size)


def test_columns_that_are_drawn_across_are_read_one_after_the_other() -> None:
    drawn = [line(side[row], left, row) for row in range(5) for side, left in COLUMNS]
    heading = typed(["Ferry line asks for a loan"], top=740, size=16)
    assert text_of(heading, *drawn) == " ".join(["Ferry line asks for a loan", *LEFT, *RIGHT])


def test_three_columns_that_are_drawn_across_are_read_one_after_the_other() -> None:
    sides = [[f"{name} it is said of the {row} sea" for row in range(6)] for name in ("and", "but", "yet")]
    drawn = [line(sides[place][row], 50 + 175 * place, row, 9) for row in range(6) for place in range(3)]
    assert text_of(*drawn) == " ".join(text for side in sides for text in side)


def test_columns_that_are_drawn_one_after_the_other_stay_so() -> None:
    drawn = [line(text, left, row) for side, left in COLUMNS for row, text in enumerate(side)]
    assert text_of(*drawn) == " ".join([*LEFT, *RIGHT])


def test_the_left_column_is_read_first_where_the_right_one_is_drawn_first() -> None:
    drawn = [line(text, left, row) for side, left in reversed(COLUMNS) for row, text in enumerate(side)]
    assert text_of(*drawn) == " ".join([*LEFT, *RIGHT])


@pytest.mark.parametrize("seed", [None, 1, 2, 3])
def test_lines_that_are_drawn_backwards_or_anyhow_are_read_downwards(seed: int | None) -> None:
    rows = list(enumerate((*LEFT, *RIGHT)))
    rows.reverse()
    if seed:
        Random(seed).shuffle(rows)
    assert text_of(*(line(text, 60, row) for row, text in rows)) == " ".join([*LEFT, *RIGHT])


def test_a_foot_and_a_head_that_are_drawn_first_stand_where_they_are() -> None:
    foot, head = typed(["1 See the report."], top=60, size=8), typed(["THE GAZETTE"], top=820, size=9)
    body = [line(text, 60, row) for row, text in enumerate(LEFT)]
    assert text_of(foot, head, *body) == " ".join(["THE GAZETTE", *LEFT, "1 See the report."])


def test_rows_of_a_table_that_is_drawn_by_columns_stay_together() -> None:
    cells = [line(row[place], 60 + 150 * place, 6 + number) for place in range(3) for number, row in enumerate(TABLE)]
    body = [line(text, 60, row) for row, text in enumerate(LEFT)]
    after = line("What stands below the table.", 60, 12)
    expected = [*LEFT, *(" ".join(row) for row in TABLE), "What stands below the table."]
    assert text_of(*body, *cells, after) == " ".join(expected)


def test_each_row_of_a_table_is_a_paragraph() -> None:
    cells = [line(cell, 60 + 150 * place, number) for number, row in enumerate(TABLE) for place, cell in enumerate(row)]
    assert read(pdf(b"".join(cells)), "", Double()).text == "\n\n".join(" ".join(row) for row in TABLE)


def test_cells_of_several_lines_are_read_one_after_the_other() -> None:
    rows = [
        ("Delivery", ["The seller shall deliver the nets", "to the quay within ten days."]),
        ("Payment", ["The buyer shall pay within thirty", "days of the delivery."]),
    ]
    drawn = [
        line(name, 60, 4 * place) + b"".join(line(text, 200, 4 * place + row) for row, text in enumerate(lines))
        for place, (name, lines) in enumerate(rows)
    ]
    assert text_of(*drawn) == " ".join(" ".join([name, *lines]) for name, lines in rows)


def test_long_cells_that_are_drawn_row_by_row_are_no_columns() -> None:
    rows = [
        ("Maintenance of the northern dyke", "Water board of the island"),
        ("Replacement of both pumps", "Works office of the town"),
        ("Survey of the sea floor", "Institute of marine study"),
        ("Purchase of a new dredger", "Harbour authority at Vitte"),
    ]
    drawn = [line(cell, 60 + 260 * place, row) for row, cells in enumerate(rows) for place, cell in enumerate(cells)]
    assert text_of(*drawn) == " ".join(" ".join(cells) for cells in rows)


def test_what_is_filled_into_a_flat_form_stands_behind_its_label() -> None:
    labels = ["Application for a grant", "Name:", "Purpose:", "Employer:", "The committee meets four times a year."]
    values = ["Mireille Castagne", "Tidal mills", "Observatory"]
    drawn = [line(label, 60, 2 * row) for row, label in enumerate(labels)]
    filled = [line(value, 240, 2 + 2 * row) for row, value in enumerate(values)]
    expected = [labels[0], *(f"{label} {value}" for label, value in zip(labels[1:4], values, strict=True)), labels[4]]
    assert text_of(*drawn, *filled) == " ".join(expected)


def test_a_list_beside_prose_is_read_for_itself() -> None:
    skills = ["SKILLS", "Python", "Sailing", "Welding"]
    work = ["EXPERIENCE", "Harbour master of Vitte, 2010 to 2020", "ran the port with nine people", "and two boats."]
    drawn = [line(text, left, row) for side, left in ((skills, 60), (work, 250)) for row, text in enumerate(side)]
    assert text_of(*drawn) == " ".join([*skills, *work])


def sideways(text: str, left: int, bottom: int) -> bytes:
    return f"BT /F1 11 Tf 0 1 -1 0 {left} {bottom} Tm ({text}) Tj ET\n".encode()


def test_columns_of_a_turned_page_are_read_as_it_is_shown() -> None:
    drawn = [sideways(side[row], 60 + 14 * row, left) for row in range(5) for side, left in COLUMNS]
    turned = pdf(b"".join(drawn)).replace(b"/MediaBox", b"/Rotate 90 /MediaBox")
    for data in (turned, pdf(b"".join(drawn))):
        assert " ".join(read(data, "", Double()).text.split()) == " ".join([*LEFT, *RIGHT])


def test_what_stands_on_its_side_at_the_edge_comes_last() -> None:
    body = [line(text, 60, row) for row, text in enumerate(LEFT)]
    assert text_of(*body[:2], sideways("arXiv 2101", 40, 600), *body[2:]) == " ".join([*LEFT, "arXiv 2101"])


def test_columns_from_right_to_left_begin_at_the_right() -> None:
    word = "\u05d0\u05d1\u05d2\u05d3\u05d4 "
    pieces = [
        Piece(f"{word * 4}{side}{row}", left, left + 200, 700 - 14 * row, 712 - 14 * row, 0, row, 0, 0)
        for row in range(5)
        for side, left in (("a", 300), ("b", 60))
    ]
    text = " ".join(line.text for line in order.lines(pieces))
    assert [mark for mark in text.split() if mark[0] in "ab"] == [f"{side}{row}" for side in "ab" for row in range(5)]


def test_the_columns_of_vertical_writing_are_read_from_the_right() -> None:
    columns = [
        Piece(f"column {number}", 500 - 24 * number, 514 - 24 * number, 300, 780, 3, 0, 0, 0) for number in (1, 2)
    ]
    assert [line.text for line in order.lines(upright(columns))] == ["column 1", "column 2"]


@pytest.mark.parametrize("number", [400, 5_000])
def test_a_page_of_scattered_cells_takes_no_longer_than_its_number_says(number: int) -> None:
    random = Random(4)
    cells = [(random.uniform(0, 500), random.uniform(0, 800)) for _ in range(number)]
    pieces = [
        Piece(f"a cell of {row}", left, left + 60, low, low + 12, 0, row, 0, 0) for row, (left, low) in enumerate(cells)
    ]
    assert sum(line.cells for line in cpu_time.at_most(30, lambda: order.lines(pieces))) == number


@pytest.mark.parametrize("text", ["…" * 200_000, ". " * 100_000, "a.... " * 40_000])
def test_a_line_of_dots_is_looked_through_once(text: str) -> None:
    assert cpu_time.at_most(2, lambda: pdf_lines.ENTRY.search(text)) is None
