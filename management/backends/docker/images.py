"""Which images of a Docker Engine may be deployed."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any, Final

from typing_extensions import override

from management.backends.docker.bento_reader import BentoReader
from management.backends.docker.builder import ImageBuilder
from management.backends.docker.client import DockerEngine
from management.backends.docker.settings import EngineSettings
from management.backends.launcher import ImageRefused, Images, Launch, LaunchRefused
from management.domain.bento import Bento

BENTO_PATH: Final = "BENTO_PATH"
"""Environment variable in which an image of BentoML has the path of its Bento."""
MODEL_TYPE_LABEL: Final = "atelier.model_type"
"""Label of an image with its type of model."""
ROOT_NAMES: Final = ("", "root")
"""Values of an image's USER, beside numbers, that mean root."""


class DockerImages(Images):
    """Images that the engine has or may pull, or that can be made of a Bento in the store."""

    def __init__(self, engine: DockerEngine, settings: EngineSettings, builder: ImageBuilder | None = None) -> None:
        """Without a builder, an image has to be in the engine, or to be pulled."""
        self._engine, self._pull, self._builder = engine, settings.pull == "missing", builder
        self._reader = BentoReader(engine)
        self._allowed = [pattern.strip() for pattern in settings.images.split(",") if pattern.strip()]

    @override
    async def check(self, image: str) -> None:
        """Check an image that the engine has; one that is not pulled yet is checked after the pull."""
        if not any(fnmatchcase(image, pattern) for pattern in self._allowed):
            raise ImageRefused("image_elsewhere", expected=", ".join(self._allowed) or "-")
        description = await self._engine.image(image)
        if description is None and not self._pull and await self._made_of(image) is None:
            raise ImageRefused("image_absent")
        if description is not None and (kind := unfit(description)):
            raise ImageRefused(kind)

    async def model_type(self, image: str) -> str | None:
        """Return the image's label, which comes from the label of its Bento."""
        description = await self._engine.image(image)
        if description is None and (bento := await self._made_of(image)) is not None:
            return bento.labels.get("model_type")
        labels = ((description or {}).get("Config") or {}).get("Labels") or {}
        return labels.get(MODEL_TYPE_LABEL) or None

    @override
    async def describe(self, image: str) -> Bento | None:
        """Return the Bento in the image, or that it would be made of; None for others that the engine does not have."""
        description = await self._engine.image(image)
        if description is None:
            return await self._made_of(image)
        path = bento_path(description)
        return None if path is None else await self._reader.read(description["Id"], path)

    async def _made_of(self, image: str) -> Bento | None:
        """Return the Bento that the image would be made of; None where it cannot be made."""
        return None if self._builder is None else await self._builder.bento(image)


UNFIT: Final = {"image_foreign": "was not built by BentoML", "image_root": "runs as root, which is not allowed"}
"""Reason of a failed replica, by the kind of problem, for an image that was pulled after its deployment."""


def refused(launch: Launch, kind: str) -> LaunchRefused:
    """Return the error for an unfit image that the engine did not have at its deployment."""
    return LaunchRefused(f"{launch.docker_image} {UNFIT[kind]}")


def unfit(image: dict[str, Any]) -> str | None:
    """Return the kind of problem that forbids deploying an image; ``image`` is the engine's description."""
    config = image.get("Config") or {}
    if bento_path(image) is None:
        return "image_foreign"
    return "image_root" if _is_root(str(config.get("User") or "").split(":")[0]) else None


def bento_path(image: dict[str, Any]) -> str | None:
    """Return the path of the Bento in an image; None when BentoML did not build the image."""
    variables = (variable.partition("=") for variable in (image.get("Config") or {}).get("Env") or ())
    return next((value for name, _, value in variables if name == BENTO_PATH and value), None)


def _is_root(user: str) -> bool:
    """Return whether the user is root, by name or number. The replica itself refuses any other name of root."""
    try:
        return int(user) == 0
    except ValueError:
        return user in ROOT_NAMES
