"""Measures OCR: character error rates, and seconds per page.

    python -m training.summarization.ocr_measures --data DIR

DIR holds three folders of pictures and their texts, from these sources:

receipts   github.com/zzzDavid/ICDAR-2019-SROIE, data/img and data/box: NAME.jpg, NAME.csv (corners and text of each
           box; all in capitals, so that both sides are compared in capitals)
pages_fr   github.com/Gallicorpora/HTR-imprime-18e-siecle: NAME.jpg, NAME.txt (ſ counts as s, ¬ is a hyphen)
printed    github.com/tesseract-ocr/test, testing: phototest.tif, eurotext.tif and their texts

A rate is the Levenshtein distance divided by the length of the true text, both with each run of white space as one
space; rates are means over a folder's pages. "as found" is the detector's order, "as laid out" the service's. For
"mended", words that are hyphenated at a line's end are joined in the true text, too.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from rapidfuzz.distance import Levenshtein
from tqdm import tqdm

from runners.documents.scans import layout
from runners.documents.scans.ocr import Ocr
from runners.images import decode


@dataclass(frozen=True)
class Page:
    """A picture and its true text."""

    picture: Path
    text: str
    normalise: Callable[[str], str]
    """Applied to both texts before they are compared."""


def receipts(folder: Path) -> Iterator[Page]:
    """Yield each receipt; its text is that of the boxes, row by row."""
    for path in sorted(folder.glob("*.csv")):
        rows = csv.reader(path.read_text("utf-8", "replace").splitlines(), quoting=csv.QUOTE_NONE)
        yield Page(path.with_suffix(".jpg"), _by_rows([_box(row) for row in rows if row]), _in_capitals)


def _box(row: list[str]) -> layout.TextLine:
    xs, ys = [float(row[index]) for index in (0, 2, 4, 6)], [float(row[index]) for index in (1, 3, 5, 7)]
    return layout.TextLine(",".join(row[8:]), min(xs), min(ys), max(xs), max(ys))


def _by_rows(boxes: list[layout.TextLine]) -> str:
    """Join rows. A box belongs to a row if its middle lies within the row's first box; ``layout`` differs."""
    rows: list[list[layout.TextLine]] = []
    for box in sorted(boxes, key=lambda box: box.middle):
        if rows and rows[-1][0].top < box.middle < rows[-1][0].bottom:
            rows[-1].append(box)
        else:
            rows.append([box])
    return "\n".join(box.text for row in rows for box in sorted(row, key=lambda box: box.left))


def pages(folder: Path) -> Iterator[Page]:
    """Yield each picture with the text file of the same name."""
    for path in sorted(folder.iterdir()):
        if path.suffix in {".jpg", ".tif"}:
            yield Page(path, path.with_suffix(".txt").read_text("utf-8"), _with_round_s)


def _in_capitals(text: str) -> str:
    return text.upper()


def _with_round_s(text: str) -> str:
    return text.replace("ſ", "s")


def normalised_error_rate(read: str, page: Page, truth: str) -> float:
    """Return the character error rate of two texts after the page's normalisation."""
    return error_rate(page.normalise(read), page.normalise(truth))


def error_rate(read: str, truth: str) -> float:
    """Return the character error rate; each run of white space counts as one space."""
    read, truth = (" ".join(text.split()) for text in (read, truth))
    return Levenshtein.distance(read, truth) / len(truth)


def measure_page(ocr: Ocr, page: Page) -> dict[str, float]:
    """Return the error rates and the seconds of a page."""
    image = decode.decode(page.picture.read_bytes())
    begin, cpu = time.perf_counter(), time.process_time()
    lines = ocr.lines(image)
    text = layout.text(lines)
    seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
    return {
        "as found": normalised_error_rate("\n".join(line.text for line in lines), page, page.text),
        "as laid out": normalised_error_rate(text, page, page.text),
        "mended": normalised_error_rate(text, page, page.text.replace("¬\n", "")),
        "letter by letter": error_rate(text, page.text),
        "seconds": seconds,
        "cpu seconds": cpu,
    }


def measure(ocr: Ocr, data: Path) -> dict[str, dict[str, float]]:
    """Return the means over the pages of each folder that exists."""
    sources = {"receipts": receipts, "pages_fr": pages, "printed": pages}
    figures = {}
    for name, source in sources.items():
        if (data / name).is_dir():
            measured = [measure_page(ocr, page) for page in tqdm(list(source(data / name)), desc=name, unit="page")]
            figures[name] = {figure: round(fmean(page[figure] for page in measured), 4) for figure in measured[0]}
    return figures


def main() -> None:
    """Run the command line at the top of this file."""
    parser = argparse.ArgumentParser(
        prog="python -m training.summarization.ocr_measures",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with receipts/, pages_fr/ and printed/")
    parser.add_argument("--threads", type=int, help="CPU threads of one read (default: all cores)")
    arguments = parser.parse_args()
    print(json.dumps(measure(Ocr(arguments.threads), arguments.data), indent=2))


if __name__ == "__main__":
    main()
