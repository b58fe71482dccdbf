"""The Bentos that may be deployed: those in this machine's store, read without BentoML."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from typing_extensions import override

from management.backends.launcher import ImageRefused, Images, LaunchRefused
from management.domain.bento import Bento
from management.domain.bento_tag import EXAMPLE, Tag, tag_of
from management.packaging.build import BentoHome, BuildError, recipes
from management.packaging.shelf import BentoShelf

MODEL_TYPE: Final = "model_type"
"""Label of a Bento with its type of model."""


class BentoStore(Images):
    """The folder ``bentos/`` of a BentoML home, read without BentoML.

    An image whose name is not that of an exact version, which earlier versions accepted, names no Bento.
    """

    def __init__(self, bentoml_home: Path, shelf: BentoShelf | None = None) -> None:
        """``shelf`` has the Bentos that may be deployed: those of the home, without another one."""
        self._shelf = shelf or BentoShelf(BentoHome(bentoml_home))

    async def check(self, image: str) -> None:
        """Return if the image names a Bento in the store. Raises ImageRefused otherwise."""
        if (tag := _tag(image)) is None:
            raise ImageRefused("image", expected=EXAMPLE)
        await self._shelf.run(self._check, tag)

    def _check(self, tag: Tag) -> None:
        if not self._shelf.has(tag):
            existing = ", ".join(map(str, self.all())) or "-"
            push = f"atelier push FOLDER_OF_ITS_BENTOFILE --version {tag.version}"
            raise ImageRefused("bento", wanted=str(tag), found=existing, command=self._command(tag), push=push)

    def _command(self, tag: Tag) -> str:
        """Return the command that builds the Bento, be it one of this project or the caller's own."""
        try:
            names = {recipe.name for recipe in recipes()}
        except BuildError:
            names = set()
        if tag.name in names:
            return f".venv/bin/atelier build {tag.name} --version {tag.version}"
        home, bentoml = self._shelf.home.home, Path(sys.executable).with_name("bentoml")
        return f"cd FOLDER_OF_ITS_BENTOFILE && BENTOML_HOME={home} {bentoml} build --version {tag.version}"

    async def model_type(self, image: str) -> str | None:
        """Return the Bento's label ``model_type``."""
        bento = await self.describe(image)
        return None if bento is None else bento.labels.get(MODEL_TYPE)

    @override
    async def describe(self, image: str) -> Bento | None:
        """Return the Bento; it is read again when its file has changed."""
        tag = _tag(image)
        return None if tag is None else await self._shelf.run(self._shelf.describe, tag)

    def folder(self, tag: Tag) -> Path:
        """Return the folder of a Bento's files."""
        return self._shelf.home.folder(tag)

    def all(self) -> list[Tag]:
        """Return all Bentos, sorted by name and version."""
        return self._shelf.tags()


def tag_to_launch(image: str) -> Tag:
    """Return the Bento in an image's name. Raises LaunchRefused for a name that earlier versions accepted."""
    if (tag := _tag(image)) is None:
        raise LaunchRefused(f"{image!r} does not name a Bento with its exact version, as {EXAMPLE} does")
    return tag


def _tag(image: str) -> Tag | None:
    """Return the Bento in an image's name; None where the name is not that of an exact version."""
    with suppress(ValueError):
        return tag_of(image)
    return None
