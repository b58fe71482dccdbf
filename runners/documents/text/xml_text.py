"""Feeds (RSS, Atom) and documents in XML (DocBook, JATS, TEI, OpenDocument) to their text. Streamed: no tree is built.

Other XML holds data rather than prose; the error names its root element.
"""

from __future__ import annotations

import html
import re
from typing import Any, Final

from lxml import etree

from runners.documents.document import Document
from runners.documents.html import html as markup
from runners.errors import UnsupportedMediaType

PROSE: Final = frozenset(
    "p para simpara formalpara title subtitle head h abstract lead headline item li listitem l ab quote caption"  # noqa: SIM905
    " term entry cell v article-title shortdesc cmd note".split()
)
"""Local names of elements that hold text in the formats of documents."""
ITEMS: Final = frozenset(["item", "entry"])
"""Elements of a feed that hold one news item each."""
SAID: Final = {"title": 1, "description": 2, "summary": 2, "encoded": 3, "content": 3}
"""Elements of a feed's item that are read, ranked by how full their text is."""
FEEDS: Final = frozenset(["rss", "feed", "rdf"])
SKIPPED: Final = frozenset(
    "teiheader ref-list references bibliography listbibl biblioentry journal-meta permissions contrib-group"  # noqa: SIM905
    " aff pub-date history kwd-group tex-math math formula graphic binary style styles automatic-styles settings"
    " font-face-decls script meta metadata annotations".split()
)
"""Local names of elements whose text is not part of the document's body."""
DOCTYPE: Final = re.compile(r"<!DOCTYPE[^\[>]*+(?:\[[^\]]*+\]\s*+)?+>", re.IGNORECASE)
NAMED_ENTITY: Final = re.compile(r"&(?!(?:amp|lt|gt|quot|apos);)[a-zA-Z]\w{1,30};")
MAX_NAME: Final = 40

OTHER: Final = "XML with the root element <{}> is data, and not read here; {}"


def read(source: str, accepted: str) -> Document:
    """Read XML; ``accepted`` is for the error's text. Raises UnsupportedMediaType for XML without prose."""
    reading = _Reading()
    target: Any = reading  # see html.blocks.parse
    parser = etree.XMLParser(target=target, encoding="utf-8", no_network=True, recover=True, resolve_entities=False)
    expanded = NAMED_ENTITY.sub(lambda entity: html.unescape(entity[0]), _without_doctype(source))
    parser.feed(expanded.encode("utf-8", "ignore"))
    parser.close()
    text = reading.text()
    if not text:
        raise UnsupportedMediaType(OTHER.format(re.sub(r"[^\w.-]", "", reading.root)[:MAX_NAME], accepted))
    return Document(text, 1, reading.title[: markup.MAX_TITLE] or None)


def _without_doctype(source: str) -> str:
    """Remove the first document type declaration; entities are never expanded."""
    begin = source.find("<!DOCTYPE")
    doctype = DOCTYPE.match(source, begin) if begin >= 0 else None
    return source[:begin] + source[doctype.end() :] if doctype else source


class _Reading:
    """An lxml parser target that collects prose or a feed's items."""

    def __init__(self) -> None:
        self.root = self.title = ""
        self._is_feed = False
        self._names: list[str] = []
        self._skipped = self._inside = 0
        self._pieces: list[str] = []
        self._blocks: list[str] = []
        self._item: dict[int, str] | None = None

    def start(self, tag: str, _: dict[str, str]) -> None:
        name = tag.rpartition("}")[2]
        if not self.root:
            self.root, self._is_feed = name, name.lower() in FEEDS
        lower = name.lower()
        self._names.append(lower)
        self._skipped += not self._is_feed and lower in SKIPPED
        if self._is_feed:
            self._start_in_feed(lower)
        elif lower in PROSE:
            self._flush()
            self._inside += 1

    def end(self, _: str) -> None:
        name = self._names.pop()
        if self._is_feed:
            self._end_in_feed(name)
        elif name in PROSE:
            self._flush()
            self._inside -= 1
        self._skipped -= not self._is_feed and name in SKIPPED

    def data(self, text: str) -> None:
        if self._is_feed or (self._inside and not self._skipped):
            self._pieces.append(text)

    def comment(self, _: str) -> None:
        """Ignore it: a reader does not see comments."""

    def close(self) -> None:
        """End the document."""
        self._flush()

    def text(self) -> str:
        return "\n\n".join(self._blocks)

    def _flush(self) -> None:
        text = markup.spaced("".join(self._pieces)) if not self._is_feed else ""
        self._pieces = []
        if text:
            if not self.title and self._names and self._names[-1] in {"title", "article-title"}:
                self.title = text
            self._blocks.append(text)

    def _start_in_feed(self, name: str) -> None:
        if name in ITEMS:
            self._item = {}
        if name in SAID:
            self._pieces = []

    def _end_in_feed(self, name: str) -> None:
        if name in SAID:
            text = "".join(self._pieces).strip()
            self._pieces = []
            if self._item is not None:
                self._item[SAID[name]] = max(self._item.get(SAID[name], ""), text, key=len)
            elif name == "title" and not self.title:
                self.title = markup.spaced(text)
        elif name in ITEMS and self._item is not None:
            self._blocks += _texts(self._item)
            self._item = None


def _texts(item: dict[int, str]) -> list[str]:
    """Return the title of a news item, and the fuller of its texts."""
    text = max(_plain(item.get(2, "")), _plain(item.get(3, "")), key=len)
    return [part for part in (markup.spaced(_plain(item.get(1, ""))), text) if part]


def _plain(text: str) -> str:
    """Return the text of HTML that is escaped in XML."""
    return markup.read(text).text if "<" in text or "&" in text else text
