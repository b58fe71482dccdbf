"""Markdown to its prose, without marks, link addresses, pictures, HTML and blocks of code."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.token import Token

from runners.documents.document import Document
from runners.documents.html.html import MAX_TITLE, spaced

FRONT_MATTER: Final = re.compile(r"\A---[ \t]*\n(.{0,20000}?\n)??(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
TITLE: Final = re.compile(r"^title:(.+)$", re.MULTILINE)
BREAKS: Final = {"softbreak": " ", "hardbreak": "\n"}
MARKS: Final = "[]!*_|`~<"
MAX_MARKS: Final = 20_000
"""Marks above which a source is read as plain text: unpaired ones take time that grows with their square."""
MAX_NESTING: Final = 20
"""Depth of quotes and lists that is parsed: time grows with the square of the depth."""


def read(source: str) -> Document:
    """Read Markdown with or without front matter; where it has only code, the code is its text."""
    if sum(map(source.count, MARKS)) > MAX_MARKS:
        return Document(source, 1)
    matter = FRONT_MATTER.match(source)
    tokens = (
        MarkdownIt("commonmark", {"maxNesting": MAX_NESTING})
        .enable("table")
        .parse(source[matter.end() :] if matter else source)
    )
    title = _named(matter[1] or "" if matter else "") or _first_heading(tokens)
    return Document("\n\n".join(_blocks(tokens)) or _code(tokens), 1, title[:MAX_TITLE] or None)


def _named(matter: str) -> str:
    """Return the title in the front matter, without quotes; "" where there is none."""
    match = TITLE.search(matter)
    return spaced(spaced(match[1]).strip("\"'")) if match else ""


def _blocks(tokens: Sequence[Token]) -> Iterator[str]:
    """Yield blocks of prose; the cells of a table's row are one block."""
    cells: list[str] = []
    in_row = False
    for token in tokens:
        if token.type == "tr_open":
            cells, in_row = [], True
        elif token.type == "inline":
            text = _prose(token)
            if in_row:
                cells.append(text)
            elif text:
                yield text
        elif token.type == "tr_close":
            in_row = False
            yield from filter(None, [" | ".join(filter(None, cells))])


def _prose(token: Token) -> str:
    pieces = (
        child.content if child.type in {"text", "code_inline"} else BREAKS.get(child.type, "")
        for child in token.children or ()
    )
    return "\n".join(filter(None, map(spaced, "".join(pieces).split("\n"))))


def _first_heading(tokens: Sequence[Token]) -> str:
    for token, following in itertools.pairwise(tokens):
        if token.type == "heading_open" and token.tag == "h1":
            return spaced(_prose(following))
    return ""


def _code(tokens: Sequence[Token]) -> str:
    return "\n\n".join(token.content.strip() for token in tokens if token.type in {"fence", "code_block"}).strip()
