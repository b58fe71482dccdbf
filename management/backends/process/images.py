"""Which Bentos may be deployed: those of this machine's store, read without BentoML."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any, Final

import yaml  # type: ignore[import-untyped]

from management.backends.base import ImageRefused, Images
from management.domain.bento_tag import Tag, tag_of

MODEL_TYPE: Final = "model_type"
"""The label by which a Bento says what type of model it has."""
_Loader: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # a Bento's file lists every package


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
            raise ImageRefused("bento", wanted=str(tag), found=found, command=command)

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
