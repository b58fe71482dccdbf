"""Joins the lines of a PDF's pages to paragraphs."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from statistics import median
from typing import Final, NamedTuple

from runners.documents.scans import layout
from runners.models.text.normalized import normalized

HYPHEN: Final = 2
"""PDFium's code for a hyphen at a line's end; no other line end follows it."""
LINE_ENDS: Final = frozenset(map(ord, "\r\n\x0b\x0c\x85\u2028\u2029"))

WIDER: Final = 1.35
"""Ratio to the usual gap between lines from which a gap separates paragraphs."""
LARGER: Final = 0.15
"""Relative difference in size above which lines belong to different paragraphs."""
SHORT: Final = 0.85
"""Share of the longest line's width below which a line may be a paragraph's last."""

ENDING: Final = re.compile(r"[.!?…。！？:;][\"'”’»)\]]*$")
ITEM: Final = re.compile(r"[•●◦▪‣·–—*]\s|\(?(?:\d{1,2}|[a-z])[.)]\s")
PAGE_NUMBER: Final = re.compile(
    r"\W*(?:(?:page|seite|página|pagina|стр)\.?\s*)?\d{1,4}(?:\s*(?:/|of|von|sur|de)\s*\d{1,4})?\W*", re.I
)
EDGE: Final = 2
"""Lines at a page's top, and at its bottom, that may be headers and footers."""
NEAR: Final = 200
"""Lines before and after a line that it is compared with: more than a page has, but a bound for hostile pages."""
LIGATURES: Final = re.compile("[\ufb00-\ufb06\ufb1d-\ufd3d\ufd40-\ufdff\ufe70-\ufefc]")
"""Latin ligatures, and presentation forms of Hebrew and Arabic letters."""
ENTRY: Final = re.compile(r"(?<![.·•…_])(?<![.·•…_]\s)(?:[.·•…_]\s?){4,}+\s*+(?:\d+|[ivxlcIVXLC]+)\W*$")
"""Leader dots and a page number: the end of an entry in a table of contents."""


class PdfLine(NamedTuple):
    """A line with its position, in points from the page's lower left corner."""

    text: str
    left: float
    right: float
    bottom: float
    size: float
    cells: int = 1
    """Number of pieces between wide gaps."""


def spans(codes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield start and end of each line in a page's characters."""
    start = 0
    for index, code in enumerate(codes):
        if code in LINE_ENDS or code == HYPHEN:
            yield start, index + (code == HYPHEN)
            start = index + 1
    yield start, len(codes)


def text_of(codes: Sequence[int]) -> str:
    """Return the text of codes with ligatures spelled out and accents composed."""
    text = "".join(chr(code) if code < 0x110000 else "\ufffd" for code in codes)
    text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")  # some fonts give surrogates
    text = LIGATURES.sub(lambda ligature: unicodedata.normalize("NFKC", ligature[0]), text.replace(chr(HYPHEN), "-"))
    return normalized(text, "NFC")


def joined(pages: Sequence[list[PdfLine] | str]) -> str:
    """Join paragraphs of all pages by empty lines; a paragraph across a page break is joined."""
    repeated = _repeated([page for page in pages if isinstance(page, list)])
    blocks: list[str] = []
    for page in pages:
        texts = [page.strip()] if isinstance(page, str) else paragraphs(_without(page, repeated))
        if isinstance(page, list) and blocks and texts and _goes_on(blocks[-1], texts[0]):
            blocks[-1] = layout.joined(blocks[-1], texts[0], _space(blocks[-1]))
            texts.pop(0)
        blocks += filter(None, texts)
    return "\n\n".join(blocks)


def paragraphs(lines: Sequence[PdfLine]) -> list[str]:
    """Join lines to paragraphs, in order."""
    if not lines:
        return []
    usual = _usual_gap(lines)
    groups = [[lines[0].text]]
    for number, (line, following) in enumerate(itertools.pairwise(lines)):
        near = lines[max(0, number - NEAR) : number + NEAR]
        if _begins(line, following, usual, near):
            groups.append([])
        groups[-1].append(following.text)
    return [_joined(texts) for texts in groups]


def _joined(texts: Sequence[str]) -> str:
    """Join a paragraph's lines and its hyphenated words."""
    pairs = itertools.pairwise(texts)
    return "".join(layout.ended(text, following, _space(text)) for text, following in pairs) + texts[-1]


def _space(text: str) -> str:
    """Return what separates a line from the next: nothing after a hyphen that belongs to a word."""
    return "" if re.search(r"[^\W_][-‐]$", text[-2:]) else " "


def _usual_gap(lines: Sequence[PdfLine]) -> float:
    gaps = [line.bottom - following.bottom for line, following in itertools.pairwise(lines)]
    return median([gap for gap, line in zip(gaps, lines, strict=False) if 0 < gap < 3 * line.size] or [0.0])


def _begins(line: PdfLine, following: PdfLine, usual: float, near: Sequence[PdfLine]) -> bool:
    """Whether a paragraph begins with the following line."""
    gap = line.bottom - following.bottom
    ends = bool(ENDING.search(line.text))
    if abs(line.size - following.size) > LARGER * max(line.size, following.size) or ITEM.match(following.text):
        return True
    if ENTRY.search(line.text) or ENTRY.search(following.text):
        return True
    if _are_rows(line, following):
        return True
    if gap <= 0:  # beside the line, or at the top of another column
        return gap < -following.size and ends and not following.text[0].islower()
    if gap > WIDER * usual > 0:
        return True
    is_indented = 0.8 * line.size < following.left - line.left < 6 * line.size
    return ends and (is_indented or _is_short(line, near))


def _are_rows(line: PdfLine, following: PdfLine) -> bool:
    """Whether both are rows of a table rather than lines of prose with wide spaces."""
    is_within = following.text[0].islower() or line.text.endswith((",", ";", "-"))
    return line.cells == following.cells > 1 and not is_within


def _is_short(line: PdfLine, near: Sequence[PdfLine]) -> bool:
    """Whether the line ends well before others that begin at the same place."""
    longest = max(other.right for other in near if abs(other.left - line.left) < 2 * line.size)
    return line.right - line.left < SHORT * (longest - line.left)


def _goes_on(text: str, following: str) -> bool:
    return not ENDING.search(text) and following[:1].islower()


def _edges(page: Sequence[PdfLine]) -> Iterable[str]:
    """Return the lines that may be headers and footers, with numbers masked."""
    if len(page) <= 2 * EDGE:
        return set()
    return {re.sub(r"\d+", "#", line.text) for line in (*page[:EDGE], *page[-EDGE:])}


def _repeated(pages: Sequence[list[PdfLine]]) -> set[str]:
    counts = Counter(text for page in pages for text in _edges(page))
    return {text for text, count in counts.items() if count >= max(3, len(pages) / 2)}


def _without(page: list[PdfLine], repeated: set[str]) -> list[PdfLine]:
    if len(page) <= 2 * EDGE:
        return page
    edges = {*range(EDGE), *range(len(page) - EDGE, len(page))}
    return [
        line
        for number, line in enumerate(page)
        if number not in edges or not (re.sub(r"\d+", "#", line.text) in repeated or PAGE_NUMBER.fullmatch(line.text))
    ]
