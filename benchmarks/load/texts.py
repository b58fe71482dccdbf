"""Texts for requests: ten sentences of news, and one million characters of news."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Final

HARBOUR: Final = Path(__file__).parents[2] / "examples" / "harbour.txt"
MAX_CHARACTERS: Final = 1_000_000

MORE: Final = (
    "The museum beside the lighthouse stays open during the works.",
    "Its director expects more visitors than in any year since 1998.",
)
TOWNS: Final = ("Brest", "Calais", "Dieppe", "Lorient", "Royan", "Saint-Malo", "Vannes", "Étretat")


def short() -> list[str]:
    """Return texts of ten sentences each that differ in a name."""
    _heading, body = HARBOUR.read_text().strip().split("\n\n", 1)
    text = " ".join([*body.split(), *MORE])
    return [text.replace("of the town", f"of {town}", 1) for town in TOWNS]


def long() -> str:
    """Return the longest text that Atelier accepts, in paragraphs."""
    texts = short()
    paragraphs = (f"In the year {1900 + number}: {texts[number % len(texts)]}" for number in count())
    parts: list[str] = []
    length = 0
    while length < MAX_CHARACTERS:
        parts.append(next(paragraphs))
        length += len(parts[-1]) + 2
    return "\n\n".join(parts)[:MAX_CHARACTERS]
