"""What a Word document's styles say about text: which is hidden, which is a title, and which is a table of contents."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from runners.documents.docx.xml import is_on

TITLES: Final = frozenset({"title", "heading 1"})
"""Word's own names, in every language of its menus."""
CONTENTS: Final = re.compile(r"toc [1-9]|toc heading|table of (?:figures|authorities)", re.IGNORECASE)
MAX_DEPTH: Final = 30
"""Most styles that are based on one another: Word takes eleven."""
PARAGRAPH_KIND: Final = "paragraph"


@dataclass
class Style:
    """One style; ``hides`` is None where it leaves that to the style that it is based on."""

    name: str = ""
    kind: str = PARAGRAPH_KIND
    based_on: str = ""
    hides: bool | None = None


class Styles:
    """Filled element by element, then asked."""

    def __init__(self) -> None:
        self._styles = {"Title": Style("title"), "Heading1": Style("heading 1")}
        self._style: Style | None = None
        self._is_default_text_hidden = False
        self._default = ""
        self.hides = lru_cache(maxsize=1024)(self._hides)

    def tell(self, name: str, attributes: Mapping[str, str]) -> None:
        """Take note of an element of the styles' part."""
        if name == "style":
            self._begin(attributes)
        elif name == "vanish":
            self._hide(is_on(attributes))
        elif self._style is not None and name == "name":
            self._style.name = attributes.get("val", "")
        elif self._style is not None and name == "basedOn":
            self._style.based_on = attributes.get("val", "")

    def is_title(self, style: str) -> bool:
        """Whether paragraphs of the style of this id are titles."""
        return self._name(style) in TITLES

    def is_contents(self, style: str) -> bool:
        """Whether paragraphs of the style of this id are entries of a table of contents or figures."""
        return bool(CONTENTS.fullmatch(self._name(style)))

    def _hides(self, paragraph: str, run: str) -> bool:
        """Whether text of a paragraph's style and a run's is hidden: where both hide, they cancel each other."""
        of_paragraph, of_run = self._said(paragraph or self._default), self._said(run)
        if of_paragraph is None and of_run is None:
            return self._is_default_text_hidden
        return bool(of_paragraph) != bool(of_run)

    def _begin(self, attributes: Mapping[str, str]) -> None:
        self._style = Style(kind=attributes.get("type", PARAGRAPH_KIND))
        self._styles[attributes.get("styleId", "")] = self._style
        if attributes.get("default") in {"1", "true", "on"} and self._style.kind == PARAGRAPH_KIND:
            self._default = attributes.get("styleId", "")

    def _hide(self, hides: bool) -> None:
        if self._style is None:
            self._is_default_text_hidden = hides
        elif self._style.kind != "table":  # there it may be meant for a heading row alone
            self._style.hides = hides

    def _name(self, style: str) -> str:
        return self._styles[style].name.lower() if style in self._styles else ""

    def _said(self, style: str) -> bool | None:
        """What the style says about hiding, or the nearest of those that it is based on."""
        for _ in range(MAX_DEPTH):
            if style not in self._styles or self._styles[style].hides is not None:
                break
            style = self._styles[style].based_on
        return self._styles[style].hides if style in self._styles else None
