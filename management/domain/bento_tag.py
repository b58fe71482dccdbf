"""Tags of Bentos: a name with an exact version, which an image's name determines."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

LONGEST_IMAGE: Final = 255
"""Characters of the longest name of an image."""
_COMPONENT: Final = r"[a-z0-9]+(?:[._-][a-z0-9]+)*"
_IMAGE: Final = re.compile(
    rf"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{{0,126}})(?::[0-9]{{1,5}})?/)?(?:{_COMPONENT}/)*({_COMPONENT}):([A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})\Z",
    re.ASCII,
)
"""Form of an image's name. It matches in linear time: every separator is between two other characters."""


@dataclass(frozen=True)
class Tag:
    """A Bento's name and exact version."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name}:{self.version}"


def tag_of(image: str) -> Tag:
    """Return the Bento in an image's name, which is its last part. Raises ValueError without an exact version.

    ``atelier/tcm-diagnosis:2.0.0`` is the Bento ``tcm-diagnosis:2.0.0``.
    """
    match = _IMAGE.match(image) if len(image) <= LONGEST_IMAGE else None
    if match is None or match[2] == "latest":
        raise ValueError("not an image name with an exact version")
    return Tag(match[1], match[2].lower())
