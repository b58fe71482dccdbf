"""A page's source before it is parsed: removes scripts, styles and what browsers with scripts never show.

A browser that runs scripts reads ``<noscript>`` as raw text to its end tag, whatever is left open inside it, so this
must happen before any tree is built. Linear in the length of the page.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

RAW: Final = frozenset(
    ["script", "style", "title", "textarea", "xmp", "iframe", "noembed", "noscript", "noframes", "plaintext"]
)
"""Elements whose content has no tags for a browser that runs scripts."""

KEPT: Final = frozenset(["title", "xmp", "plaintext"])
"""Raw elements that stay in the page."""

CODE: Final = frozenset(["script", "style"])
CONTENT: Final = re.compile(r"<(?:body|main|article|section|div|table|h[1-6]|p)(?=[\s>])", re.IGNORECASE)
SHOWN_WITHOUT_SCRIPTS: Final = frozenset(["noscript", "noframes"])

# Attributes are skipped as browsers do: a quotation mark counts only after an equals sign. Nothing is tried twice.
ATTRIBUTES: Final = r"(?:[^>=]++|=\s*+(?:\"[^\"]*+(?:\"|\Z)|'[^']*+(?:'|\Z))?+)*+(?:>|\Z)"
NAMES: Final = "|".join(sorted(RAW))
SPECIAL: Final = re.compile(rf"<(?:(!--)|({NAMES})(?=[\s/>])({ATTRIBUTES}))", re.IGNORECASE)
ORDINARY: Final = re.compile(rf"(?:[^<]++|<(?!!--|(?:{NAMES})[\s/>])(?:[a-z][^\s/>]*+{ATTRIBUTES})?+)*+", re.IGNORECASE)
ENDS: Final = {name: re.compile(rf"</{name}(?=[\s/>])[^>]*+>?", re.IGNORECASE) for name in RAW}
ENDS["!--"] = re.compile(r"--!?>")
STRUCTURED: Final = re.compile(r"type\s*+=\s*+[\"']?application/ld\+json", re.IGNORECASE)


@dataclass
class Source:
    """The page without its raw elements, and the contents of those that may be needed."""

    page: str
    styles: list[str] = field(default_factory=list)
    structured: list[str] = field(default_factory=list)
    """JSON-LD: the page's metadata for search engines."""
    unscripted: list[str] = field(default_factory=list)
    """HTML that is shown only where scripts or frames are not."""


def split(source: str) -> Source:
    """Take the raw elements out of a page; of one that is never closed, only the tag is removed."""
    pieces: list[str] = []
    result = Source("")
    unclosed: set[str] = set()
    position = 0
    while position < len(source):
        ordinary = ORDINARY.match(source, position)
        end = ordinary.end() if ordinary else position
        pieces.append(source[position:end])
        special = SPECIAL.match(source, end)
        if special:
            position = _after(source, special, result, pieces, unclosed)
        else:
            position = end + 1
            pieces.append(source[end:position])
    result.page = "".join(pieces)
    return result


def _after(source: str, special: re.Match[str], result: Source, pieces: list[str], unclosed: set[str]) -> int:
    """Return the position at which the page goes on after a comment or a raw element."""
    name = "!--" if special[1] else special[2].lower()
    begin = special.start() + 2 if special[1] else special.end()  # "<!-->" is a whole comment
    end = None if name in unclosed else ENDS[name].search(source, begin)
    if end is None:
        unclosed.add(name)
        return _after_code(source, special.end()) if name in CODE else special.end()
    if name in KEPT:
        pieces.append(source[special.start() : end.end()])
    else:
        _keep(name, special[3] or "", source[begin : end.start()], result)
        pieces.append(" " if name in {"textarea", "iframe"} else "")
    return end.end()


def _after_code(source: str, position: int) -> int:
    """Return the position of the first tag of content after code that is never closed; the end without one."""
    match = CONTENT.search(source, position)
    return match.start() if match else len(source)


def _keep(name: str, attributes: str, content: str, result: Source) -> None:
    if name == "style":
        result.styles.append(content)
    elif name == "script" and STRUCTURED.search(attributes):
        result.structured.append(content)
    elif name in SHOWN_WITHOUT_SCRIPTS:
        result.unscripted.append(content)
