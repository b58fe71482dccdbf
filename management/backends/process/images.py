"""The Bentos that may be deployed: those in this machine's store, read without BentoML."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any, Final

import yaml  # type: ignore[import-untyped]

from management.backends.launcher import ImageRefused, Images
from management.domain.bento_tag import Tag, tag_of

MODEL_TYPE: Final = "model_type"
"""Label of a Bento with its type of model."""
_Loader: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # a Bento's file lists every package


class BentoStore(Images):
    """The folder ``bentos/`` of a BentoML home, read without BentoML."""

    def __init__(self, bentoml_home: Path) -> None:
        self._folder = bentoml_home / "bentos"

    async def check(self, image: str) -> None:
        """Return if the image names a Bento in the store. Raises ImageRefused otherwise."""
        tag = tag_of(image)
        if not self.has(tag):
            existing = ", ".join(map(str, self.all())) or "-"
            command = await asyncio.to_thread(self._command, tag)
            raise ImageRefused("bento", wanted=str(tag), found=existing, command=command)

    def _command(self, tag: Tag) -> str:
        """Return the command that builds the Bento, be it one of this project or the caller's own."""
        from management.packaging.build import BuildError, recipes

        try:
            names = {recipe.name for recipe in recipes()}
        except BuildError:
            names = set()
        if tag.name in names:
            return f".venv/bin/atelier build {tag.name} --version {tag.version}"
        bentoml = Path(sys.executable).with_name("bentoml")
        return (
            f"cd FOLDER_OF_ITS_BENTOFILE && BENTOML_HOME={self._folder.parent} {bentoml} build --version {tag.version}"
        )

    async def model_type(self, image: str) -> str | None:
        """Return the Bento's label ``model_type``."""
        return await asyncio.to_thread(self._label, tag_of(image), MODEL_TYPE)

    def _label(self, tag: Tag, name: str) -> str | None:
        try:
            text = (self._folder / tag.name / tag.version / "bento.yaml").read_text(encoding="utf-8")
            labels = yaml.load(text, Loader=_Loader).get("labels") or {}  # noqa: S506 - a safe loader
        except (OSError, UnicodeDecodeError, AttributeError, yaml.YAMLError):
            return None
        value = labels.get(name) if isinstance(labels, dict) else None
        return value if isinstance(value, str) else None

    def has(self, tag: Tag) -> bool:
        """Return whether this exact version is in the store, complete and readable."""
        try:
            return (self._folder / tag.name / tag.version / "bento.yaml").is_file()
        except PermissionError:
            return False

    def all(self) -> list[Tag]:
        """Return all Bentos, sorted by name and version."""
        files = self._folder.glob("*/*/bento.yaml")
        return sorted((Tag(file.parent.parent.name, file.parent.name) for file in files), key=str)
