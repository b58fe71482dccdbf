"""HTML to blocks of text, each with its surroundings. lxml streams it: there is no tree that could be too deep.

libxml2 splits a page into tags as HTML5 specifies. HTML5's rules for elements that are left open are applied here where
they decide what is read: a block ends an open paragraph, and a drawing or a list of choices.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from lxml import etree

from runners.documents.html.elements import (
    BLOCKS,
    BROKEN_OUT,
    CELLS,
    CONTAINERS,
    DROPPED,
    HEADINGS,
    LAID_OUT,
    LINES,
    MATTERS,
    RUBY_PARTS,
)
from runners.documents.html.hiding import HidingRules
from runners.documents.html.roles import ARTICLES, NAMED, Role, role_of

LINE: Final = "\x1d"
NOTE_MARK: Final = re.compile(r"\s*(?:\[[^\]]{1,12}\]|[*†‡]|\d{1,3})\s*\Z")
MANY_LINE_ENDS: Final = re.compile("\n{2,}")
MAX_DEPTH: Final = 1_000
"""Depth of nested elements below which none is tracked."""
MAX_NAMES: Final = 300
MAX_ARIA: Final = 20


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of text; ``links`` counts its characters that are links."""

    text: str
    links: int
    node: int
    level: int = 0
    """1 to 6 for a heading, 0 for other text."""
    is_tight: bool = False
    """Whether it directly follows the line of the block before: items of a list, rows of a table."""


@dataclass(slots=True)
class _Element:
    """An open element that affects what it contains."""

    tag: str
    depth: int
    role: Role = Role.CONTENT
    node: int = -1
    is_hidden: bool = False
    is_link: bool = False
    is_container: bool = False


@dataclass(frozen=True, slots=True)
class _Row:
    """An open table row: the blocks of its cells."""

    cells: list[list[Block]]
    is_tight: bool


class Blocks:
    """An lxml parser target that collects a page's blocks; lxml closes what the page leaves open."""

    def __init__(self, rules: HidingRules, *, show_hidden: bool = False) -> None:
        self.blocks: list[Block] = []
        self.parents: list[int] = [-1]
        self.roles: list[Role] = [Role.CONTENT]
        self.titles: dict[str, list[str]] = {"title": [], "h1": []}
        self._rules, self._show_hidden = rules, show_hidden
        self._open: list[_Element] = [_Element("", 0, node=0, is_container=True)]
        self._depth = self._hidden = self._linked = self._raised = 0
        self._articles = self._preformatted = 0
        self._title = ""
        self._pieces: list[str] = []
        self._links = self._breaks = self._level = 0
        self._is_line, self._is_apart = False, True
        self._paragraph: _Element | None = None
        self._rows: list[_Row] = []

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """Open an element."""
        self._depth += 1
        if tag in LAID_OUT or tag in RUBY_PARTS:
            self._end_what_ends_before(tag)
        if tag in LAID_OUT and not self._hidden:
            self._flush()
        if (attributes or tag in MATTERS) and self._depth <= MAX_DEPTH:
            self._enter(tag, attributes)
        if self._hidden:
            return
        if tag in self.titles and not self.titles[tag]:
            self._title = tag
        self._preformatted += tag == "pre"
        self._layout(tag)

    def end(self, tag: str) -> None:
        """Close the innermost element."""
        if not self._hidden:
            self._close_layout(tag)
        if tag == self._title:
            self._title = ""
        if self._open[-1].depth == self._depth and self._depth:
            self._leave(self._open.pop())
        self._depth -= 1

    def data(self, text: str) -> None:
        """Add a piece of text to the open block or title."""
        if self._title:
            self.titles[self._title].append(text)
        if self._hidden or self._title == "title":
            return
        if self._raised and NOTE_MARK.match(text) and ("[" in text or self._linked):
            return
        shown = text.replace("\n", LINE) if self._preformatted else re.sub(r"\s+", " ", text)
        if shown.strip():
            self._breaks = 0
            self._links += len(shown) if self._linked else 0
        self._pieces.append(shown)

    def comment(self, _: str) -> None:
        """Ignore it: a reader does not see comments."""

    def close(self) -> None:
        """End the page."""
        self._flush()
        while self._rows:
            self._end_row()

    def _enter(self, tag: str, attributes: dict[str, str]) -> None:
        """Track the element if it affects what it contains."""
        is_hidden = self._is_hidden(tag, attributes)
        is_link = tag == "button" or (tag == "a" and "href" in attributes)
        role = self._role(tag, attributes) if tag in NAMED else Role.CONTENT
        is_container = tag in CONTAINERS or bool(role)
        if not (is_hidden or is_link or is_container or tag in {"sup", "p"}):
            return
        element = _Element(tag, self._depth, role, -1, is_hidden, is_link, is_container)
        self._open.append(element)
        self._hidden += is_hidden
        self._linked += is_link
        self._raised += tag == "sup"
        self._articles += tag in ARTICLES
        if tag == "p":
            self._paragraph = element

    def _is_hidden(self, tag: str, attributes: dict[str, str]) -> bool:
        if tag in DROPPED:
            return tag != "template" or "shadowrootmode" not in attributes
        if self._show_hidden:
            return False
        if tag not in CONTAINERS and attributes.get("aria-hidden") == "true":  # an icon inside a line
            return True
        return (tag == "dialog" and "open" not in attributes) or self._rules.hide(tag, attributes)

    def _role(self, tag: str, attributes: dict[str, str]) -> Role:
        names = f"{attributes.get('class', '')} {attributes.get('id', '')}".strip()[:MAX_NAMES]
        aria = attributes.get("role", "")[:MAX_ARIA]
        role = role_of(tag, names, aria, inside_article=bool(self._articles))
        return max(role, Role.BESIDE) if attributes.get("aria-hidden") == "true" else role

    def _leave(self, element: _Element) -> None:
        self._hidden -= element.is_hidden
        self._linked -= element.is_link
        self._raised -= element.tag == "sup"
        self._articles -= element.tag in ARTICLES
        if element is self._paragraph:
            self._paragraph = None

    def _end_what_ends_before(self, tag: str) -> None:
        """Apply HTML5's implied end tags where a hidden element would hide what follows it."""
        innermost = self._open[-1]
        if tag in RUBY_PARTS:
            if innermost.tag in RUBY_PARTS and innermost.is_hidden:
                self._show(innermost)
            return
        if self._hidden and innermost.is_hidden and innermost.tag in BROKEN_OUT:
            self._show(innermost)
        if tag in BLOCKS and self._paragraph and self._paragraph.is_hidden:
            self._show(self._paragraph)

    def _show(self, element: _Element) -> None:
        self._hidden -= element.is_hidden
        element.is_hidden = False

    def _layout(self, tag: str) -> None:
        if tag == "br":
            self._breaks += 1
            self._pieces.append(LINE)
            if self._breaks > 1:
                self._flush()
        elif tag in LAID_OUT:
            self._level = HEADINGS.get(tag, 0)
            self._is_line |= tag in LINES
            self._is_apart |= tag in BLOCKS and tag != "p"
            if tag == "tr" and self._depth <= MAX_DEPTH:
                self._rows.append(_Row([], not self._is_apart))
            elif tag in CELLS and self._rows:
                self._rows[-1].cells.append([])

    def _close_layout(self, tag: str) -> None:
        self._preformatted -= tag == "pre" and self._preformatted > 0
        if tag in LAID_OUT:
            self._flush()
            self._level = 0
            self._is_line &= tag in CELLS
            self._is_apart |= tag in BLOCKS and tag != "p"
        if tag == "tr" and self._rows and self._depth <= MAX_DEPTH:
            self._end_row()

    def _flush(self) -> None:
        """End the block of text that is open, if it has any."""
        if not self._pieces:
            return
        lines = [" ".join(line.split()) for line in "".join(self._pieces).split(LINE)]
        text = MANY_LINE_ENDS.sub("\n\n", "\n".join(lines)).strip("\n")
        links = self._links
        self._pieces, self._links, self._breaks = [], 0, 0
        if text:
            self._put(Block(text, links, self._node(), self._level, self._is_line and not self._is_apart))
            self._is_line = self._is_apart = False

    def _put(self, block: Block) -> None:
        rows = [row for row in self._rows[-2:] if row.cells]
        (rows[-1].cells[-1] if rows else self.blocks).append(block)

    def _end_row(self) -> None:
        """Join the row's cells in one line, or keep their blocks where the table only lays out the page."""
        row = self._rows.pop()
        cells = [cell for cell in row.cells if cell]
        if cells and all(len(cell) == 1 for cell in cells) and not _lays_out(cells):
            text = " | ".join(cell[0].text.replace("\n", " ") for cell in cells)
            links = sum(cell[0].links for cell in cells)
            self._put(Block(text, links, self._node(), cells[0][0].level, row.is_tight))
            return
        for cell in cells:
            for block in cell:
                self._put(block)

    def _node(self) -> int:
        """Return the number of the innermost container; a container gets its number with its first text."""
        unnumbered: list[_Element] = []
        while self._open[-1 - len(unnumbered)].node < 0:
            unnumbered.append(self._open[-1 - len(unnumbered)])
        node = self._open[-1 - len(unnumbered)].node
        for element in reversed(unnumbered):
            if element.is_container:
                self.parents.append(node)
                self.roles.append(element.role)
                node = len(self.parents) - 1
            element.node = node
        return node


def _lays_out(cells: list[list[Block]]) -> bool:
    """Whether a row of single blocks has a menu beside text."""
    menus = sum(cell[0].links * 2 > len(cell[0].text) for cell in cells)
    return 0 < menus < len(cells) and any(len(cell[0].text) > 200 for cell in cells)


def parse(source: str, rules: HidingRules, *, show_hidden: bool = False) -> Blocks:
    """Parse a page without raw elements into blocks."""
    page = Blocks(rules, show_hidden=show_hidden)
    target: Any = page  # lxml's types also want a target for bytes, which it never calls
    parser = etree.HTMLParser(target=target, encoding="utf-8", no_network=True, remove_pis=True)
    parser.feed(source.encode("utf-8", "ignore"))
    parser.close()
    return page
