from __future__ import annotations

import logging
import socket
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import psutil
import pytest
from PIL import Image, ImageDraw, ImageFont

from runners.documents.ocr import Found, Ocr, _without_ornaments

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


def test_columns_under_a_heading_are_read_one_after_another(ocr: Ocr) -> None:
    heading = ("Un long titre qui passe au-dessus des deux colonnes", 60, 10)
    image = page([heading, *column(PROSE, 40, 110), *column(OTHER, 510, 110)], (980, 340))
    assert ocr.read(image).split() == " ".join([heading[0], *PROSE, *OTHER]).split()


def test_a_receipt_is_read_row_by_row(ocr: Ocr) -> None:
    rows = [("Coffee", "3.20"), ("Apple cake", "14.90"), ("Total", "18.10")]
    texts = [(text, x, 50 + 60 * row) for row, pair in enumerate(rows) for text, x in zip(pair, (30, 520), strict=True)]
    assert ocr.read(page(texts)).split("\n") == [" ".join(pair) for pair in rows]


@pytest.mark.parametrize("angle", [90, 180, 270])
def test_a_turned_page_is_read(ocr: Ocr, angle: int) -> None:
    assert ocr.read(page(column(OTHER)).rotate(angle, expand=True)) == " ".join(OTHER)


def test_a_slanting_page_is_read(ocr: Ocr) -> None:
    assert ocr.read(page(column(OTHER)).rotate(4, fillcolor=PAPER, expand=True)) == " ".join(OTHER)


def test_small_print_is_read(ocr: Ocr) -> None:
    rows = [(text, 20, 20 + 20 * row) for row, text in enumerate(OTHER)]
    assert ocr.read(page(rows, (320, 120), letters=13)).split() == " ".join(OTHER).split()


@pytest.mark.parametrize("paper", [PAPER, (0, 0, 0), (128, 90, 200)])
def test_nothing_is_read_on_an_empty_page(ocr: Ocr, paper: tuple[int, int, int]) -> None:
    assert ocr.read(Image.new("RGB", (600, 800), paper)) == ""


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (7, 4000), (8, 8), (4000, 9), (16_000, 8), (31, 33)])
def test_pictures_of_any_shape_do_no_harm(ocr: Ocr, size: tuple[int, int]) -> None:
    assert ocr.read(Image.linear_gradient("L").resize(size).convert("RGB")).isascii()


def test_long_thin_pictures_are_read(ocr: Ocr) -> None:
    down = [(f"Item {row}", 20, 30 + 400 * row) for row in range(10, 20)]
    assert ocr.read(page(down, (200, 8000))).split() == " ".join(text for text, *_ in down).split()
    across = [(f"Item {place}", 30 + 700 * (place - 10), 80) for place in range(10, 20)]
    assert ocr.read(page(across, (8000, 200))).split() == " ".join(text for text, *_ in across).split()


def test_a_large_picture_is_read_in_little_memory(ocr: Ocr) -> None:
    image = page([(text, 400, 500 + 300 * row) for row, text in enumerate(PROSE)], (5000, 5000), letters=180)
    before = psutil.Process().memory_info().rss
    assert ocr.read(image) == " ".join(PROSE)
    assert psutil.Process().memory_info().rss - before < 300e6


def test_rules_of_asterisks_do_no_harm(ocr: Ocr) -> None:
    texts = [("*" * 40, 30, 30), ("Thank you for shopping here", 60, 80), ("*" * 40, 30, 130)]
    assert "Thank you for shopping here" in ocr.read(page(texts))


def test_ideographs_go_where_the_page_is_in_latin_letters() -> None:
    box = [0.0, 0.0, 1.0, 1.0]
    latin = [Found("家家 Summary of what was bought 家", 0.9, box), Found("家末", 0.9, box)]
    assert [line.text for line in _without_ornaments(latin)] == ["Summary of what was bought"]
    chinese = [Found("今天天气很好", 0.9, box), Found("GST", 0.9, box)]
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
