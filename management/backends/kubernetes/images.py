"""Which images may be deployed on a cluster."""

from __future__ import annotations

from fnmatch import fnmatchcase

from typing_extensions import override

from management.backends.kubernetes.settings import KubernetesSettings
from management.backends.launcher import ImageRefused, Images


class RegistryImages(Images):
    """Images that the nodes pull. A cluster knows of an image only by running it: its name alone is checked before."""

    def __init__(self, settings: KubernetesSettings) -> None:
        self._allowed = [pattern.strip() for pattern in settings.images.split(",") if pattern.strip()]

    @override
    async def check(self, image: str) -> None:
        if not any(fnmatchcase(image, pattern) for pattern in self._allowed):
            raise ImageRefused("image_elsewhere", expected=", ".join(self._allowed) or "-")
