"""The API's messages and errors in Chinese, French and English: which language a request gets, and its text.

The texts are data in ``locales/*.toml``; codes never change. Chinese is the default, as in the document that this API
mirrors, unless ATELIER_LANGUAGE says otherwise; a request's Accept-Language comes first.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final, Literal

Language = Literal["zh", "fr", "en"]
DEFAULT: Final[Language] = "zh"
FOREIGN: Final[Language] = "en"
"""Language for callers that accept only languages other than these three."""
_LANGUAGES: Final[Mapping[str, Language]] = {"zh": "zh", "fr": "fr", "en": "en"}
_REFUSED: Final = re.compile(r"\s*q\s*=\s*0(\.0{0,3})?\s*\Z", re.ASCII)
_TAG: Final = re.compile(r"[a-z]{1,8}(-[a-z0-9]{1,8}){0,8}\Z", re.ASCII)
MAX_ACCEPTED: Final = 20
"""Entries of an Accept-Language header that are read; the rest is ignored."""

Texts = Mapping[Language, str]
"""One text in every language."""

Catalogue = Mapping[str, Texts]
"""The texts of one section of ``locales/*.toml``, by key."""

_FOLDER: Final = Path(__file__).parent / "locales"


def _load() -> dict[str, dict[str, dict[Language, str]]]:
    """Read every language file: its texts by section, key and language."""
    sections: dict[str, dict[str, dict[Language, str]]] = {}
    for language in _LANGUAGES.values():
        content = tomllib.loads((_FOLDER / f"{language}.toml").read_text(encoding="utf-8"))
        for section, texts in content.items():
            for key, message in texts.items():
                sections.setdefault(section, {}).setdefault(key, {})[language] = message
    return sections


_sections: Final = _load()
ERRORS: Final[Catalogue] = _sections["errors"]
"""Texts of errors, by error code or by the ``wording`` of an error class that is more specific than its code."""
DONE: Final[Catalogue] = _sections["done"]
"""Answers to a change of a deployment, while it is under way and once it is done."""
STATES: Final[Catalogue] = _sections["states"]
"""Messages in the status of a deployment about its replicas."""
PROBLEMS: Final[Catalogue] = _sections["problems"]
"""Problems with a field, by the code of the problem. Each text continues a sentence that begins with the field."""


def language_of(accept: str | None, default: Language = DEFAULT) -> Language:
    """The language that an Accept-Language header prefers (RFC 9110, 12.5.4) among the three.

    ``default`` applies where the header is missing, names no language or accepts any. A caller that asks only for other
    languages gets English.
    """
    best, choice = 0.0, default
    refused: set[Language | None] = set()
    for entry in (accept or "").split(",")[:MAX_ACCEPTED]:
        tag, _, weight = entry.strip().lower().partition(";")
        quality = _quality(weight)
        supported = _supported(tag.strip(), default)
        if _REFUSED.match(weight):
            refused.add(_LANGUAGES.get(tag.strip().partition("-")[0]))
        elif supported is not None and quality > best:
            best, choice = quality, supported
        elif not best and quality and _TAG.match(tag.strip()):
            choice = FOREIGN
    return choice if choice not in refused else _other(refused, default)


def text(texts: Catalogue, key: str, language: Language, **values: object) -> str:
    """The text under ``key``, with its placeholders filled in."""
    template = texts[key][language]
    return template.format(**values) if values else template


def problem(field: str, kind: str, language: Language, **values: object) -> dict[str, str]:
    """An entry of an error's ``details["problems"]``: the field, the code of its problem, and the message."""
    return {"field": field, "problem": kind, "message": text(PROBLEMS, kind, language, **values)}


def _other(refused: Collection[Language | None], default: Language) -> Language:
    """A language that the caller does not refuse; the default where the caller refuses all three."""
    candidates = (FOREIGN, default, *_LANGUAGES.values())
    return next((language for language in candidates if language not in refused), default)


def _supported(tag: str, default: Language) -> Language | None:
    primary = tag.partition("-")[0]
    return default if tag == "*" else _LANGUAGES.get(primary)


def _quality(weight: str) -> float:
    name, _, value = weight.strip().partition("=")
    if not weight:
        return 1.0
    try:
        quality = float(value) if name.strip() == "q" else 0.0
    except ValueError:
        return 0.0
    return min(1.0, quality) if quality > 0 else 0.0  # NaN is not above 0
