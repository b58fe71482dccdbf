"""HTML to the text that a reader of the page came for. It is streamed through lxml: there is no tree to be deep."""

from __future__ import annotations

import re
from typing import Any, Final

from lxml import etree

from runners.documents.document import Document

ALWAYS_DROPPED: Final = frozenset(
    [
        "script",
        "style",
        "template",
        "noscript",
        "svg",
        "math",
        "iframe",
        "object",
        "canvas",
        "audio",
        "video",
        "map",
        "select",
        "datalist",
        "dialog",
    ]
)
USUALLY_DROPPED: Final = ALWAYS_DROPPED | frozenset(["nav", "header", "footer", "aside", "form", "button", "menu"])
BLOCKS: Final = frozenset(
    [
        "address",
        "article",
        "aside",
        "blockquote",
        "body",
        "center",
        "dd",
        "details",
        "div",
        "dl",
        "dt",
        "fieldset",
        "figcaption",
        "figure",
        "footer",
        "form",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "header",
        "hgroup",
        "hr",
        "html",
        "legend",
        "main",
        "menu",
        "nav",
        "ol",
        "p",
        "pre",
        "section",
        "summary",
        "table",
        "tbody",
        "tfoot",
        "thead",
        "title",
        "ul",
        "caption",
    ]
)
LINES: Final = frozenset(["br", "li", "tr", "option"])
CELLS: Final = frozenset(["td", "th"])

PARAGRAPH, LINE, CELL = "\x1e", "\x1d", "\x1f"  # marks that no cleaned text holds, until all of it is there

# Spaces are few: where there may be any number of them before and after a quote, each of them is tried as both.
DECLARED: Final = re.compile(
    rb"<(?:meta|\?xml)\b[^>]{0,300}?(?:charset|encoding)\s{0,9}=[\s\"']{0,9}([\w.:-]{1,40})", re.IGNORECASE
)
MAX_TITLE: Final = 300


def declared(data: bytes) -> str | None:
    """The encoding that a page says it is in."""
    found = DECLARED.search(data[:4096])
    return found[1].decode("ascii", "ignore") if found else None


def read(source: str) -> Document:
    """``source`` is HTML, whole or in part; the text is empty where there is none in it."""
    page = _parsed(source, USUALLY_DROPPED)
    if not page.text():  # some pages are one large form, or an article inside a header
        page = _parsed(source, ALWAYS_DROPPED)
    return Document(page.text(), 1, page.title())


def spaced(text: str) -> str:
    """In one line, each stretch of spaces and line ends as one space."""
    return " ".join(text.split())


class _Page:
    """What lxml tells of a page, in its order; it closes by itself what the page leaves open."""

    def __init__(self, dropped: frozenset[str]) -> None:
        self._dropped = dropped
        self._pieces: list[str] = []
        self._titles: dict[str, list[str]] = {"title": [], "h1": []}
        self._title = ""  # the one that is open
        self._dropping: list[str] = []
        self._preformatted = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if self._dropping or tag in self._dropped or "hidden" in attributes:
            self._drop(tag)
        if tag in self._titles and not self._titles[tag]:
            self._title = tag
        self._preformatted += tag == "pre"
        self._mark(tag)

    def end(self, tag: str) -> None:
        if self._dropping and self._dropping[-1] == tag:
            self._dropping.pop()
        if tag == self._title:
            self._title = ""
        self._preformatted -= tag == "pre" and self._preformatted > 0
        self._mark(tag if tag != "br" else "")

    def data(self, text: str) -> None:
        if self._title:
            self._titles[self._title].append(text)
        if not self._dropping and self._title != "title":
            self._pieces.append(text.replace("\n", LINE) if self._preformatted else re.sub(r"\s+", " ", text))

    def comment(self, _: str) -> None:
        """Nothing that a reader sees."""

    def close(self) -> None:
        """Called at the end of the page."""

    def text(self) -> str:
        """Paragraphs with an empty line between them, rows and items on lines of their own."""
        paragraphs = (
            [line for line in map(_line, paragraph.split(LINE)) if line]
            for paragraph in "".join(self._pieces).split(PARAGRAPH)
        )
        return "\n\n".join("\n".join(lines) for lines in paragraphs if lines)

    def title(self) -> str | None:
        """The page's own, else its first heading."""
        titles = (spaced("".join(pieces)) for pieces in self._titles.values())
        return next((title[:MAX_TITLE] for title in titles if title), None)

    def _drop(self, tag: str) -> None:
        if not self._dropping or tag == self._dropping[-1]:
            self._dropping.append(tag)

    def _mark(self, tag: str) -> None:
        if self._dropping:
            return
        if tag in BLOCKS:
            self._pieces.append(PARAGRAPH)
        elif tag in LINES or tag in CELLS:
            self._pieces.append(LINE if tag in LINES else CELL)


def _line(line: str) -> str:
    """Its cells, where it has any, separated by a bar."""
    return " | ".join(filter(None, map(spaced, line.split(CELL))))


def _parsed(source: str, dropped: frozenset[str]) -> _Page:
    page = _Page(dropped)
    target: Any = page  # lxml's types ask for a target of bytes as well, which it never tells of
    parser = etree.HTMLParser(target=target, encoding="utf-8", no_network=True, remove_pis=True)
    parser.feed(source.encode("utf-8", "ignore"))
    parser.close()
    return page
