"""Reads the Bento in an image without running anything of the image.

A container of it is created, its files are copied out, and it is removed; it is never started.
"""

from __future__ import annotations

import asyncio
import io
import logging
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from management.backends.docker.client import DockerEngine, DockerRefused, archive_of, remove
from management.domain.bento import Bento
from management.packaging import bento_files
from management.packaging.bento_files import UnreadableBento

LABEL: Final = "atelier.reading"
"""Label of the containers that are created to read an image; its value is the Unix time of their creation."""
LEFT_SECONDS: Final = 600.0
"""Seconds after which such a container is taken for one that a killed control plane has left."""
MAX_SOURCE_BYTES: Final = 64 * 1024 * 1024
"""Bytes of a Bento's source that are looked through; what a larger one serves is not concluded from it."""
MAX_KNOWN: Final = 256
"""Images that are remembered; the oldest are forgotten first."""

logger = logging.getLogger(__name__)


class BentoReader:
    """Reads Bentos, each image once."""

    def __init__(self, engine: DockerEngine) -> None:
        self._engine = engine
        self._known: dict[str, asyncio.Task[Bento | None]] = {}

    async def read(self, image_id: str, path: str) -> Bento | None:
        """Return the Bento at that path of an image; None where its files are not those of a Bento.

        Raises BackendUnavailable.
        """
        task = self._known.get(image_id)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = self._known[image_id] = asyncio.create_task(self._read(image_id, path))
            while len(self._known) > MAX_KNOWN:
                del self._known[next(iter(self._known))]
        return await asyncio.shield(task)

    async def _read(self, image_id: str, path: str) -> Bento | None:
        try:
            return await self._engine.call_patiently(lambda client: _read(client, image_id, path))
        except (DockerRefused, UnreadableBento) as error:
            logger.warning("the Bento in image %s cannot be read: %s", image_id, error)
            return None


def _read(client: Any, image_id: str, path: str) -> Bento:
    with reading(client, image_id) as container:
        texts = {
            name: text for name in bento_files.TEXTS if (text := _text(client, container, f"{path}/{name}")) is not None
        }
        return bento_files.parse(texts, _sources(client, container, f"{path}/{bento_files.SOURCES}"))


@contextmanager
def reading(client: Any, image_id: str) -> Iterator[str]:
    """Create a container of an image to copy files out of it, and remove it afterwards; yields its id."""
    _remove_left(client)
    labels = {LABEL: str(int(time.time()))}
    container: str = client.create_container(image_id, ["true"], labels=labels, network_disabled=True)["Id"]
    try:
        yield container
    finally:
        remove(client, container)


def _remove_left(client: Any) -> None:
    """Remove what a control plane has left that was killed while it read."""
    for container in client.containers(all=True, filters={"label": LABEL}):
        if time.time() - container["Created"] > LEFT_SECONDS:
            remove(client, container["Id"])


def _text(client: Any, container: str, path: str) -> str | None:
    """Return a text file of the container; None where there is none. Raises UnreadableBento for a large one."""
    for name, content in _files(client, container, path, bento_files.MAX_FILE_BYTES):
        if content is None:
            raise UnreadableBento(f"{name} is too large")
        return content.decode(errors="replace")
    return None


def _sources(client: Any, container: str, path: str) -> list[bytes] | None:
    """Return the content of the Python files below a path; None where they are too large to be looked through."""
    found = []
    for name, content in _files(client, container, path, MAX_SOURCE_BYTES):
        if content is None:
            return None
        if name.endswith(".py"):
            found.append(content)
    return found


def _files(client: Any, container: str, path: str, most_bytes: int) -> Iterator[tuple[str, bytes | None]]:
    """Yield the names of a path's files and their content; None, at the end, once they have more bytes."""
    if (pieces := archive_of(client, container, path)) is None:
        return
    left = most_bytes
    with tarfile.open(fileobj=_Stream(pieces), mode="r|") as tar:
        for member in tar:
            left -= member.size
            if left < 0:
                yield member.name, None
                return
            if member.isfile() and (file := tar.extractfile(member)) is not None:
                yield member.name, file.read()


class _Stream(io.RawIOBase):
    """The pieces of an archive as a file."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._rest = iter(pieces), b""

    def read(self, size: int = -1) -> bytes:
        """Return so many bytes, or fewer at the end."""
        while len(self._rest) < size and (piece := next(self._pieces, None)) is not None:
            self._rest += piece
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken
