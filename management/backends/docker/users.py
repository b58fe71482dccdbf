"""The user of an image, by number, read without running anything of the image."""

from __future__ import annotations

import asyncio
from typing import Any

from management.backends.docker.bento_reader import reading
from management.backends.docker.client import DockerEngine
from management.backends.docker.secret_file import file_of, user_id


class ImageUsers:
    """Reads the users of images, each once."""

    def __init__(self, engine: DockerEngine) -> None:
        self._engine = engine
        self._known: dict[str, int | None] = {}
        self._lock = asyncio.Lock()

    async def number(self, image: dict[str, Any]) -> int | None:
        """Return the number of the user of an image; None for a user that its ``/etc/passwd`` does not have.

        ``image`` is the engine's description. Raises BackendUnavailable and DockerRefused.
        """
        user, key = str((image.get("Config") or {}).get("User") or ""), str(image["Id"])
        if user.partition(":")[0].isdecimal():
            return user_id(user, b"")
        async with self._lock:
            if key not in self._known:
                passwd = await self._engine.call_patiently(lambda client: _passwd(client, key))
                self._known[key] = user_id(user, passwd)
            return self._known[key]


def _passwd(client: Any, image_id: str) -> bytes:
    with reading(client, image_id) as container:
        return file_of(client, container, "/etc/passwd")
