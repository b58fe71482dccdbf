"""A picture of a page to its text, with the PP-OCRv6 models in rapidocr's wheel: nothing is downloaded.

One recogniser reads French, English and other languages in Latin letters, Chinese and Japanese; it reads handwriting
and other scripts poorly.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import rapidocr
from PIL import Image, ImageFilter

from machine.devices import cores
from runners.documents.scans import gutters, layout

MAX_PIXELS: Final = 4_000_000
"""Pixels of the picture from which lines are cropped: A4 at 200 dots per inch."""
DETECTION_PIXELS: Final = 1_100_000
"""Pixels of the picture in which lines are detected: A4 at 105 dots per inch."""
DETECTION_STEP: Final = 32
"""Pixels of which both sides of the detector's input are multiples."""
MIN_TEXT_HEIGHT: Final = 8
"""Pixels of the smallest readable text's height."""
LINE_HEIGHT: Final = 48
"""Pixels of the recogniser's input height."""
LINE_WIDTH: Final = 60 * LINE_HEIGHT
"""Pixels of the recogniser's largest input width; longer lines are squeezed."""
PIECE_MARGIN: Final = 0.15
"""Margin on both sides of a piece cut from a line, as a share of the line's height."""
MIN_CERTAINTY: Final = 0.5
"""Mean certainty of a line's characters from which the line is accepted."""
UPRIGHT_CERTAINTY: Final = 0.8
"""Mean certainty of a page's letters below which it may be upside down."""
MIN_IDEOGRAPH_SHARE: Final = 0.2
"""Share of Chinese or Japanese letters below which they are misread ornaments."""

DITHERED_LETTERS: Final = 40
"""Letters below which a page may be dithered or speckled: the detector sees no text in dots."""
NOISY_SHARE: Final = 0.06
"""Share of dots in a page's pixels from which lines may be missing; receipts have up to 0.036."""
BLUR_RADII: Final = (1.5, 3.0)
"""Radii in pixels of the blurs with which such a page is read again, one after the other."""
SAMPLE_SIDE: Final = 1_000
"""Pixels per side of the square in the middle of a page in which dots are counted."""
MIN_DOT_CONTRAST: Final = 48
"""Smallest difference in grey, of 255, between a dot and its surroundings."""
MAX_EMPTY_CONTRAST: Final = 24
"""Largest difference in grey, of 255, on an empty page."""

IDEOGRAPHS: Final = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]")

Quads = npt.NDArray[np.float64]  # [N, 4, 2]: each line's corners, clockwise from its upper left one, in pixels


class FoundLine(NamedTuple):
    """A recognised line; its box is (left, top, right, bottom) as in ``layout``."""

    text: str
    certainty: float
    box: list[float]


class Ocr:
    """Reads pages; ``threads`` are the CPU threads of one read (default: all of the process's cores).

    Reads may run in parallel. Besides the loaded models (about 145 MB), one takes less than 300 MB.
    """

    def __init__(self, threads: int | None = None) -> None:
        threads = threads or cores()
        self._detector = _loaded(threads, "Det", "PP-OCRv6_det_small.onnx")
        self._recogniser = _loaded(threads, "Rec", "PP-OCRv6_rec_small.onnx")

    def read(self, image: Image.Image) -> str:
        """Return the text of an RGB picture in reading order (see ``layout``); "" where there is none.

        Pages that are upside down or on their side are read too.
        """
        return layout.text(self.lines(image))

    def lines(self, image: Image.Image) -> list[layout.TextLine]:
        """Return the pieces of text in no particular order."""
        if min(image.size) < MIN_TEXT_HEIGHT:
            return []
        page = _bounded(image, MAX_PIXELS)
        lines = self._sure_lines(page)
        for radius in _softening(page, lines):
            again = self._sure_lines(page.filter(ImageFilter.GaussianBlur(radius)))
            lines = again if _certainty(again) >= UPRIGHT_CERTAINTY and _score(again) > _score(lines) else lines
            if _letters(lines) >= DITHERED_LETTERS:
                break
        return _without_ornaments(lines)

    def _sure_lines(self, page: Image.Image) -> list[FoundLine]:
        quads = self._quads(page)
        if _lie_on_their_side(quads):
            page = page.transpose(Image.Transpose.ROTATE_90)
            quads = self._quads(page)
        return [line for line in self._upright(page, quads) if line.certainty >= MIN_CERTAINTY]

    def _upright(self, page: Image.Image, quads: Quads) -> list[FoundLine]:
        """Return the lines; if the page reads badly and reads well turned by 180 degrees, those of the turned page."""
        lines = self._found(page, quads)
        if not lines or _certainty(lines) >= UPRIGHT_CERTAINTY:
            return lines
        turned = self._found(page.transpose(Image.Transpose.ROTATE_180), _turned(quads, page.size))
        return turned if _certainty(turned) >= UPRIGHT_CERTAINTY else lines

    def _found(self, page: Image.Image, quads: Quads) -> list[FoundLine]:
        boxes = layout.level(quads).tolist() if len(quads) else []
        return [
            FoundLine(*self._read_line(_at_height(line)), box)
            for line, box in _parted([_cut(page, quad) for quad in quads], boxes)
        ]

    def _quads(self, page: Image.Image) -> Quads:
        small = _for_detection(page)
        boxes = self._detector(_pixels(small)).boxes
        if boxes is None:
            return np.empty((0, 4, 2))
        quads: Quads = np.asarray(boxes, dtype=np.float64) * (np.array(page.size) / np.array(small.size))
        return quads

    def _read_line(self, line: Image.Image) -> tuple[str, float]:
        """Return a line's text and certainty."""
        result = self._recogniser(_pixels(line))
        return result.txts[0].strip(), float(result.scores[0])


def _loaded(threads: int, part: str, model: str) -> Any:
    """Load and warm one of rapidocr's two steps with everything else switched off."""
    step = rapidocr.RapidOCR(
        params={
            "Global.use_det": part == "Det",
            "Global.use_cls": False,
            "Global.use_rec": part == "Rec",
            "Global.use_preprocess_img": False,
            "Global.use_vertical_padding": False,
            "Global.log_level": "critical",
            "EngineConfig.onnxruntime.intra_op_num_threads": threads,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            "Det.limit_type": "max",
            "Det.limit_side_len": 10**9,
            # With a path, rapidocr never searches elsewhere.
            f"{part}.model_path": str(Path(rapidocr.__file__).parent / "models" / model),
        }
    )
    step(np.full((LINE_HEIGHT * 2, LINE_HEIGHT * 2, 3), 255, dtype=np.uint8))
    return step


def _bounded(image: Image.Image, pixels: int) -> Image.Image:
    scale = math.sqrt(pixels / (image.width * image.height))
    if scale >= 1:
        return image
    size = max(MIN_TEXT_HEIGHT, round(image.width * scale)), max(MIN_TEXT_HEIGHT, round(image.height * scale))
    return image.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)


def _for_detection(page: Image.Image) -> Image.Image:
    """Resize the page for the detector, both sides to a multiple of its step."""
    scale = min(1.0, math.sqrt(DETECTION_PIXELS / (page.width * page.height)))
    width, height = (max(1, round(side * scale / DETECTION_STEP)) * DETECTION_STEP for side in page.size)
    return page.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=2.0)


def _pixels(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Return blue, green and red, as rapidocr expects arrays."""
    return np.ascontiguousarray(np.asarray(image.convert("RGB"))[:, :, ::-1])


def _sides(quads: Quads) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return widths and heights [N]."""
    width = np.hypot(*(quads[:, 1] - quads[:, 0]).T)
    height = np.hypot(*(quads[:, 3] - quads[:, 0]).T)
    return width, height


def _lie_on_their_side(quads: Quads) -> bool:
    width, height = _sides(quads)
    area = width * height
    return bool(area[height > 1.5 * width].sum() > area[width > 1.5 * height].sum())


def _turned(quads: Quads, size: tuple[int, int]) -> Quads:
    """Return the corners on the page turned by 180 degrees, again from the upper left one."""
    return np.asarray(np.array(size) - np.roll(quads, 2, axis=1))


def _cut(page: Image.Image, quad: npt.NDArray[np.float64]) -> Image.Image:
    """Crop and straighten one line; vertical text is turned to horizontal."""
    (width,), (height,) = (np.maximum(side.round().astype(int), 1) for side in _sides(quad[None]))
    corners = quad[[0, 3, 2, 1]].ravel().tolist()
    line = page.transform((int(width), int(height)), Image.Transform.QUAD, corners, Image.Resampling.BICUBIC)
    return line.transpose(Image.Transpose.ROTATE_90) if line.height >= 1.5 * line.width else line


def _parted(lines: Sequence[Image.Image], boxes: Sequence[list[float]]) -> Iterator[tuple[Image.Image, list[float]]]:
    """Yield lines and their boxes, no wider than their ink; lines across columns are cut in pieces."""
    strips = [gutters.strip_of(line, box) for line, box in zip(lines, boxes, strict=True)]
    cuts = gutters.cuts(strips)
    for index, (line, box, strip) in enumerate(zip(lines, boxes, strips, strict=True)):
        edges = [strip.left, *itertools.chain(*cuts.get(index, [])), strip.right]
        for left, right in zip(edges[::2], edges[1::2], strict=True):
            piece = _piece(line, box, left, right) if index in cuts else line
            yield piece, [left, strip.top, right, strip.bottom]


def _piece(line: Image.Image, box: Sequence[float], left: float, right: float) -> Image.Image:
    """Crop the part of a line between two places, with a margin on both sides."""
    begin, top, end, bottom = box
    scale, margin = line.width / (end - begin), PIECE_MARGIN * (bottom - top)
    first, last = round((left - margin - begin) * scale), round((right + margin - begin) * scale)
    return line.crop((max(0, first), 0, min(line.width, last), line.height))


def _at_height(line: Image.Image) -> Image.Image:
    """Scale a line to the recogniser's height."""
    length = round(line.width * LINE_HEIGHT / line.height)
    return line.resize((min(max(length, 1), LINE_WIDTH), LINE_HEIGHT), Image.Resampling.BICUBIC)


def _letters(lines: Sequence[FoundLine]) -> int:
    return sum(sum(map(str.isalnum, line.text)) for line in lines)


def _score(lines: Sequence[FoundLine]) -> float:
    """Return the number of letters and digits, weighted by certainty."""
    return _certainty(lines) * _letters(lines)


def _softening(page: Image.Image, lines: Sequence[FoundLine]) -> Sequence[float]:
    """Return the blurs with which a page is read again until enough text is found."""
    if _letters(lines) >= DITHERED_LETTERS:
        return BLUR_RADII[:1] if _dots(page) >= NOISY_SHARE else ()
    grey = np.asarray(page.convert("L"))
    return BLUR_RADII if int(grey.max()) - int(grey.min()) > MAX_EMPTY_CONTRAST else ()


def _dots(page: Image.Image) -> float:
    """Return the share of pixels in the middle of a page that differ from their surroundings."""
    left, top = (max(0, (side - SAMPLE_SIDE) // 2) for side in page.size)
    middle = page.crop((left, top, min(page.width, left + SAMPLE_SIDE), min(page.height, top + SAMPLE_SIDE))).convert(
        "L"
    )
    around = np.asarray(middle.filter(ImageFilter.MedianFilter(3)), dtype=np.int16)
    return float((np.abs(np.asarray(middle, dtype=np.int16) - around) > MIN_DOT_CONTRAST).mean())


def _certainty(lines: Sequence[FoundLine]) -> float:
    """Return the mean certainty of letters and digits; rules and asterisks look the same upside down."""
    weights = [sum(map(str.isalnum, line.text)) for line in lines]
    total = sum(line.certainty * weight for line, weight in zip(lines, weights, strict=True))
    return total / max(1, sum(weights))


def _without_ornaments(lines: list[FoundLine]) -> list[layout.TextLine]:
    """Drop ideographs from a page in Latin letters: they are misread asterisks and rules."""
    text = "".join(line.text for line in lines)
    if len(IDEOGRAPHS.findall(text)) < MIN_IDEOGRAPH_SHARE * sum(map(str.isalpha, text)):
        lines = [line._replace(text=IDEOGRAPHS.sub("", line.text).strip()) for line in lines]
    return [layout.TextLine(line.text, *line.box) for line in lines if line.text]
