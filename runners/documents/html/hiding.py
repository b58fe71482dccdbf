"""Which elements of a page does a browser hide? Attributes and the simple rules of its own styles decide."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

INLINE: Final = re.compile(
    r"(?:^|;)\s*+(?:display\s*+:\s*+none|visibility\s*+:\s*+(?:hidden|collapse)|opacity\s*+:\s*+0?\.?0*+\s*+(?:!|;|$)"
    r"|font-size\s*+:\s*+0[a-z%]*+\s*+(?:!|;|$)|clip\s*+:\s*+rect\(\s*+[01](?:px)?+[\s,]"
    r"|(?:text-indent|left|top|right|margin-left)\s*+:\s*+-\d{3,}|mso-hide\s*+:\s*+all)",
    re.IGNORECASE,
)
SHOWN: Final = re.compile(
    r"(?:^|;)\s*+(?:display\s*+:\s*+(?!none)[a-z]|visibility\s*+:\s*+visible|opacity\s*+:\s*+(?:1|0?\.0*[1-9]))",
    re.IGNORECASE,
)
OFF_SCREEN: Final = frozenset(
    "sr-only visually-hidden visuallyhidden screen-reader-text screen-reader-only element-invisible mw-editsection"  # noqa: SIM905
    " headerlink".split()
)
"""Classes of texts for screen readers alone, and of links that edit a page."""

MAX_STYLES: Final = 2_000_000
"""Characters of style sheets that are parsed."""
MAX_CLASSES: Final = 50
"""Classes of an element that are compared with rules."""
MAX_RULES: Final = 20
"""Rules kept per name, so that no element is compared with thousands of them."""
MAX_NESTING: Final = 4
"""Depth of nested blocks in a style sheet below which rules are ignored."""
CSS_COMMENT: Final = re.compile(r"/\*.*?(?:\*/|\Z)", re.DOTALL)
CSS_STEP: Final = re.compile(r"([^{};]*+)([{};]|\Z)")
SIMPLE: Final = re.compile(r"([a-z][a-z0-9]*+)?+((?:[.#][\w-]++)*+)\Z", re.IGNORECASE)
NAME: Final = re.compile(r"[.#][\w-]++")
SCREEN: Final = re.compile(r"@(?:media\s+(?:only\s+)?(?:screen|all)|layer\b[^;]*|supports\b.*)\s*+\Z", re.IGNORECASE)
NEVER_HIDDEN: Final = frozenset(["html", "body"])
"""Elements that pages hide until a script has run."""


class HidingRules:
    """The rules of a page's style sheets that hide elements by tag, class and id."""

    def __init__(self, sheets: Iterable[str]) -> None:
        self._rules: dict[str, dict[tuple[str, frozenset[str]], bool]] = {}  # by one of the names in the selector
        for selector, body in _rules("\n".join(sheets)[:MAX_STYLES]):
            hides = bool(INLINE.search(body))
            if hides or SHOWN.search(body):
                self._note(selector, hides)

    def hide(self, tag: str, attributes: dict[str, str]) -> bool:
        """Whether a browser hides the element."""
        if tag in NEVER_HIDDEN or not attributes:
            return False
        if "hidden" in attributes and attributes["hidden"].lower() != "until-found":
            return True
        style = attributes.get("style", "")
        if style and (INLINE.search(style) or SHOWN.search(style)):
            return bool(INLINE.search(style))
        classes = attributes.get("class", "").split()
        return not OFF_SCREEN.isdisjoint(classes) or self._ruled(tag, classes, attributes.get("id", ""))

    def _ruled(self, tag: str, classes: list[str], identity: str) -> bool:
        names = {f".{name}" for name in classes[:MAX_CLASSES]} | ({f"#{identity}"} if identity else set())
        hides = False
        for name in self._rules.keys() & names:
            for (rule_tag, needed), hidden in self._rules[name].items():
                if rule_tag in {"", tag} and needed <= names:
                    hides = hidden
        return hides

    def _note(self, selectors: str, hides: bool) -> None:
        for selector in selectors.split(","):
            simple = SIMPLE.match(selector.strip())
            if simple and simple[2]:
                names = frozenset(NAME.findall(simple[2]))
                rules = self._rules.setdefault(max(names), {})
                key = ((simple[1] or "").lower(), names)
                rules.pop(key, None)  # the later rule wins
                if len(rules) < MAX_RULES:
                    rules[key] = hides


def _rules(css: str) -> Iterable[tuple[str, str]]:
    """Yield selectors and declarations that apply to screens of any width."""
    blocks: list[str] = []
    body: list[str] = []
    for step in CSS_STEP.finditer(CSS_COMMENT.sub(" ", css)):
        text, mark = step[1].strip(), step[2]
        if mark == "{":
            blocks.append(text)
            body = []
            continue
        body.append(text)
        if mark == "}" and blocks:
            selector = blocks.pop()
            if (
                not selector.startswith("@")
                and len(blocks) <= MAX_NESTING
                and all(SCREEN.match(outer) for outer in blocks)
            ):
                yield selector, ";".join(body)
            body = []
