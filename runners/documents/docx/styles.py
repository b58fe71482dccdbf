"""A Word document's styles: which text is hidden, which is a title, and which is a table of contents."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from runners.documents.docx.xml import is_on

TITLES: Final = frozenset({"title", "heading 1"})
"""Built-in style names, which are the same in every language of Word."""
CONTENTS: Final = re.compile(r"toc [1-9]|toc heading|table of (?:figures|authorities)", re.IGNORECASE)
MAX_DEPTH: Final = 30
"""Styles that may be based on one another; Word allows eleven."""
PARAGRAPH_KIND: Final = "paragraph"


@dataclass
class Style:
    """One style; ``hides`` is None where it inherits that from the style that it is based on."""

    name: str = ""
    kind: str = PARAGRAPH_KIND
    based_on: str = ""
    hides: bool | None = None


class Styles:
    """The styles of one document, filled element by element."""

    def __init__(self) -> None:
        self._styles = {"Title": Style("title"), "Heading1": Style("heading 1")}
        self._style: Style | None = None
        self._is_default_text_hidden = False
        self._default = ""
        self.hides = lru_cache(maxsize=1024)(self._hides)

    def tell(self, name: str, attributes: Mapping[str, str]) -> None:
        """Record the start of an element of the styles part."""
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
        """Whether the styles of a paragraph and a run hide text: where both hide, they cancel each other."""
        of_paragraph, of_run = self._inherited(paragraph or self._default), self._inherited(run)
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
        elif self._style.kind != "table":  # a table style may hide only its heading row
            self._style.hides = hides

    def _name(self, style: str) -> str:
        return self._styles[style].name.lower() if style in self._styles else ""

    def _inherited(self, style: str) -> bool | None:
        """Return whether the style hides text, or the nearest of the styles that it is based on."""
        for _ in range(MAX_DEPTH):
            if style not in self._styles or self._styles[style].hides is not None:
                break
            style = self._styles[style].based_on
        return self._styles[style].hides if style in self._styles else None
