"""Pictures that a program draws and that show no scene: charts, screens and drawings. The same seed draws the same."""

from __future__ import annotations

import random
from collections.abc import Callable
from io import BytesIO
from typing import Any, Final

import matplotlib as mpl

mpl.use("Agg")
import numpy as np
from matplotlib import pyplot as plt
from PIL import Image, ImageDraw, ImageFilter

WORDS: Final = (
    *("file", "edit", "view", "search", "settings", "profile", "home", "cart"),
    *("price", "total", "name", "address", "send", "cancel", "open", "save"),
)


def charts(count: int, seed: int) -> list[Image.Image]:
    """Draw charts of random numbers, as matplotlib does."""
    chance, numbers = random.Random(seed), np.random.default_rng(seed)
    return [_chart(chance, numbers) for _ in range(count)]


def _chart(chance: random.Random, numbers: np.random.Generator) -> Image.Image:
    figure, axes = plt.subplots(figsize=(chance.uniform(2, 5), chance.uniform(2, 4)), dpi=chance.choice([60, 80, 100]))
    if chance.random() < 0.3:
        figure.set_facecolor(chance.choice(["#222", "#eef", "#fff5e0"]))
        axes.set_facecolor(chance.choice(["#333", "#fff", "#eee"]))
    chance.choice(_CHARTS)(axes, chance, numbers)
    if chance.random() < 0.5:
        axes.set_title(" ".join(chance.choices(WORDS, k=3)))
        axes.grid(visible=True)
    file = BytesIO()
    figure.savefig(file, format="png")
    plt.close(figure)
    return Image.open(BytesIO(file.getvalue())).convert("RGB")


def _lines(axes: Any, chance: random.Random, numbers: np.random.Generator) -> None:
    for _ in range(chance.randint(1, 5)):
        axes.plot(numbers.standard_normal(50).cumsum())


def _bars(axes: Any, chance: random.Random, numbers: np.random.Generator) -> None:
    axes.bar(range(8), numbers.random(8), color=[plt.get_cmap("tab10")(chance.randint(0, 9)) for _ in range(8)])


def _points(axes: Any, chance: random.Random, numbers: np.random.Generator) -> None:
    axes.scatter(numbers.random(200), numbers.random(200), c=numbers.random(200), s=chance.randint(2, 60))


def _pie(axes: Any, chance: random.Random, numbers: np.random.Generator) -> None:
    axes.pie(numbers.random(chance.randint(3, 7)))


def _heat(axes: Any, chance: random.Random, numbers: np.random.Generator) -> None:
    side = chance.randint(4, 20)
    axes.imshow(numbers.random((side, side)), cmap=chance.choice(["viridis", "hot", "Blues", "terrain", "gray"]))


def _histogram(axes: Any, chance: random.Random, numbers: np.random.Generator) -> None:
    axes.hist(numbers.standard_normal(500), bins=chance.randint(10, 40))


def _area(axes: Any, chance: random.Random, numbers: np.random.Generator) -> None:
    axes.fill_between(range(50), np.abs(numbers.standard_normal(50)).cumsum(), alpha=chance.uniform(0.4, 1))


_CHARTS: Final[tuple[Callable[[Any, random.Random, np.random.Generator], None], ...]] = (
    _lines,
    _bars,
    _points,
    _pie,
    _heat,
    _histogram,
    _area,
)


def screens(count: int, seed: int) -> list[Image.Image]:
    """Draw what looks like screens of programs: bars, boxes and words, light or dark."""
    chance = random.Random(seed)
    return [_screen(chance) for _ in range(count)]


def _screen(chance: random.Random) -> Image.Image:
    width, height = chance.choice([(320, 200), (400, 300), (240, 400), (300, 300)])
    dark = chance.random() < 0.4
    picture = Image.new("RGB", (width, height), (chance.randint(10, 50) if dark else chance.randint(225, 255),) * 3)
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 0, width, chance.randint(14, 40)), fill=_colour(chance))
    for _ in range(chance.randint(3, 14)):
        left, top = chance.randint(0, width), chance.randint(20, height)
        box = (left, top, left + chance.randint(20, 150), top + chance.randint(8, 80))
        draw.rectangle(box, fill=_colour(chance) if chance.random() < 0.6 else None, outline=(128, 128, 128))
    for _ in range(chance.randint(5, 40)):
        place = (chance.randint(0, width), chance.randint(0, height))
        words = " ".join(chance.choices(WORDS, k=chance.randint(1, 6)))
        draw.text(place, words, fill=(230, 230, 230) if dark else (20, 20, 20))
    return picture


def drawings(count: int, seed: int) -> list[Image.Image]:
    """Draw ellipses, lines, polygons and rectangles in random colours; some are blurred."""
    chance = random.Random(seed)
    return [_drawing(chance) for _ in range(count)]


def _drawing(chance: random.Random) -> Image.Image:
    side = chance.choice([128, 256, 320])
    picture = Image.new("RGB", (side, side), _colour(chance))
    draw = ImageDraw.Draw(picture)
    for _ in range(chance.randint(3, 30)):
        (left, right), (top, bottom) = (sorted(chance.randint(0, side) for _ in range(2)) for _ in range(2))
        points = [(chance.randint(0, side), chance.randint(0, side)) for _ in range(chance.randint(3, 6))]
        kind, colour = chance.choice(("ellipse", "line", "polygon", "rectangle")), _colour(chance)
        if kind == "ellipse":
            draw.ellipse((left, top, right, bottom), fill=colour if chance.random() < 0.7 else None, outline=colour)
        elif kind == "line":
            draw.line(points, fill=colour, width=chance.randint(1, 8))
        elif kind == "polygon":
            draw.polygon(points, fill=colour)
        else:
            draw.rectangle((left, top, right, bottom), fill=colour)
    return picture.filter(ImageFilter.GaussianBlur(chance.uniform(0.5, 6))) if chance.random() < 0.3 else picture


def _colour(chance: random.Random) -> tuple[int, int, int]:
    return chance.randint(0, 255), chance.randint(0, 255), chance.randint(0, 255)
