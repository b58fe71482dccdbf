"""Word documents: paragraphs, lists, tables and text boxes in their order, streamed: no tree is built of the XML.

A tree takes up to thirty times the bytes of the XML, and the XML up to a thousand times the bytes of the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

from lxml import etree

from runners.documents.archive import DAMAGED, Archive, opened
from runners.documents.document import Document
from runners.documents.docx_body import Body
from runners.documents.kinds import ACCEPTED
from runners.documents.markup import MAX_TITLE, spaced
from runners.errors import InvalidDocument, UnsupportedMediaType

RELATIONS, STYLES, PROPERTIES = "_rels/.rels", "word/styles.xml", "docProps/core.xml"
MAIN: Final = "word/document.xml"
TITLE_STYLES: Final = frozenset({"title", "heading 1"})
"""Word's own names, in every language of its menus."""


class Target(Protocol):
    """What lxml tells of XML while it reads it."""

    def start(self, tag: str, attributes: dict[str, str]) -> object:
        """An element begins; its tag is in Clark's notation."""

    def end(self, tag: str) -> object:
        """An element ends."""

    def data(self, text: str) -> object:
        """A piece of text."""


def read(data: bytes) -> Document:
    """The text is empty where there is none. Raises InvalidDocument, PayloadTooLarge and UnsupportedMediaType."""
    with opened(data) as archive:
        main = _main_part(archive)
        body = Body(_title_styles(archive))
        _parse(archive.chunks(main), body)
        title = _property_title(archive) or spaced(body.title)
    return Document(body.text(), 1, title[:MAX_TITLE] or None)


def _main_part(archive: Archive) -> str:
    """Most call it the same; the relations know."""
    found: list[str] = []

    def relation(tag: str, attributes: dict[str, str]) -> None:
        if _local(tag) == "Relationship" and attributes.get("Type", "").endswith("/officeDocument"):
            found.append(attributes.get("Target", "").lstrip("/"))

    if RELATIONS in archive:
        _parse(archive.chunks(RELATIONS), _Starts(relation))
    name = found[0] if found and found[0] in archive else MAIN
    if name not in archive:
        raise UnsupportedMediaType(ACCEPTED)
    return name


def _title_styles(archive: Archive) -> frozenset[str]:
    """The ids of the styles whose paragraphs are titles."""
    found, last = {"Title", "Heading1"}, [""]

    def style(tag: str, attributes: dict[str, str]) -> None:
        values = {_local(name): value for name, value in attributes.items()}
        if _local(tag) == "style":
            last[0] = values.get("styleId", "")
        elif _local(tag) == "name" and values.get("val", "").lower() in TITLE_STYLES:
            found.add(last[0])

    if STYLES in archive:
        _parse(archive.chunks(STYLES), _Starts(style))
    return frozenset(found)


def _property_title(archive: Archive) -> str:
    if PROPERTIES not in archive:
        return ""
    texts = _Texts("title")
    _parse(archive.chunks(PROPERTIES), texts)
    return spaced("".join(texts.found)[: 10 * MAX_TITLE])


class _Starts:
    """Tells of elements' beginnings alone."""

    def __init__(self, told: Callable[[str, dict[str, str]], None]) -> None:
        self.start = told

    def end(self, tag: str) -> None:
        """Nothing."""

    def data(self, text: str) -> None:
        """Nothing."""


class _Texts:
    """Keeps the text of the elements of one name."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._inside = False
        self.found: list[str] = []

    def start(self, tag: str, _: dict[str, str]) -> None:
        self._inside = _local(tag) == self._name

    def end(self, _: str) -> None:
        self._inside = False

    def data(self, text: str) -> None:
        self.found += [text] if self._inside else []


class _Guarded:
    """Hands on to a target, and refuses a document type: Word writes none, and entities are declared in one."""

    def __init__(self, target: Target) -> None:
        self.start, self.end, self.data = target.start, target.end, target.data

    def doctype(self, *_: object) -> None:
        raise InvalidDocument(DAMAGED)

    def comment(self, _: str) -> None:
        """Nothing that a reader sees."""

    def pi(self, *_: object) -> None:
        """Nothing that a reader sees."""

    def close(self) -> None:
        """Called at the end of the XML."""


def _parse(chunks: Iterable[bytes], target: Target) -> None:
    guarded: Any = _Guarded(target)  # lxml's types ask for a target of bytes as well, which it never tells of
    parser = etree.XMLParser(target=guarded, resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        for chunk in chunks:
            parser.feed(chunk)
        parser.close()
    except etree.XMLSyntaxError:
        raise InvalidDocument(DAMAGED) from None


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]
