"""Tags of Bentos and of stored models: a name with an exact version; that of a Bento, an image's name determines."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

EXAMPLE: Final = "atelier/tcm-diagnosis:2.0.0"
"""An image's name."""
LONGEST_IMAGE: Final = 255
"""Characters of the longest name of an image."""
MAX_TAG_CHARACTERS: Final = 63
"""Characters of the longest name, and of the longest version, in BentoML."""
_COMPONENT: Final = r"[a-z0-9]+(?:[._-][a-z0-9]+)*"
_IMAGE: Final = re.compile(
    rf"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{{0,126}})(?::[0-9]{{1,5}})?/)?(?:{_COMPONENT}/)*({_COMPONENT}):([A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})\Z",
    re.ASCII,
)
"""Form of an image's name. It matches in linear time: every separator is between two other characters."""


class StoredKind(StrEnum):
    """What the stores of a BentoML home hold; the value is the folder of the store."""

    BENTO = "bentos"
    MODEL = "models"
    """Files of a model, in BentoML's model store."""


@dataclass(frozen=True)
class Tag:
    """The name and the exact version of a Bento, or of a stored model."""

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


def is_tag(tag: Tag) -> bool:
    """Return whether BentoML accepts the tag, and an image's name can have it; such a tag leads out of no folder."""
    try:
        return tag_of(str(tag)) == tag and max(len(tag.name), len(tag.version)) <= MAX_TAG_CHARACTERS
    except ValueError:
        return False
