"""PDFs: text in its paragraphs, pages that are pictures, and files that mean harm."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

import pytest
from PIL import Image

from runners.documents.pdf import lines as pdf_lines
from runners.documents.pdf.lines import PdfLine
from runners.documents.reader import read
from runners.documents.scans import layout
from runners.documents.scans.pages import AsPictures, PageReader
from runners.errors import InvalidDocument, NoText, PayloadTooLarge
from tests.doubles.documents_doubles import Blind, Double, Sized
from tests.inputs.documents_made import locked_pdf, pdf, pictured, placed, scanned_pdf, typed, written
from tests.support.running import cpu_time

PROSE = (
    "The quick brown fox jumps over the lazy dog and goes on until the line is full of inter-",
    "national words that were written in a year of which nobody knows anything any more, as it",
    "ends here.",
    "A second paragraph is not indented at all and starts after a line that was a short one. It",
    "ends.",
    "",
    "After a gap there is a third one, which is so long that it has no end on this page and",
)


def lines(*texts: str, left: float = 72, top: float = 700, leading: float = 14, size: float = 12) -> list[PdfLine]:
    return [PdfLine(text, left, left + 5 * len(text), top - leading * n, size) for n, text in enumerate(texts)]


class Forbidden:
    """No page is to be read by OCR."""

    def read(self, image: Image.Image) -> str:
        raise AssertionError(image)

    def lines(self, image: Image.Image) -> list[layout.TextLine]:
        raise AssertionError(image)


def test_lines_become_paragraphs_and_divided_words_are_whole() -> None:
    found = read(pdf(typed(PROSE), typed(["goes on here."]), title="A title"), "", Forbidden())
    first, second, third = found.text.split("\n\n")
    assert "full of international words" in first
    assert first.endswith("as it ends here.")
    assert (second[:18], second[-6:]) == ("A second paragraph", " ends.")
    assert third.endswith("no end on this page and goes on here.")
    assert (found.pages, found.title) == (2, "A title")


@pytest.mark.parametrize(
    "title", ["", "x", "untitled", "Microsoft Word - letter.doc", "scan_0001.pdf", "123", "y" * 400]
)
def test_a_title_that_a_program_made_up_is_none(title: str) -> None:
    assert read(pdf(typed(PROSE), title=title), "", Forbidden()).title is None


def test_titles_in_any_alphabet_are_kept() -> None:
    assert read(pdf(typed(PROSE), title="Été à 北京"), "", Forbidden()).title == "Été à 北京"


def test_headings_items_and_indented_lines_begin_paragraphs() -> None:
    page = [*lines("A heading", size=18), *lines("one", "two.", "• an item", "• another", top=660)]
    page += lines("An indented line, of some length", left=90, top=660 - 4 * 14)
    assert pdf_lines.paragraphs(page)[:4] == [
        "A heading",
        "one two.",
        "• an item",
        "• another An indented line, of some length",
    ]
    text = [*lines("A full line that ends here."), *lines("Indented", left=90, top=686)]
    assert pdf_lines.paragraphs(text) == ["A full line that ends here.", "Indented"]


def test_a_sentence_goes_on_at_the_top_of_another_column() -> None:
    page = [*lines("left one", "left two"), *lines("right one.", "Right two", left=300)]
    assert pdf_lines.paragraphs(page)[0].startswith("left one left two right one.")


def test_headers_footers_and_page_numbers_are_left_out() -> None:
    body = ["It is a page of text", "that goes on for", "some lines and", "then it", "is full."]
    pages = [
        lines("A Book of Tides", *(f"{line} {n}" for line in body), f"Page {number}") for number, n in enumerate("abc")
    ]
    text = pdf_lines.joined(pages)
    assert "Tides" not in text
    assert "Page" not in text
    assert all(f"is full. {n}" in text for n in "abc")


def test_pages_of_few_lines_lose_none_of_them() -> None:
    pages: Sequence[list[PdfLine]] = [lines("The same line."), lines("The same line."), lines("The same line.")]
    assert pdf_lines.joined(pages).count("The same line.") == 3


def test_a_scan_is_rendered_at_200_dots_an_inch() -> None:
    text = read(scanned_pdf(written("a", (595, 842)), written("b", (595, 842))), "", Sized()).text
    assert text == "RGB 1190 x 1684\n\nRGB 1190 x 1684"  # 595 pixels at 100 dots an inch


@pytest.mark.parametrize("size", [(14_400, 14_400), (14_400, 1), (1, 14_400), (842, 1191), (5_000_000, 5_000_000)])
def test_no_page_is_rendered_larger_than_it_may_be(size: tuple[int, int]) -> None:
    class Measured(Double):
        def read(self, image: Image.Image) -> str:
            assert image.width * image.height < 4_100_000
            assert max(image.size) <= 10_001
            return "read"

    try:
        assert read(pdf(b"0 0 100 100 re f", size=size), "", Measured()).text == "read"
    except InvalidDocument:
        assert max(size) > 14_400


def test_text_pages_and_scans_may_be_mixed() -> None:
    found = read(pdf(typed(PROSE), b"0 0 100 100 re f", b""), "", Sized())
    assert found.text.endswith("\n\nRGB 1653 x 2339")
    assert found.pages == 3


def test_an_engine_that_reads_pictures_is_given_every_page_of_a_mixed_document_in_order() -> None:
    found = read(pdf(typed(PROSE), b"0 0 300 800 re f", b"", title="A title"), "", AsPictures())
    assert (found.text, found.pages, found.title) == ("", 3, "A title")
    text, drawing, blank = (Image.open(BytesIO(image)).convert("L").histogram()[0] for image in found.images)
    assert drawing > text > blank == 0


def test_an_engine_that_reads_pictures_is_given_text_where_every_page_has_it() -> None:
    found = read(pdf(typed(PROSE), b""), "", AsPictures())
    assert found.text.startswith("The quick brown fox")
    assert found.images == ()


def test_a_scan_with_a_stamp_on_it_is_a_scan() -> None:
    data = pictured(placed(0, 0, 595, 842) + typed(["Page 3"]), image=written("A scan"))
    assert read(data, "", Sized()).text.startswith("RGB")
    assert read(data, "", Blind()).text == "Page 3"


def test_a_text_layer_of_garbage_is_not_believed() -> None:
    data = pdf(b"BT /F1 12 Tf 1 0 0 1 72 700 Tm (" + bytes([1, 2, 3, 4, 5, 6, 14, 15, 16] * 20) + b") Tj ET")
    assert read(data, "", Sized()).text == "RGB 1653 x 2339"


@pytest.mark.parametrize("pages", [Forbidden(), AsPictures()])
@pytest.mark.parametrize("content", [b"", b"q 0 0 595 842 re W* n Q", b"BT /F1 11 Tf 72 709 Td ( ) Tj ET"])
def test_a_document_of_blank_pages_is_empty(pages: PageReader, content: bytes) -> None:
    with pytest.raises(InvalidDocument, match="the document is empty"):
        read(pdf(content, b""), "", pages)


def test_a_document_of_pictures_without_text_on_them_is_not_empty() -> None:
    for data in (pdf(b"0 0 100 100 re f", b""), scanned_pdf(Image.new("RGB", (100, 100), "white"))):
        with pytest.raises(NoText):
            read(data, "", Blind())


@pytest.mark.parametrize("number", [201, 10_000])
def test_too_many_pages_are_refused_before_any_is_loaded(number: int) -> None:
    data = pdf(*[typed(["x"])] * number)
    with pytest.raises(PayloadTooLarge, match="200 pages"):
        cpu_time.at_most(0.5, lambda: read(data, "", Forbidden()))


def test_as_many_pages_as_allowed_are_read() -> None:
    assert read(pdf(*[typed(["Some text."])] * 200), "", Sized()).pages == 200


def test_a_pdf_without_pages_is_damaged() -> None:
    with pytest.raises(InvalidDocument, match="damaged"):
        read(pdf(), "", Forbidden())


def test_an_encrypted_pdf_says_so_unless_it_opens_without_a_password() -> None:
    with pytest.raises(InvalidDocument, match="encrypted"):
        read(locked_pdf("password"), "", Forbidden())
    assert read(locked_pdf(""), "", Forbidden()).text == "A secret."


@pytest.mark.parametrize("end", [9, 100, 500, 900, 1200])
def test_a_pdf_that_is_cut_off_is_damaged(end: int) -> None:
    with pytest.raises(InvalidDocument, match="damaged"):
        read(pdf(typed(PROSE))[:end], "", Forbidden())


def test_a_pdf_after_other_bytes_is_found() -> None:
    assert read(b"\xef\xbb\xbf\r\n" + pdf(typed(["Some text."])), "", Forbidden()).text == "Some text."


@pytest.mark.slow
def test_more_text_than_allowed_is_refused() -> None:
    data = pdf(*[typed(["x" * 9_000] * 20)] * 10)
    with pytest.raises(PayloadTooLarge, match="characters"):
        read(data, "", Forbidden())


@pytest.mark.slow
def test_a_page_of_very_many_lines_costs_time_that_grows_with_their_number_alone() -> None:
    lines = [pdf_lines.PdfLine("a.", 72, 80, 10.0 * (40_000 - place), 8) for place in range(40_000)]
    text = cpu_time.at_most(20, lambda: pdf_lines.joined([lines]))  # where each is compared with all, it is minutes
    assert text.count("a.") == len(lines)
