"""Word documents: paragraphs, lists, tables, text boxes and pictures in their order, and the notes behind them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from runners.documents.document import Document
from runners.documents.docx import chunks
from runners.documents.docx.archive import Unpacked, opened
from runners.documents.docx.body import Body
from runners.documents.docx.parts import Parts, Relation
from runners.documents.docx.pictures import EmbeddedPictures, without
from runners.documents.docx.xml import Texts, parse
from runners.documents.formats import ACCEPTED, EMPTY
from runners.documents.html.html import MAX_TITLE, spaced
from runners.documents.scans.pages import AsPictures, PageReader
from runners.errors import InvalidDocument, UnsupportedMediaType

MAX_DEPTH: Final = 3
"""Levels of documents inside one another."""
MAX_MARGINS: Final = 20
"""Headers and footers that are read."""


def read(data: bytes, pages: PageReader) -> Document:
    """Read a Word document; the text is empty where it has only pictures without text.

    Raises InvalidDocument, PayloadTooLarge, UnsupportedMediaType, and what ``pages`` raises.
    """
    document, is_empty = _read(data, pages, Unpacked(), MAX_DEPTH)
    if is_empty:
        raise InvalidDocument(EMPTY)
    return document


def _read(data: bytes, pages: PageReader | None, unpacked: Unpacked, depth: int) -> tuple[Document, bool]:
    """Return the document, and whether it is empty; ``pages`` is None where pictures are not read."""
    with opened(data, unpacked) as archive:
        document = _Document(Parts(archive), pages, depth)
        blocks = document.blocks()
        text = "\n\n".join(document.pictures.read_into(blocks, pages) if pages else without(blocks))
        return Document(text, 1, document.title()), not blocks


class _Document:
    """One document while it is read, around the bodies of its parts."""

    def __init__(self, parts: Parts, pages: PageReader | None, depth: int) -> None:
        self.pictures = EmbeddedPictures(parts.archive)
        self._parts, self._pages, self._depth = parts, pages, depth
        self._styles = parts.styles()
        self._relations: Mapping[str, Relation] = {}  # of the part that is being read
        self._chunks: dict[str, Document] = {}
        self._title = ""

    def blocks(self) -> list[str]:
        """Return the blocks of the main part and its notes, or those of headers and footers where it has none."""
        main = self._body(self._parts.main)
        if main.root != "document":
            raise UnsupportedMediaType(ACCEPTED)
        self._title = main.flow.title
        return main.flow.taken() + self._notes(main) or self._margins()

    def title(self) -> str | None:
        """Return the title from the properties, else the first paragraph styled as one, else from a document inside."""
        inside = (chunk.title for chunk in self._chunks.values())
        titles = (self._parts.title(), spaced(self._title), *inside)
        return next((title[:MAX_TITLE] for title in titles if title), None)

    def chunk(self, relation: str) -> str:
        """Return the text of an embedded document; each is read once."""
        part = self._part(relation)
        if part and part not in self._chunks:
            data = b"".join(self._parts.archive.chunks(part))
            self._chunks[part] = chunks.read(data, part, self._parts.media_type(part), self._nested)
        return self._chunks[part].text.strip() if part else ""

    def picture(self, relation: str, area: float) -> str:
        """Return the placeholder of a picture; "" where it is missing or already placed."""
        part = self._part(relation)
        return self.pictures.mark(part, area) if part else ""

    def diagram(self, relation: str) -> str:
        """Return the text in a diagram's boxes, one line a paragraph."""
        texts = Texts("t")
        if part := self._part(relation):
            parse(self._parts.archive.chunks(part), texts)
        return "\n".join(filter(None, map(spaced, "".join(texts.found).split("\n"))))

    def _body(self, part: str) -> Body:
        self._relations = self._parts.relations(part)
        body = Body(self._styles, self)
        parse(self._parts.archive.chunks(part), body)
        return body

    def _notes(self, main: Body) -> list[str]:
        """Footnotes, then endnotes, in the order of the text; their numbers are dropped, as they mean nothing here."""
        parts = [*self._parts.of_kind("footnotes")[:1], *self._parts.of_kind("endnotes")[:1]]
        notes = {key: blocks for part in parts for key, blocks in self._body(part).notes.items()}
        named = sorted(main.references, key=lambda note: note[0] == "endnote")
        return [block for note in named for block in notes.get(note, [])]

    def _margins(self) -> list[str]:
        """Headers and footers, each text once."""
        parts = (self._parts.of_kind("header") + self._parts.of_kind("footer"))[:MAX_MARGINS]
        return list(dict.fromkeys(block for part in parts for block in self._body(part).flow.taken()))

    def _nested(self, data: bytes) -> Document:
        if not self._depth:
            raise UnsupportedMediaType(chunks.NOT_READ)
        pages = None if isinstance(self._pages, AsPictures) else self._pages
        return _read(data, pages, self._parts.archive.unpacked, self._depth - 1)[0]

    def _part(self, relation: str) -> str:
        """Return the part that a relationship points to; "" where there is none."""
        target = self._relations.get(relation)
        return target.part if target and target.part in self._parts.archive else ""
