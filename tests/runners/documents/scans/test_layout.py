from __future__ import annotations

from collections import Counter
from itertools import pairwise
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runners.documents.scans import layout
from runners.documents.scans.layout import TextLine

PITCH, HEIGHT, LETTER = 20, 14, 7  # of the pages drawn here


def line(text: str, left: float, top: float) -> TextLine:
    return TextLine(text, left, top, left + LETTER * len(text), top + HEIGHT)


def column(name: str, rows: int, left: float, top: float = 100, pitch: float = PITCH) -> list[TextLine]:
    """Prose of 30 letters a row; each row says which it is."""
    return [line(f"{name}{row:02} lorem ipsum dolor sit ame", left, top + row * pitch) for row in range(rows)]


def names(text: str) -> list[str]:
    """Which rows of columns a text has, in its order."""
    return [word for word in text.split() if word[-1].isdigit()]


def expected(*columns: list[TextLine]) -> list[str]:
    return [row.text.split()[0] for lines in columns for row in lines]


def test_nothing_is_written_of_nothing() -> None:
    assert layout.text([]) == ""
    assert layout.text([line(" ", 0, 0)]) == ""


@settings(deadline=None)
@given(st.lists(st.integers(3, 25), min_size=2, max_size=3), st.floats(-3, 3), st.floats(10, 60), st.randoms())
def test_columns_are_read_one_after_another(rows: list[int], shift: float, gap: float, random: Random) -> None:
    columns = [column("abc"[i], count, i * (210 + gap), 100 + i * shift) for i, count in enumerate(rows)]
    lines = [row for one in columns for row in one]
    random.shuffle(lines)
    assert names(layout.text(lines)) == expected(*columns)


@settings(deadline=None)
@given(st.integers(3, 20), st.integers(3, 20), st.sampled_from([18, 20, 23]))
def test_a_heading_and_a_foot_across_columns_stay_where_they_are(left: int, right: int, pitch: int) -> None:
    columns = column("a", left, 0, pitch=pitch), column("b", right, 240, pitch=pitch)
    bottom = 120 + pitch * max(left, right)
    heading, foot = line("h1 " + "titre " * 8, 50, 60), line("f1 " + "pied de page " * 3, 60, bottom)
    assert names(layout.text([*columns[1], foot, *columns[0], heading])) == ["h1", *expected(*columns), "f1"]


def test_columns_between_headings_end_where_the_next_heading_stands() -> None:
    first = column("a", 4, 0), column("b", 4, 240)
    second = column("c", 5, 0, 240), column("d", 4, 240, 240)
    lines = [*first[0], *first[1], line("h1 " + "titre " * 8, 50, 200), *second[0], *second[1]]
    assert names(layout.text(lines)) == [*expected(*first), "h1", *expected(*second)]


def test_a_receipt_is_read_across() -> None:
    labels, prices = ("Café crème", "Tarte aux pommes", "Total TTC"), ("3,20", "14,90", "18,10")
    rows = [line(label, 0, row * PITCH) for row, label in enumerate(labels)]
    rows += [line(price, 300, row * PITCH + 3) for row, price in enumerate(prices)]
    assert layout.text(rows) == "Café crème 3,20\nTarte aux pommes 14,90\nTotal TTC 18,10"


def test_a_table_of_words_is_read_across() -> None:
    table = [("Lundi", "Paul"), ("Mardi", "Anne"), ("Mercredi", "Luc"), ("Jeudi", "Marie")]
    cells = [line(cell, 300 * place, row * PITCH) for row, pair in enumerate(table) for place, cell in enumerate(pair)]
    assert layout.text(cells) == "\n".join(" ".join(pair) for pair in table)


def test_of_two_lines_beside_a_tall_one_the_upper_stands_in_its_row() -> None:
    lines = [TextLine("LOGO", 0, 0, 100, 2 * HEIGHT), line("upper", 150, 0), line("lower", 150, HEIGHT)]
    assert layout.text(lines).split() == ["LOGO", "upper", "lower"]


def test_lines_that_hardly_overlap_are_two_rows() -> None:
    assert layout.text([line("first", 0, 0), line("second", 300, 0.7 * HEIGHT)]) != "first second"


def test_a_side_note_does_not_cut_the_text_beside_it() -> None:
    notes = [line(f"n{row:02} voir", 240, 105 + row * 1.37 * PITCH) for row in range(4)]
    body = column("a", 12, 0)
    assert names(layout.text([*notes, *body])) == expected(body, notes)


def test_prose_flows_and_paragraphs_are_parted_by_blank_lines() -> None:
    text = ["il marche dans la rue et regarde", "les toits", "", "puis il rentre chez lui pour lire", "le soir"]
    lines = [line(words, 0, row * PITCH) for row, words in enumerate(text) if words]
    written = "il marche dans la rue et regarde les toits\n\npuis il rentre chez lui pour lire le soir"
    assert layout.text(lines) == written


def test_a_row_that_is_set_in_after_a_full_stop_begins_a_paragraph() -> None:
    rows = [("il marche dans la rue et rentre.", 0), ("Le soir il lit un livre chez lui", 20), ("près du feu.", 0)]
    lines = [line(words, left, row * PITCH) for row, (words, left) in enumerate(rows)]
    assert layout.text(lines) == "il marche dans la rue et rentre.\n\nLe soir il lit un livre chez lui près du feu."


def test_verses_keep_their_line_ends() -> None:
    verses = ["Les sanglots longs", "Des violons de l'automne", "Blessent mon coeur"]
    assert layout.text([line(verse, 0, row * PITCH) for row, verse in enumerate(verses)]) == "\n".join(verses)


@pytest.mark.parametrize(
    ("above", "below", "written"),
    [
        ("voici la nou-", "velle maison", "voici la nouvelle maison"),
        ("voici la nou¬", "velle maison", "voici la nouvelle maison"),
        ("il l'a fait lui-", "même hier", "il l'a fait lui-même hier"),
        ("à Aix-", "Marseille", "à Aix-\nMarseille"),
        ("les années 1914-", "1918", "les années 1914-\n1918"),
    ],
)
def test_hyphens_at_line_ends_are_mended(above: str, below: str, written: str) -> None:
    assert layout.text([line(above, 0, 0), line(below, 0, PITCH)]) == written


def test_a_word_is_whole_again_across_columns() -> None:
    left, right = column("a", 5, 0), column("b", 5, 240)
    left[-1] = line("a04 lorem ipsum dolor con-", 0, left[-1].top)
    right[0] = line("sectetur lorem ipsum dolor", 240, right[0].top)
    assert "dolor consectetur lorem" in layout.text([*left, *right])


coordinates = st.floats(0, 1000)
boxes = st.builds(
    lambda left, top, width, height: (left, top, left + width, top + height),
    coordinates,
    coordinates,
    st.floats(1, 500),
    st.floats(1, 60),
)


@settings(deadline=None)
@given(st.lists(boxes, max_size=40), st.data())
def test_nothing_is_lost_or_doubled_however_the_boxes_lie(places: list[tuple[float, ...]], data: st.DataObject) -> None:
    texts = [
        f"{index}{data.draw(st.sampled_from(['', ' x', ' lorem ipsum dolor sit']))}" for index in range(len(places))
    ]
    lines = [TextLine(text, *place) for text, place in zip(texts, places, strict=True)]
    found = [line for paragraph in layout.paragraphs(lines) for row in paragraph for line in row]
    assert Counter(found) == Counter(lines)
    assert Counter(layout.text(lines).split()) == Counter(" ".join(texts).split())


@settings(deadline=None)
@given(st.floats(-0.1, 0.1))
def test_a_slanting_page_is_made_level(angle: float) -> None:
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    straight = [(0.0, 20.0 * row, 300.0, 20.0 * row + 14) for row in range(5)] + [(400.0, 0.0, 410.0, 14.0)]
    corners = np.array([[(left, top), (right, top), (right, low), (left, low)] for left, top, right, low in straight])
    assert np.allclose(layout.level(corners @ turn), straight)


def test_a_page_of_a_thousand_lines_is_in_order() -> None:
    columns = [column("abcd"[i], 99, i * 240) for i in range(4)]
    found = names(layout.text([row for one in columns for row in one]))
    assert all(before < after for before, after in pairwise(found))
    assert len(found) == 4 * 99
