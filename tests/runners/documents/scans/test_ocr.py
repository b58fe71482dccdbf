from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Sequence
from difflib import SequenceMatcher
from pathlib import Path

import matplotlib
import numpy as np
import psutil
import pytest
from PIL import Image, ImageDraw, ImageFont

from runners.documents.scans import ocr as ocr_module
from runners.documents.scans.ocr import FoundLine, Ocr, Quads, _without_ornaments

# Pillow's own font has no accents.
FONT = Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSerif.ttf")
INK, PAPER = (20, 20, 20), (250, 250, 245)

PROSE = (
    "La rivière traverse la vallée",
    "avant de rejoindre le fleuve,",
    "où des bateaux chargés de blé",
    "attendaient déjà la marée.",
)
OTHER = (
    "The council met on Tuesday to",
    "discuss the budget of the new",
    "library, which will be opened",
    "to everyone in September.",
)


@pytest.fixture(scope="module")
def ocr() -> Ocr:
    return Ocr(threads=1)


def page(texts: Sequence[tuple[str, int, int]], size: tuple[int, int] = (700, 420), letters: int = 24) -> Image.Image:
    """White paper with texts whose upper left corners lie at (x, y)."""
    image = Image.new("RGB", size, PAPER)
    draw, font = ImageDraw.Draw(image), ImageFont.truetype(FONT, letters)
    for text, x, y in texts:
        draw.text((x, y), text, INK, font)
    return image


def column(rows: Sequence[str], left: int = 40, top: int = 60) -> list[tuple[str, int, int]]:
    return [(text, left, top + 45 * row) for row, text in enumerate(rows)]


def test_a_column_is_read_with_its_accents(ocr: Ocr) -> None:
    assert ocr.read(page(column(PROSE))) == " ".join(PROSE)


@pytest.mark.slow
def test_columns_under_a_heading_are_read_one_after_another(ocr: Ocr) -> None:
    heading = ("Un long titre qui passe au-dessus des deux colonnes", 60, 10)
    image = page([heading, *column(PROSE, 40, 110), *column(OTHER, 510, 110)], (980, 340))
    assert ocr.read(image).split() == " ".join([heading[0], *PROSE, *OTHER]).split()


def test_a_receipt_is_read_row_by_row(ocr: Ocr) -> None:
    rows = [("Coffee", "3.20"), ("Apple cake", "14.90"), ("Total", "18.10")]
    texts = [(text, x, 50 + 60 * row) for row, pair in enumerate(rows) for text, x in zip(pair, (30, 520), strict=True)]
    assert ocr.read(page(texts)).split("\n") == [" ".join(pair) for pair in rows]


@pytest.mark.slow
@pytest.mark.parametrize("angle", [90, 180, 270])
def test_a_turned_page_is_read(ocr: Ocr, angle: int) -> None:
    assert ocr.read(page(column(OTHER)).rotate(angle, expand=True)) == " ".join(OTHER)


@pytest.mark.slow
def test_a_slanting_page_is_read(ocr: Ocr) -> None:
    assert ocr.read(page(column(OTHER)).rotate(4, fillcolor=PAPER, expand=True)) == " ".join(OTHER)


def test_small_print_is_read(ocr: Ocr) -> None:
    rows = [(text, 20, 20 + 20 * row) for row, text in enumerate(OTHER)]
    assert ocr.read(page(rows, (320, 120), letters=13)).split() == " ".join(OTHER).split()


@pytest.mark.parametrize("paper", [PAPER, (0, 0, 0), (128, 90, 200)])
def test_nothing_is_read_on_an_empty_page(ocr: Ocr, paper: tuple[int, int, int]) -> None:
    assert ocr.read(Image.new("RGB", (600, 800), paper)) == ""


@pytest.mark.slow
@pytest.mark.parametrize("size", [(1, 1), (3, 2), (7, 4000), (8, 8), (4000, 9), (16_000, 8), (31, 33)])
def test_pictures_of_any_shape_do_no_harm(ocr: Ocr, size: tuple[int, int]) -> None:
    assert ocr.read(Image.linear_gradient("L").resize(size).convert("RGB")).isascii()


@pytest.mark.slow
def test_long_thin_pictures_are_read(ocr: Ocr) -> None:
    down = [(f"Item {row}", 20, 30 + 400 * row) for row in range(10, 20)]
    assert ocr.read(page(down, (200, 8000))).split() == " ".join(text for text, *_ in down).split()
    across = [(f"Item {place}", 30 + 700 * (place - 10), 80) for place in range(10, 20)]
    assert ocr.read(page(across, (8000, 200))).split() == " ".join(text for text, *_ in across).split()


@pytest.mark.slow
def test_a_large_picture_is_read_in_little_memory(ocr: Ocr) -> None:
    image = page([(text, 400, 500 + 300 * row) for row, text in enumerate(PROSE)], (5000, 5000), letters=180)
    before = psutil.Process().memory_info().rss
    assert ocr.read(image) == " ".join(PROSE)
    assert psutil.Process().memory_info().rss - before < 300e6


@pytest.mark.slow
def test_rules_of_asterisks_do_no_harm(ocr: Ocr) -> None:
    texts = [("*" * 40, 30, 30), ("Thank you for shopping here", 60, 80), ("*" * 40, 30, 130)]
    assert "Thank you for shopping here" in ocr.read(page(texts))


def test_ideographs_go_where_the_page_is_in_latin_letters() -> None:
    box = [0.0, 0.0, 1.0, 1.0]
    latin = [FoundLine("家家 Summary of what was bought 家", 0.9, box), FoundLine("家末", 0.9, box)]
    assert [line.text for line in _without_ornaments(latin)] == ["Summary of what was bought"]
    chinese = [FoundLine("今天天气很好", 0.9, box), FoundLine("GST", 0.9, box)]
    assert [line.text for line in _without_ornaments(chinese)] == ["今天天气很好", "GST"]


def test_nothing_is_fetched_and_nothing_is_printed(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was asked")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert Ocr(threads=1).read(page(column(OTHER))) == " ".join(OTHER)
    assert capfd.readouterr() == ("", "")
    assert not logging.getLogger("RapidOCR").isEnabledFor(logging.ERROR)


NEWS = (
    "A school for keepers of dams opened its doors last week with the arrival of its first forty students. Most of"
    " them worked on rivers before, ten of them as divers. The course lasts a year and ends with an examination.",
    "Lessons are held in the old mill of the town, whose wheel still turns. Each student looks after one gate of the"
    " weir, by day and by night. The town pays for the rooms, and the county for the teachers of the school.",
    "Among the teachers is an engineer who built the dam of Holm in the seventies. He says that most failures begin"
    " with a small crack that nobody wrote down. His students therefore write down everything that they see.",
)


def newspaper(columns: Sequence[str], width: int = 300, letters: int = 22) -> Image.Image:
    """Columns set to full width, with a gutter of one em between them."""
    image = Image.new("RGB", (80 + len(columns) * (width + letters), 420), PAPER)
    draw, font = ImageDraw.Draw(image), ImageFont.truetype(FONT, letters)
    for place, text in enumerate(columns):
        left = 40 + place * (width + letters)
        for number, row in enumerate(rows := _rows(text, width, font)):
            blanks = len(row) - 1
            space = (width - sum(map(font.getlength, row))) / max(1, blanks) if row is not rows[-1] else 7.0
            for index, word in enumerate(row):
                x = left + sum(map(font.getlength, row[:index])) + index * space
                draw.text((x, 40 + 29 * number), word, INK, font)
    return image


def _rows(text: str, width: int, font: ImageFont.FreeTypeFont) -> list[list[str]]:
    rows: list[list[str]] = [[]]
    for word in text.split():
        if font.getlength(" ".join([*rows[-1], word])) > width:
            rows.append([])
        rows[-1].append(word)
    return rows


@pytest.mark.slow
def test_columns_of_a_newspaper_are_read_one_after_another(ocr: Ocr) -> None:
    assert ocr.read(newspaper(NEWS)).split("\n\n") == list(NEWS)


def dithered(image: Image.Image, shade: float = 0.5) -> Image.Image:
    """As newspapers and old scanners make grey paper: a pattern of black dots on white."""
    pattern = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]])
    tiled = np.tile((pattern + 0.5) * 16, (image.height // 4 + 1, image.width // 4 + 1))
    grey = np.asarray(image.convert("L")) * shade
    return Image.fromarray(np.uint8(255) * (grey > tiled[: image.height, : image.width])).convert("RGB")


def speckled(image: Image.Image) -> Image.Image:
    """Dirt of two by two pixels all over."""
    specks = np.random.default_rng(1).random((image.height // 2, image.width // 2)) < 0.03
    pixels = np.asarray(image).copy()
    pixels[np.kron(specks, np.ones((2, 2), dtype=bool))] = 30
    return Image.fromarray(pixels)


@pytest.mark.slow
@pytest.mark.parametrize("spoil", [dithered, speckled])
def test_a_page_in_whose_dots_no_text_is_seen_is_looked_at_again(
    ocr: Ocr, spoil: Callable[[Image.Image], Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    image = spoil(page(column(OTHER)))
    found = ocr.read(image).replace("\n", " ")
    assert SequenceMatcher(None, found, " ".join(OTHER)).ratio() > 0.9
    monkeypatch.setattr(ocr_module, "BLUR_RADII", ())
    assert len(ocr.read(image)) < 20


@pytest.mark.slow
def test_a_page_of_dots_of_which_half_is_seen_is_looked_at_again(ocr: Ocr) -> None:
    assert ocr.read(dithered(page(column(OTHER)), 0.6)) == " ".join(OTHER)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("image", "looks"),
    [
        (page(column(OTHER)), 1),
        (Image.new("RGB", (600, 800), PAPER), 1),
        (page([("A title", 40, 60)]), 3),
        (speckled(Image.new("RGB", (600, 800), PAPER)), 3),
    ],
)
def test_a_page_is_looked_at_again_only_where_there_is_ink_and_little_text(
    ocr: Ocr, image: Image.Image, looks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Image.Image] = []
    quads = Ocr._quads

    def look(self: Ocr, image: Image.Image) -> Quads:
        seen.append(image)
        return quads(self, image)

    monkeypatch.setattr(Ocr, "_quads", look)
    ocr.read(image)
    assert len(seen) == looks
