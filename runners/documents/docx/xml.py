"""A Word document's XML, streamed into targets: no tree is built of it.

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
    """What lxml tells of XML while it reads it."""

    def start(self, tag: str, attributes: dict[str, str]) -> object:
        """An element begins; its tag is in Clark's notation."""

    def end(self, tag: str) -> object:
        """An element ends."""

    def data(self, text: str) -> object:
        """A piece of text."""


class Starts:
    """Hands on the beginnings of elements, each by its local name and with the local names of its attributes."""

    def __init__(self, told: Callable[[str, Mapping[str, str]], None]) -> None:
        self._told = told

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """An element begins."""
        self._told(local(tag), {local(name): value for name, value in attributes.items()})

    def end(self, tag: str) -> None:
        """Nothing."""

    def data(self, text: str) -> None:
        """Nothing."""


class Texts:
    """Keeps the text of the elements of one name, and the ends of paragraphs."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._inside = False
        self.found: list[str] = []

    def start(self, tag: str, _: dict[str, str]) -> None:
        """An element begins."""
        self._inside = local(tag) == self._name

    def end(self, tag: str) -> None:
        """An element ends."""
        self._inside = False
        self.found += ["\n"] if local(tag) == "p" else []

    def data(self, text: str) -> None:
        """A piece of text."""
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


def parse(chunks: Iterable[bytes], target: Target) -> None:
    """Feed a target. Raises InvalidDocument, and what the target and the chunks raise."""
    guarded: Any = _Guarded(target)  # lxml's types ask for a target of bytes as well, which it never tells of
    parser = etree.XMLParser(target=guarded, resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        for chunk in chunks:
            parser.feed(chunk)
        parser.close()
    except etree.XMLSyntaxError:
        raise InvalidDocument(DAMAGED) from None


@lru_cache(maxsize=512)
def local(tag: str) -> str:
    """The name without its namespace."""
    return tag.rpartition("}")[2]


def is_on(attributes: Mapping[str, str]) -> bool:
    """Whether a switch is on; it is where nothing else is said."""
    return value(attributes).lower() not in OFF


def attribute(attributes: Mapping[str, str], name: str) -> str:
    """What an attribute says, in any namespace; "" where there is none of that name."""
    return next((said for key, said in attributes.items() if local(key) == name), "")


def value(attributes: Mapping[str, str]) -> str:
    """What the attribute ``val`` says, which most of Word's elements have."""
    return attribute(attributes, "val")


def relation(attributes: Mapping[str, str], *names: str) -> str:
    """The id of the relationship that an element names in one of these attributes; "" where it names none."""
    wanted = {space + name for space in RELATIONSHIPS for name in names}
    return next((said for name, said in attributes.items() if name in wanted), "")
