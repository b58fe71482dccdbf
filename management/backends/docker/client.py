"""The launcher's calls to the Docker Engine of this machine, by the ``docker`` library.

Every call has a deadline and runs in a thread. Calls that wait for a container have threads of their own. So neither an
engine that hangs nor a container that does not end delays other calls. The errors of the library and of ``requests``
are translated here, once:

    the engine does not answer, or not in time      BackendUnavailable
    there is no such container or image             DockerNotFound
    anything else that the engine refuses           DockerRefused
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import docker
import docker.errors
import requests

from management.backends.ping import Ping
from management.errors import BackendUnavailable

CALL_SECONDS: Final = 10
"""Seconds that the engine has to answer, beyond the time that it is asked to wait for a container."""
MAX_THREADS: Final = 16
"""Calls that run at the same time, and as many again that wait for containers."""
MAX_PULLS: Final = 4
"""Images that are pulled at the same time."""
PULL_SECONDS: Final = 3600
"""Seconds that pulling one image may take."""
AWAY_STATUSES: Final = (502, 503, 504)
"""HTTP statuses of an engine that is starting or stopping."""
OLDEST_API_VERSION: Final = "1.41"
"""API version of the first request, which asks for the engine's newest version; that of Docker 20.10."""
MAX_REFUSAL_CHARACTERS: Final = 300
"""Characters of the engine's error text that are kept."""
NO_ANSWER: Final = "the Docker Engine does not answer"
PULL_SILENCE_SECONDS: Final = 60
"""Seconds without progress after which pulling an image fails."""

NOT_FOUND: Final[type[Exception]] = docker.errors.NotFound
"""The library's own error where there is nothing of a name, for work on its client."""

logger = logging.getLogger(__name__)

T = TypeVar("T")


class DockerRefused(Exception):
    """The engine refused the call; the text is its own."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(" ".join(text.split())[:MAX_REFUSAL_CHARACTERS])
        self.status = status


class DockerNotFound(DockerRefused):
    """No container, image or network has that name."""


class DockerEngine:
    """One engine behind its unix socket; connected at the first call, and again after it was away."""

    backend = "docker"
    """Name of the backend in errors."""

    def __init__(self, socket: Path) -> None:
        self._url = f"unix://{socket.absolute()}"
        self._pool = ThreadPoolExecutor(MAX_THREADS, thread_name_prefix="docker")
        self._patient = ThreadPoolExecutor(MAX_THREADS, thread_name_prefix="docker-patient")
        self._pulling = ThreadPoolExecutor(MAX_PULLS, thread_name_prefix="docker-pull")
        self._connecting = threading.Lock()
        self._client: Any = None
        self._network_lock = asyncio.Lock()
        self._ping = Ping(self._ask, BackendUnavailable, DockerRefused)
        self._closed = threading.Event()

    async def answers(self) -> bool:
        """Return whether the engine answers; concurrent callers share one ping."""
        return await self._ping.answers()

    async def _ask(self) -> None:
        """Raise BackendUnavailable or DockerRefused where the engine cannot be used."""
        await self.call(lambda client: client.ping())

    async def call(self, work: Callable[[Any], T]) -> T:
        """Return the result of ``work(client)`` with the low-level client. Raises the errors in the module's table."""
        return await self._run(self._pool, work)

    async def call_patiently(self, work: Callable[[Any], T]) -> T:
        """Do the same for a call that waits for a container, in the threads for such calls."""
        return await self._run(self._patient, work)

    def ask_now(self, work: Callable[[Any], T]) -> T:
        """Do the same in this thread, before there is an event loop."""
        return self._call(work)

    async def _run(self, pool: ThreadPoolExecutor, work: Callable[[Any], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(pool, partial(self._call, work))

    def _call(self, work: Callable[[Any], T]) -> T:
        try:
            return work(self._connected())
        except docker.errors.NotFound as error:
            raise DockerNotFound(error.explanation or "not found", 404) from error
        except docker.errors.APIError as error:
            status = error.status_code or 500
            if status in AWAY_STATUSES:
                raise self.unavailable(error) from error
            raise DockerRefused(error.explanation or "no reason given", status) from error
        except (docker.errors.DockerException, requests.RequestException, OSError) as error:
            logger.debug("the Docker Engine does not answer", exc_info=error)
            raise self.unavailable(error) from error

    def unavailable(self, error: Exception) -> BackendUnavailable:
        """Return what is raised where the engine does not do its work now, after this error of the library."""
        return BackendUnavailable({"backend": self.backend, "reason": NO_ANSWER}, retry_after=5)

    def _connected(self) -> Any:
        with self._connecting:
            if self._client is None:
                with closing(self._speaking(OLDEST_API_VERSION)) as first:
                    version = first.version(api_version=False)["ApiVersion"]
                self._client = self._speaking(version)
            return self._client

    def _speaking(self, version: str, seconds: int = CALL_SECONDS) -> Any:
        """Return a client. ``version="auto"`` would leave its connection open when there is no engine."""
        return docker.APIClient(base_url=self._url, version=version, timeout=seconds)

    async def close(self) -> None:
        """Close the connections without waiting for calls that hang: each has a deadline."""
        self._closed.set()
        for pool in (self._pool, self._patient, self._pulling):
            pool.shutdown(wait=False, cancel_futures=True)
        if self._client is not None:
            self._client.close()

    async def inspect(self, name: str) -> dict[str, Any] | None:
        """Return the engine's description of a container; None when there is none of that name."""
        try:
            container: dict[str, Any] = await self.call(lambda client: client.inspect_container(name))
        except DockerNotFound:
            return None
        return container

    async def image(self, name: str) -> dict[str, Any] | None:
        """Return the engine's description of an image; None when it has none of that name."""
        try:
            image: dict[str, Any] = await self.call(lambda client: client.inspect_image(name))
        except DockerNotFound:
            return None
        except DockerRefused as error:
            if error.status == 400:  # the name is not an image name
                return None
            raise
        return image

    async def pull(self, name: str) -> None:
        """Pull an image from the registry in its name. Raises DockerRefused when that fails or takes too long."""
        deadline = time.monotonic() + PULL_SECONDS

        def work(client: Any) -> None:
            repository, _, tag = name.rpartition(":")
            with closing(self._speaking(client.api_version, PULL_SILENCE_SECONDS)) as patient:
                for progress in patient.pull(repository, tag=tag, stream=True, decode=True):
                    if "error" in progress:
                        raise DockerRefused(str(progress["error"]), 404)
                    if self._closed.is_set() or time.monotonic() > deadline:
                        raise DockerRefused("it takes too long", 408)  # the engine ends the pull with the connection

        await self._run(self._pulling, work)

    async def cores(self) -> int:
        """Return the CPU cores of the engine's machine."""
        return int((await self.call(lambda client: client.info()))["NCPU"])

    async def make_network(self, name: str) -> None:
        """Create a bridge on which containers cannot reach each other, unless the network exists."""
        async with self._network_lock:  # the engine would create two networks of one name
            await self._make_network(name)

    async def _make_network(self, name: str) -> None:
        def work(client: Any) -> None:
            if not any(network["Name"] == name for network in client.networks(names=[name])):
                isolated = {"com.docker.network.bridge.enable_icc": "false"}
                client.create_network(name, driver="bridge", options=isolated, labels={"atelier.network": name})

        await self.call(work)


def archive_of(client: Any, container: str, path: str) -> Iterator[bytes] | None:
    """Return the pieces of a tar archive of a container's path; None where it has no such path."""
    try:
        pieces: Iterator[bytes] = client.get_archive(container, path)[0]
    except docker.errors.NotFound:
        return None
    return pieces


def remove(client: Any, container: str) -> None:
    """Remove a container with its volumes, unless it is gone."""
    with suppress(NOT_FOUND):
        client.remove_container(container, force=True, v=True)
