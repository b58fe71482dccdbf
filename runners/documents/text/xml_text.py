"""Feeds (RSS, Atom) and documents in XML (DocBook, JATS, TEI, OpenDocument) to their text. Streamed: no tree is built.

Other XML holds data and no prose; it is refused by the name of its root.
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
"""Elements of a feed that hold one piece of news each."""
SAID: Final = {"title": 1, "description": 2, "summary": 2, "encoded": 3, "content": 3}
"""Elements of a feed's item that are read, and how full their text is."""
FEEDS: Final = frozenset(["rss", "feed", "rdf"])
SKIPPED: Final = frozenset(
    "teiheader ref-list references bibliography listbibl biblioentry journal-meta permissions contrib-group"  # noqa: SIM905
    " aff pub-date history kwd-group tex-math math formula graphic binary style styles automatic-styles settings"
    " font-face-decls script meta metadata annotations".split()
)
"""Local names of elements around the text of a document."""
DOCTYPE: Final = re.compile(r"<!DOCTYPE[^\[>]*+(?:\[[^\]]*+\]\s*+)?+>", re.IGNORECASE)
NAMED_ENTITY: Final = re.compile(r"&(?!(?:amp|lt|gt|quot|apos);)[a-zA-Z]\w{1,30};")
MAX_NAME: Final = 40

OTHER: Final = "XML with the root element <{}> is data, and not read here; {}"


def read(source: str, accepted: str) -> Document:
    """``source`` is XML; ``accepted`` says what is read instead. Raises UnsupportedMediaType for XML without prose."""
    reading = _Reading()
    target: Any = reading  # as markup_blocks.parse has it
    parser = etree.XMLParser(target=target, encoding="utf-8", no_network=True, recover=True, resolve_entities=False)
    known = NAMED_ENTITY.sub(lambda found: html.unescape(found[0]), _without_doctype(source))
    parser.feed(known.encode("utf-8", "ignore"))
    parser.close()
    text = reading.text()
    if not text:
        raise UnsupportedMediaType(OTHER.format(re.sub(r"[^\w.-]", "", reading.root)[:MAX_NAME], accepted))
    return Document(text, 1, reading.title[: markup.MAX_TITLE] or None)


def _without_doctype(source: str) -> str:
    """Without the first declaration of entities, of which none is expanded."""
    begin = source.find("<!DOCTYPE")
    found = DOCTYPE.match(source, begin) if begin >= 0 else None
    return source[:begin] + source[found.end() :] if found else source


class _Reading:
    """What lxml tells of the XML, in its order."""

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
        """Take note of nothing that a reader sees."""

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
            said = "".join(self._pieces).strip()
            self._pieces = []
            if self._item is not None:
                self._item[SAID[name]] = max(self._item.get(SAID[name], ""), said, key=len)
            elif name == "title" and not self.title:
                self.title = markup.spaced(said)
        elif name in ITEMS and self._item is not None:
            self._blocks += _said(self._item)
            self._item = None


def _said(item: dict[int, str]) -> list[str]:
    """The title of a piece of news, and the fuller of its texts."""
    text = max(_plain(item.get(2, "")), _plain(item.get(3, "")), key=len)
    return [said for said in (markup.spaced(_plain(item.get(1, ""))), text) if said]


def _plain(text: str) -> str:
    """HTML that stands escaped in XML, as its text."""
    return markup.read(text).text if "<" in text or "&" in text else text
