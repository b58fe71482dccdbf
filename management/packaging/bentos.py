"""The Bentos of this machine's store, and how an image's name leads to one of them."""

from __future__ import annotations

import asyncio
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml  # type: ignore[import-untyped]

from management.backends.base import ImageRefusedError, Images

LONGEST_IMAGE: Final = 255
MODEL_TYPE: Final = "model_type"
"""The label by which a Bento says what type of model it has."""
_Loader: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # a Bento's file lists every package
_COMPONENT: Final = r"[a-z0-9]+(?:[._-][a-z0-9]+)*"
_IMAGE: Final = re.compile(
    rf"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{{0,126}})(?::[0-9]{{1,5}})?/)?(?:{_COMPONENT}/)*({_COMPONENT}):([A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})\Z",
    re.ASCII,
)
"""Linear in time: every separator stands between two characters that are none."""


@dataclass(frozen=True)
class Tag:
    """A Bento's name and exact version."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name}:{self.version}"


def tag_of(image: str) -> Tag:
    """The Bento that an image's name leads to: its last part. Raises ValueError without an exact version.

    ``atelier/tcm-diagnosis:2.0.0`` is the Bento ``tcm-diagnosis:2.0.0``.
    """
    match = _IMAGE.match(image) if len(image) <= LONGEST_IMAGE else None
    if match is None or match[2] == "latest":
        raise ValueError("no image name with an exact version")
    return Tag(match[1], match[2].lower())


class BentoStore(Images):
    """What lies in ``bentos/`` of a BentoML home, read without BentoML."""

    def __init__(self, bentoml_home: Path) -> None:
        self._folder = bentoml_home / "bentos"

    async def check(self, image: str) -> None:
        """An image is a name of a Bento here, which must be in the store."""
        tag = tag_of(image)
        if not self.has(tag):
            found = ", ".join(map(str, self.all())) or "-"
            command = await asyncio.to_thread(self._command, tag)
            raise ImageRefusedError("bento", wanted=str(tag), found=found, command=command)

    def _command(self, tag: Tag) -> str:
        """The command that builds a Bento of this project, or one of the caller's own."""
        from management.packaging.build import BuildError, recipes

        try:
            ours = {one.name for one in recipes()}
        except BuildError:
            ours = set()
        if tag.name in ours:
            return f".venv/bin/atelier build {tag.name} --version {tag.version}"
        bentoml = Path(sys.executable).with_name("bentoml")
        return (
            f"cd FOLDER_OF_ITS_BENTOFILE && BENTOML_HOME={self._folder.parent} {bentoml} build --version {tag.version}"
        )

    async def model_type(self, image: str) -> str | None:
        """The Bento's label ``model_type``."""
        return await asyncio.to_thread(self._label, tag_of(image), MODEL_TYPE)

    def _label(self, tag: Tag, name: str) -> str | None:
        try:
            text = (self._folder / tag.name / tag.version / "bento.yaml").read_text(encoding="utf-8")
            labels = yaml.load(text, Loader=_Loader).get("labels") or {}  # noqa: S506 - it is the safe one
        except (OSError, UnicodeDecodeError, AttributeError, yaml.YAMLError):
            return None
        value = labels.get(name) if isinstance(labels, dict) else None
        return value if isinstance(value, str) else None

    def has(self, tag: Tag) -> bool:
        """Whether this exact version is there, complete, and ours to read."""
        try:
            return (self._folder / tag.name / tag.version / "bento.yaml").is_file()
        except PermissionError:
            return False

    def all(self) -> list[Tag]:
        """All Bentos, by name and version."""
        found = self._folder.glob("*/*/bento.yaml")
        return sorted((Tag(one.parent.parent.name, one.parent.name) for one in found), key=str)
