"""A Word document's XML, streamed into parser targets without building a tree.

A tree takes up to thirty times the bytes of the XML, and the XML up to a thousand times the bytes of the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, Final, Protocol

from lxml import etree

from runners.documents.docx.archive import DAMAGED
from runners.errors import InvalidDocument

RELATIONSHIPS: Final = (
    "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}",
    "{http://purl.oclc.org/ooxml/officeDocument/relationships}",
)
OFF: Final = frozenset({"0", "false", "off"})


class Target(Protocol):
    """The callbacks of an lxml parser target."""

    def start(self, tag: str, attributes: dict[str, str]) -> object:
        """Handle the start of an element; its tag is in Clark's notation."""

    def end(self, tag: str) -> object:
        """Handle the end of an element."""

    def data(self, text: str) -> object:
        """Handle a piece of text."""


class Starts:
    """Passes on the starts of elements, by local names of the element and its attributes."""

    def __init__(self, on_start: Callable[[str, Mapping[str, str]], None]) -> None:
        self._on_start = on_start

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """Pass the element on."""
        self._on_start(local(tag), {local(name): value for name, value in attributes.items()})

    def end(self, tag: str) -> None:
        """Ignore it."""

    def data(self, text: str) -> None:
        """Ignore it."""


class Texts:
    """Collects the text of the elements of one name, and the ends of paragraphs."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._inside = False
        self.found: list[str] = []

    def start(self, tag: str, _: dict[str, str]) -> None:
        """Begin to collect at an element of the name."""
        self._inside = local(tag) == self._name

    def end(self, tag: str) -> None:
        """Stop collecting, and keep the end of a paragraph."""
        self._inside = False
        self.found += ["\n"] if local(tag) == "p" else []

    def data(self, text: str) -> None:
        """Collect text inside an element of the name."""
        self.found += [text] if self._inside else []


class _Guarded:
    """Wraps a target and rejects a document type: Word writes none, and only one can declare entities."""

    def __init__(self, target: Target) -> None:
        self.start, self.end, self.data = target.start, target.end, target.data

    def doctype(self, *_: object) -> None:
        raise InvalidDocument(DAMAGED)

    def comment(self, _: str) -> None:
        """Ignore it: a reader does not see comments."""

    def pi(self, *_: object) -> None:
        """Ignore it: a reader does not see processing instructions."""

    def close(self) -> None:
        """End the document; lxml requires this method."""


def parse(chunks: Iterable[bytes], target: Target) -> None:
    """Feed XML to a target. Raises InvalidDocument, and what the target and the chunks raise."""
    guarded: Any = _Guarded(target)  # lxml's types also want a target for bytes, which it never calls
    parser = etree.XMLParser(target=guarded, resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        for chunk in chunks:
            parser.feed(chunk)
        parser.close()
    except etree.XMLSyntaxError:
        raise InvalidDocument(DAMAGED) from None


@lru_cache(maxsize=512)
def local(tag: str) -> str:
    """Return the name without its namespace."""
    return tag.rpartition("}")[2]


def is_on(attributes: Mapping[str, str]) -> bool:
    """Whether a switch is on; it is unless its value says otherwise."""
    return value(attributes).lower() not in OFF


def attribute(attributes: Mapping[str, str], name: str) -> str:
    """Return an attribute's value, in any namespace; "" where it is missing."""
    return next((text for key, text in attributes.items() if local(key) == name), "")


def value(attributes: Mapping[str, str]) -> str:
    """Return the attribute ``val``, which most of Word's elements have."""
    return attribute(attributes, "val")


def relation(attributes: Mapping[str, str], *names: str) -> str:
    """Return the relationship id in one of these attributes; "" where there is none."""
    accepted = {space + name for space in RELATIONSHIPS for name in names}
    return next((identity for name, identity in attributes.items() if name in accepted), "")
