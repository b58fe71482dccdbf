"""Which images of a Docker Engine may be deployed."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any, Final

from typing_extensions import override

from management.backends.base import ImageRefused, Images
from management.backends.docker.client import DockerEngine
from management.settings import Settings

BENTO_PATH: Final = "BENTO_PATH"
"""The variable by which an image of BentoML says where its Bento lies."""
LABEL: Final = "atelier.model_type"
ROOTS: Final = ("", "root")


class DockerImages(Images):
    """What the engine has, or may pull."""

    def __init__(self, engine: DockerEngine, settings: Settings) -> None:
        self._engine, self._pull = engine, settings.docker_pull == "missing"
        self._allowed = [one.strip() for one in settings.docker_images.split(",") if one.strip()]

    @override
    async def check(self, image: str) -> None:
        """An image that is not pulled yet is checked after the pull."""
        if not any(fnmatchcase(image, one) for one in self._allowed):
            raise ImageRefused("image_elsewhere", expected=", ".join(self._allowed) or "-")
        found = await self._engine.image(image)
        if found is None and not self._pull:
            raise ImageRefused("image_absent")
        if found is not None and (kind := unfit(found)):
            raise ImageRefused(kind)

    async def model_type(self, image: str) -> str | None:
        """The image's label, which comes from its Bento's."""
        found = await self._engine.image(image)
        labels = ((found or {}).get("Config") or {}).get("Labels") or {}
        return labels.get(LABEL) or None


UNFIT: Final = {"image_foreign": "was not built by BentoML", "image_root": "runs as root, which is not allowed"}
"""What replicas' logs and reasons say of an image that is found unfit after its deployment."""


def unfit(image: dict[str, Any]) -> str | None:
    """Why an image cannot be deployed, as a kind of problem; ``image`` is what the engine knows of it."""
    config = image.get("Config") or {}
    if bento_path(image) is None:
        return "image_foreign"
    return "image_root" if _is_root(str(config.get("User") or "").split(":")[0]) else None


def bento_path(image: dict[str, Any]) -> str | None:
    """Where an image's Bento lies in it; None for one that BentoML did not make."""
    variables = (one.partition("=") for one in (image.get("Config") or {}).get("Env") or ())
    return next((value for name, _, value in variables if name == BENTO_PATH and value), None)


def _is_root(user: str) -> bool:
    """By its name, or its number however that is written; another name of root is found by the replica itself."""
    try:
        return int(user) == 0
    except ValueError:
        return user in ROOTS
