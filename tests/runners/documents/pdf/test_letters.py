"""Letters that a PDF stores in parts, in the wrong order, or on two lines."""

from __future__ import annotations

import pytest

from runners.documents.pdf import letters as pdf_letters
from runners.documents.reader import read
from tests.doubles.documents_doubles import Double
from tests.inputs.documents_made import mapped, pdf, typed

ACCENTS = (
    b"<< /Type /Encoding /BaseEncoding /WinAnsiEncoding"
    b" /Differences [1 /acute /grave /circumflex /cedilla /dotlessi] >>"
)


def text_of(data: bytes) -> str:
    return read(data, "", Double()).text


def tex(content: bytes) -> bytes:
    return pdf(b"BT /F1 12 Tf 72 700 Td [" + content + b"] TJ ET").replace(b"/WinAnsiEncoding", ACCENTS)


def test_accents_that_are_drawn_over_letters_are_part_of_them() -> None:
    content = b"(d) <01> 450 (eclar) <01> 450 (e, la f) <03> 450 (ete, le ma) <03> 310 <05> (tre, aupr) <02> 450 (es)"
    assert text_of(tex(content)) == "déclaré, la fête, le maître, auprès"


def test_accents_with_a_place_of_their_own_stay() -> None:
    assert text_of(pdf(typed(["l\xb4amour, `code`, x^2 and ~a"]))) == "l\xb4amour, `code`, x^2 and ~a"


def test_an_accent_that_is_raised_over_a_capital_is_part_of_it() -> None:
    content = (
        b"BT /F1 12 Tf 1 0 0 1 72 700 Tm (Vive l') Tj 1 0 0 1 105.5 703 Tm (\xb4) Tj 1 0 0 1 104 700 Tm (Etat) Tj ET"
    )
    assert text_of(pdf(content)) == "Vive l'État"


def test_combining_marks_are_composed() -> None:
    letters = {ord("e"): "e", 0x27: "\u0301", ord("t"): "t"}
    assert text_of(mapped(pdf(b"BT /F1 12 Tf 72 700 Td [(t) (e) 500 (') (t)] TJ ET"), letters)) == "tét"


def test_the_two_letters_of_an_arabic_ligature_are_in_order() -> None:
    # Drawn from left to right: meem, lam and alef in one letter, seen, lam, alef.
    letters = {0x41: "م", 0x42: "لا", 0x43: "س", 0x44: "ل", 0x45: "ا"}
    assert text_of(mapped(pdf(b"BT /F1 12 Tf 72 700 Td (ABCDE) Tj ET"), letters)) == "السلام"


def test_shapes_of_arabic_letters_are_letters() -> None:
    letters = {0x41: "\ufee1", 0x42: "\ufefc", 0x43: "\ufeb4", 0x44: "\ufedf", 0x45: "\ufe8d"}
    assert text_of(mapped(pdf(b"BT /F1 12 Tf 72 700 Td (ABCDE) Tj ET"), letters)) == "السلام"


def test_alef_and_lam_that_are_two_letters_stay_in_order() -> None:
    codes = [0x627, 0x644, 0x62D]
    pdf_letters.mend(codes, lambda index: (10.0 - index, 0.0, 10.5 - index, 5.0), is_sideways=False)
    assert codes == [0x627, 0x644, 0x62D]


@pytest.mark.parametrize(
    ("above", "below", "text"),
    [
        ("The harbour author-", "ity has closed", "The harbour authority has closed"),
        ("The pilot of Saint-", "Malo comes back", "The pilot of Saint-Malo comes back"),
        ("They will see them in 2019-", "2020 or later", "They will see them in 2019-2020 or later"),
        ("Il l'a fait lui-", "même au port", "Il l'a fait lui-même au port"),
        ("It is late -", "too late for him", "It is late - too late for him"),
    ],
)
def test_words_that_a_line_end_parts_are_whole(above: str, below: str, text: str) -> None:
    assert text_of(pdf(typed([above, below]))) == text


def test_words_that_a_line_end_parts_in_columns_are_whole() -> None:
    left = ["The harbour author-", "ity has closed the east-", "ern breakwater because", "of the storm last week."]
    right = [
        "Two ferries have touch-",
        "ed the stones in the fair-",
        "way and wait now for the",
        "pilot at the north quay.",
    ]
    rows = zip(left, right, strict=True)
    content = b"".join(typed([a], 60, 700 - 14 * n) + typed([b], 320, 700 - 14 * n) for n, (a, b) in enumerate(rows))
    text = " ".join(text_of(pdf(content)).split())
    assert "authority has closed the eastern breakwater" in text
    assert "touched the stones in the fairway and wait" in text


def test_entries_of_a_table_of_contents_are_paragraphs() -> None:
    entries = ["1 Introduction ............. 3", "2 The dykes . . . . . . . . . 14", "Index ........ xii"]
    assert text_of(pdf(typed(entries))) == "\n\n".join(entries)
