"""Pages that are partly pictures, and text layers that are not what the page shows."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from runners.documents.pdf import trust
from runners.documents.reader import read
from runners.documents.scans.layout import TextLine
from runners.documents.scans.ocr import Ocr
from runners.documents.scans.pages import AsPictures
from tests.doubles.documents_doubles import Double
from tests.inputs.documents_made import mapped, pdf, pictured, placed, typed

SCANNED = (
    "The motion of the plaintiff to compel the production of the logs",
    "is granted in part. The defendant shall deliver the logs of March",
    "and April to counsel within fourteen days, and pay for the copies.",
    "The request for attorney fees is denied, because both of them had",
    "acted in good faith. The trial remains set for the second of May.",
) * 4
OTHER = (
    "A survey of the dykes will begin on the first day of next March.",
    "Six of the forty sections had sunk by more than a hand last year.",
) * 10
STAMP = "Case 4:21-cv-00873-KLM-TRP Document 58-2 Filed 09/14/22 Page 1 of 1"
PAGE = placed(0, 0, 595, 842)
HIDDEN = b"3 Tr\n"
SHIFTED = {
    code: chr(code - 3 if chr(code - 3).isalpha() else code + 23) for code in map(ord, "abcdefghijklmnopqrstuvwxyz")
}


def page_of(lines: tuple[str, ...], size: tuple[int, int] = (1190, 1684)) -> Image.Image:
    """A scan at 144 dots an inch, whose lines stand where ``typed`` writes them from 770 points on."""
    image = Image.new("L", size, 255)
    for number, line in enumerate(lines):
        ImageDraw.Draw(image).text((144, 124 + 60 * number), line, 0, ImageFont.load_default(30))
    return image


def layer(lines: tuple[str, ...]) -> bytes:
    return typed(lines, top=764, size=13, leading=30)


class Seeing(Double):
    """Reads what the page shows: the same lines of every large picture, and the first of them of every strip."""

    def __init__(self, *lines: str, strip: str = "") -> None:
        super().__init__()
        self.shown, self.strip, self.pages, self.strips = lines, strip or " ".join(lines[:1]), 0, 0

    def read(self, image: Image.Image) -> str:
        if image.height < 200:
            self.strips += 1
            return self.strip
        self.pages += 1
        return "\n".join(self.shown)

    def lines(self, image: Image.Image) -> list[TextLine]:
        self.pages += 1
        return [TextLine(text, 200, 170 + 80 * n, 1500, 200 + 80 * n) for n, text in enumerate(self.shown)]


def words(text: str) -> list[str]:
    return text.split()


def test_a_scan_under_a_long_stamp_is_read() -> None:
    reader = Seeing(*SCANNED[:5])
    text = read(pictured(PAGE + typed([STAMP], top=820, size=9), image=page_of(SCANNED)), "", reader).text
    assert words(text) == words(" ".join([STAMP, *SCANNED[:5]]))


def test_a_stamp_of_every_page_of_a_scan_is_left_out() -> None:
    pages = [
        placed(0, number, 595, 842) + typed([STAMP.replace("Page 1", f"Page {number}")], top=820, size=9)
        for number in range(4)
    ]
    text = read(pictured(*pages, image=page_of(SCANNED)), "", Seeing(*SCANNED[:2])).text
    assert words(text) == words(" ".join(SCANNED[:2] * 4))


def test_a_scanned_letter_on_a_typed_page_is_read_in_its_place() -> None:
    content = typed(OTHER[:4]) + placed(72, 300, 450, 350) + typed(["This is the end of the typed page."], top=200)
    reader = Seeing(*SCANNED[:5])
    text = read(pictured(content, image=page_of(SCANNED, (1190, 900))), "", reader).text
    assert words(text) == words(" ".join([*OTHER[:4], *SCANNED[:5], "This is the end of the typed page."]))


def test_a_scanned_letter_leaves_the_order_of_what_stands_around_it() -> None:
    drawn = typed(["Delivery"]) + typed(["The seller shall bring the", "nets to the quay."], 200)
    drawn += placed(72, 300, 450, 350) + typed(["Payment"], top=200)
    drawn += typed(["The buyer shall pay within", "ten days of it."], 200, 200)
    text = read(pictured(drawn, image=page_of(SCANNED, (1190, 900))), "", Seeing(*SCANNED[:5])).text
    first, second = (
        "Delivery The seller shall bring the nets to the quay.",
        "Payment The buyer shall pay within ten days of it.",
    )
    assert words(text) == words(" ".join([first, *SCANNED[:5], second]))


def test_a_chart_on_a_typed_page_adds_nothing() -> None:
    content = typed(OTHER[:4]) + placed(72, 300, 450, 350)
    text = read(pictured(content, image=page_of(SCANNED, (1190, 900))), "", Seeing("2010", "2011", "Tonnes")).text
    assert words(text) == words(" ".join(OTHER[:4]))


@pytest.mark.parametrize("content", [PAGE + HIDDEN + layer(SCANNED), layer(SCANNED) + PAGE])
def test_hidden_text_that_is_what_the_page_shows_is_used(content: bytes) -> None:
    reader = Seeing("what OCR would read", strip=max(SCANNED, key=len))
    text = read(pictured(content, image=page_of(SCANNED)), "", reader).text
    assert words(text) == words(" ".join(SCANNED))
    assert (reader.pages, reader.strips) == (0, 2)


def test_hidden_text_is_not_compared_on_each_of_many_pages() -> None:
    reader = Seeing(strip=max(SCANNED, key=len))
    text = read(pictured(*[PAGE + HIDDEN + layer(SCANNED)] * 20, image=page_of(SCANNED)), "", reader).text
    assert text.count("is granted in part") >= 20 * 3  # the first lines of each page are taken for its head
    assert reader.pages == 0
    assert reader.strips <= 2 * (2 + 4)


@pytest.mark.parametrize(
    "hidden", [OTHER, tuple(line.translate({code: code % 13 + 97 for code in range(97, 123)}) for line in SCANNED)]
)
def test_hidden_text_that_the_page_does_not_show_is_not_used(hidden: tuple[str, ...]) -> None:
    reader = Seeing(*SCANNED[:8])
    text = read(pictured(PAGE + HIDDEN + layer(hidden[:10]), image=page_of(SCANNED)), "", reader).text
    assert words(text) == words(" ".join(SCANNED[:8]))


def test_hidden_text_in_an_alphabet_that_ocr_does_not_read_is_used() -> None:
    cyrillic = {code: chr(0x430 + code - 97) for code in range(97, 123)}
    nonsense = "KoMuccna paccmoTpena Bonpoc pemoHTe ceBepHon AaM6bl paboTbl HaCHyTCR BecHoN"
    scan = mapped(pictured(PAGE + HIDDEN + layer(SCANNED), image=page_of(SCANNED)), cyrillic)
    text = read(scan, "", Seeing(*[nonsense] * 4)).text
    assert "\u0430" in text
    assert "KoMuccna" not in text


def test_hidden_text_where_the_page_is_white_is_left_out() -> None:
    text = read(pdf(typed(OTHER[:4]) + HIDDEN + typed(SCANNED[:4], top=300)), "", Seeing()).text
    assert words(text) == words(" ".join(OTHER[:4]))


def test_a_picture_behind_the_text_is_not_read() -> None:
    grey = Image.fromarray(np.tile(np.linspace(120, 250, 600, dtype=np.uint8), (800, 1)))
    for content in (typed(OTHER, leading=30), typed(OTHER[:3])):
        reader = Seeing("nothing")
        text = read(pictured(PAGE + content, image=grey), "", reader).text
        assert (words(text)[:3], reader.pages, reader.strips) == (["A", "survey", "of"], 0, 0)


def test_a_picture_that_several_pages_have_behind_their_text_is_not_read() -> None:
    reader = Seeing("HARBOUR LTD")
    pages = [PAGE + typed([f"{number} " + OTHER[number]], top=300) for number in range(4)]
    text = read(pictured(*pages, image=page_of(SCANNED)), "", reader).text
    assert (text.count("dykes"), reader.pages) == (2, 0)


def lying() -> bytes:
    return mapped(pdf(layer(SCANNED)), SHIFTED)


def test_a_layer_of_false_letters_is_not_used_where_ocr_reads_others() -> None:
    assert words(read(lying(), "", Seeing(*SCANNED)).text) == words(" ".join(SCANNED))


def test_a_layer_that_looks_false_is_used_where_ocr_reads_the_same_or_nothing() -> None:
    strange = "Qeb jlqflk lc qeb mixfkqfcc ql zljmbi qeb molarzqflk lc qeb ildp"
    assert read(pdf(typed([strange])), "", Seeing("x", strip=strange)).text == strange
    assert words(read(lying(), "", Double0()).text)[0] == "Teb"


class Double0(Double):
    """Finds nothing."""

    def read(self, _: Image.Image) -> str:
        return ""


def test_a_font_that_was_right_is_not_compared_on_each_of_many_pages() -> None:
    strange = "Qeb jlqflk lc qeb mixfkqfcc ql zljmbi qeb molarzqflk lc qeb ildp"
    reader = Seeing(strip=strange)
    read(pdf(*[typed([strange])] * 20), "", reader)
    assert reader.strips == 2


@pytest.mark.parametrize(
    "text",
    [
        "A haj\xf3 reggel indult el a kik\xf6t\xf5b\xf5l, amikor vihar k\xf6zeledett \xe9s a kapit\xe1ny v\xe1rt.",
        "Laiva l\xe4hti satamasta maanantaiaamuna, kun myrsky l\xe4hestyi l\xe4nnest\xe4 illalla.",
        "def read(data, pages): found = pictures.read(data, pages); return with_pages(cleaned(found), pages)",
        "Gustafsson Wallström Lazarevic Wairimu Odhiambo Joseph Przybylski Nguyen Kowalczyk Fernandez",
        "12.4 17.9 33.0 41.2 18.8 19.1 27.5 30.2 44.8 51.0 62.3 70.1 88.4 91.7 12.4 17.9 33.0 41.2",
    ],
)
def test_rare_languages_code_names_and_figures_are_no_false_letters(text: str) -> None:
    assert not trust.is_strange(text)


def test_an_engine_that_reads_pictures_is_given_those_whose_layer_cannot_be_used() -> None:
    stamped = pictured(PAGE + typed([STAMP], top=820, size=9), image=page_of(SCANNED))
    for data, number in (
        (stamped, 1),
        (lying(), 1),
        (pictured(PAGE + HIDDEN + layer(SCANNED), image=page_of(SCANNED)), 0),
    ):
        assert len(read(data, "", AsPictures()).images) == number


def test_letters_that_are_drawn_as_lines_are_read() -> None:
    letter = "{x} {y} m {x} {z} l 5 0 0 5 0 0 c 1 1 l 2 2 l 3 3 l 4 4 l 5 5 l {x} {y} l h f\n".replace(
        "5 0 0 5 0 0 c 1 1 l 2 2 l 3 3 l 4 4 l 5 5 l", "{x} {z} l {w} {z} l {w} {y} l {w} {z} l {x} {z} l {w} {y} l"
    )
    drawn = "".join(
        letter.format(x=60 + 8 * n, y=700 - 20 * m, z=709 - 20 * m, w=65 + 8 * n) for n in range(40) for m in range(8)
    )
    text = read(pdf(drawn.encode() + typed(["Page 1 of the curves"], top=40)), "", Seeing(*SCANNED[:3])).text
    assert words(text) == words(" ".join([*SCANNED[:3], "Page 1 of the curves"]))


@pytest.mark.slow
def test_ocr_reads_a_stamped_scan_and_a_page_of_false_letters() -> None:
    ocr = Ocr(2)
    stamped = pictured(PAGE + typed([STAMP], top=820, size=9), image=page_of(SCANNED[:3]))
    assert words(read(stamped, "", ocr).text) == words(" ".join([STAMP, *SCANNED[:3]]))
    assert "shall deliver the logs of March" in " ".join(
        words(read(mapped(pdf(layer(SCANNED[:4])), SHIFTED), "", ocr).text)
    )
