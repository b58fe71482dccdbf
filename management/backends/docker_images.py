"""Which images of a Docker Engine may be deployed."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any, Final

from management.backends.base import ImageRefusedError, Images
from management.backends.docker_engine import DockerEngine
from management.settings import Settings

BENTO_PATH: Final = "BENTO_PATH"
"""The variable by which an image of BentoML says where its Bento lies."""
ROOTS: Final = ("", "0", "root")


class DockerImages(Images):
    """What the engine has, or may pull."""

    def __init__(self, engine: DockerEngine, settings: Settings) -> None:
        self._engine, self._pull = engine, settings.docker_pull == "missing"
        self._allowed = [one.strip() for one in settings.docker_images.split(",") if one.strip()]

    async def check(self, image: str) -> None:
        """As the contract says; an image that is still to be pulled is judged when it is there."""
        if not any(fnmatchcase(image, one) for one in self._allowed):
            raise ImageRefusedError("image_elsewhere", expected=", ".join(self._allowed) or "-")
        found = await self._engine.image(image)
        if found is None and not self._pull:
            raise ImageRefusedError("image_absent")
        if found is not None and (kind := unfit(found)):
            raise ImageRefusedError(kind)


def unfit(image: dict[str, Any]) -> str | None:
    """Why an image cannot be deployed, as a kind of problem; ``image`` is what the engine knows of it."""
    config = image.get("Config") or {}
    if not any(one.startswith(f"{BENTO_PATH}=") for one in config.get("Env") or ()):
        return "image_foreign"
    return "image_root" if str(config.get("User") or "").split(":")[0] in ROOTS else None
