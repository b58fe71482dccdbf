"""HTML to the text of the page's content."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from runners.documents.document import Document
from runners.documents.html import content
from runners.documents.html import source as markup_source
from runners.documents.html.blocks import Blocks, parse
from runners.documents.html.content import is_prose
from runners.documents.html.hiding import HidingRules

# Spaces are bounded: with any number of them before and after a quote, each would be tried in both places.
DECLARED: Final = re.compile(
    rb"<(?:meta|\?xml)\b[^>]{0,300}?(?:charset|encoding)\s{0,9}=[\s\"']{0,9}([\w.:-]{1,40})", re.IGNORECASE
)
MAX_TITLE: Final = 300
MIN_OWN_TEXT: Final = 25
"""Characters below which a page shows nothing worth reading before its scripts have run."""
MIN_SCRIPTLESS: Final = 160
"""Characters from which a page's text for browsers without scripts is more than a request to turn them on."""
SEARCH_TEXT_FACTOR: Final = 2
"""Factor by which the text for search engines must exceed the page's own to be read instead."""
DESCRIPTION: Final = re.compile(
    r"<meta\b(?=[^>]{0,500}?\b(?:name|property)\s?=\s?[\"']?(?:og:)?description\b)[^>]{0,500}?\bcontent\s?=\s?"
    r"(?:\"([^\"]{1,2000})\"|'([^']{1,2000})')",
    re.IGNORECASE,
)


def declared(data: bytes) -> str | None:
    """Return the encoding that a page declares."""
    match = DECLARED.search(data[:4096])
    return match[1].decode("ascii", "ignore") if match else None


def read(source: str) -> Document:
    """Read HTML, a whole page or a fragment; the text is empty where there is none in it."""
    parts = markup_source.split(source)
    rules = HidingRules(parts.styles)
    page = parse(parts.page, rules)
    text = content.text_of(page)
    for alternative in _others(parts, rules, page, text):
        if alternative:
            text = alternative
            break
    return Document(text, 1, title_of(page))


def spaced(text: str) -> str:
    """Collapse each run of white space to one space."""
    return " ".join(text.split())


def title_of(page: Blocks) -> str | None:
    """Return the page's title, else its first heading."""
    titles = (spaced("".join(pieces)) for pieces in page.titles.values())
    return next((title[:MAX_TITLE] for title in titles if title), None)


def _others(parts: markup_source.Source, rules: HidingRules, page: Blocks, text: str) -> Iterator[str]:
    """Yield texts to read instead of what the page shows, the best first; empty ones do not count."""
    article = _structured(parts.structured)
    yield article if len(article) > SEARCH_TEXT_FACTOR * len(text) else ""
    if any(map(is_prose, page.blocks)):
        return
    unscripted = content.text_of(parse("\n".join(parts.unscripted), rules))
    yield unscripted if len(unscripted) >= max(MIN_SCRIPTLESS, len(text)) else ""
    if len(text) < MIN_OWN_TEXT:
        hidden = content.text_of(parse(parts.page, rules, show_hidden=True))
        yield hidden if not text or len(hidden) >= MIN_SCRIPTLESS else ""
        described = DESCRIPTION.search(parts.page)
        yield _plain(described[1] or described[2]) if described and not text else ""


def _structured(scripts: Sequence[str]) -> str:
    """Return the longest text of an article in JSON-LD."""
    bodies = [body for script in scripts for body in _bodies(_loaded(script))]
    return _plain(max(bodies, key=len, default=""))


def _loaded(script: str) -> Any:
    try:
        return json.loads(script, strict=False)
    except (ValueError, RecursionError):
        return None


def _bodies(structure: Any) -> Iterator[str]:
    """Yield every ``articleBody`` and ``reviewBody`` in JSON of any depth."""
    waiting = [structure]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield from (value[name] for name in ("articleBody", "reviewBody") if isinstance(value.get(name), str))
        if isinstance(value, dict | list):
            waiting += value.values() if isinstance(value, dict) else value


def _plain(text: str) -> str:
    """Return the text of a field that may hold HTML; without tags it keeps its line ends."""
    if "<" not in text and "&" not in text:
        return text.strip()
    return content.joined(parse(text.replace("\n", "<br>"), HidingRules([])).blocks)
