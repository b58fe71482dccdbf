"""The Docker Engine of this machine: its calls as the launcher needs them, by the ``docker`` library.

Every call has a deadline and runs in a thread; what waits does so in other threads than what looks. Neither an engine
that hangs nor a container that does not end keeps anybody else waiting. What the library and ``requests`` raise is
translated here, once:

    the engine does not answer, or not in time      BackendUnavailable
    there is no such container or image             NotThereError
    anything else that the engine refuses           EngineRefusedError
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import docker
import docker.errors
import requests

from management.errors import BackendUnavailable

CALL_SECONDS: Final = 10
"""That the engine has for an answer, beyond what it was asked to wait for."""
PING_SECONDS: Final = 1.0
THREADS: Final = 16
PULLS: Final = 4
"""Images that are pulled at a time."""
PULL_SECONDS: Final = 3600
AWAY: Final = (502, 503, 504)
"""What an engine answers that is just going, or coming."""
OLDEST_API: Final = "1.41"
"""In which the engine is asked for the newest that it speaks; that of Docker 20.10."""
LONGEST_REFUSAL: Final = 300
SILENCE_SECONDS: Final = 60
"""Between two signs of an image that is being pulled."""

logger = logging.getLogger(__name__)

T = TypeVar("T")


class DockerRefused(Exception):
    """The engine answered that it will not, or cannot; the text is its own."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(" ".join(text.split())[:LONGEST_REFUSAL])
        self.status = status


class DockerNotFound(DockerRefused):
    """No container, image or network has that name."""


def _unavailable() -> BackendUnavailable:
    return BackendUnavailable({"backend": "docker", "reason": "the Docker Engine does not answer"}, retry_after=5)


class DockerEngine:
    """One engine, behind its unix socket; connected to when it is first asked, and again after it was away."""

    def __init__(self, socket: Path) -> None:
        self._url = f"unix://{socket.absolute()}"
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="docker")
        self._patient = ThreadPoolExecutor(THREADS, thread_name_prefix="docker-patient")
        self._pulling = ThreadPoolExecutor(PULLS, thread_name_prefix="docker-pull")
        self._connecting = threading.Lock()
        self._client: Any = None
        self._making = asyncio.Lock()
        self._ping: asyncio.Task[bool] | None = None
        self._ping_until = 0.0
        self._closed = threading.Event()

    async def answers(self) -> bool:
        """Whether it is there; who asks while it is being asked gets the same answer."""
        at = asyncio.get_running_loop().time()
        if self._ping is None or (self._ping.done() and at >= self._ping_until):
            self._ping, self._ping_until = asyncio.create_task(self._answered()), at + PING_SECONDS
        try:
            return await asyncio.wait_for(asyncio.shield(self._ping), PING_SECONDS)
        except TimeoutError:
            return False

    async def _answered(self) -> bool:
        try:
            await self.call(lambda client: client.ping())
        except (BackendUnavailable, DockerRefused):
            return False
        return True

    async def call(self, work: Callable[[Any], T]) -> T:
        """What ``work`` makes of the low-level client. Raises as the module says."""
        return await self._run(self._pool, work)

    async def call_patiently(self, work: Callable[[Any], T]) -> T:
        """The same for what waits for a container: it takes nobody else's place."""
        return await self._run(self._patient, work)

    async def _run(self, pool: ThreadPoolExecutor, work: Callable[[Any], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(pool, partial(self._call, work))

    def _call(self, work: Callable[[Any], T]) -> T:
        try:
            return work(self._connected())
        except docker.errors.NotFound as error:
            raise DockerNotFound(error.explanation or "not found", 404) from error
        except docker.errors.APIError as error:
            status = error.status_code or 500
            if status in AWAY:
                raise _unavailable() from error
            raise DockerRefused(error.explanation or "no reason given", status) from error
        except (docker.errors.DockerException, requests.RequestException, OSError) as error:
            logger.debug("the Docker Engine does not answer", exc_info=error)
            raise _unavailable() from error

    def _connected(self) -> Any:
        with self._connecting:
            if self._client is None:
                with closing(self._speaking(OLDEST_API)) as first:
                    spoken = first.version(api_version=False)["ApiVersion"]
                self._client = self._speaking(spoken)
            return self._client

    def _speaking(self, version: str, seconds: int = CALL_SECONDS) -> Any:
        """A client; not by ``version="auto"``, which leaves its connection open where it finds no engine."""
        return docker.APIClient(base_url=self._url, version=version, timeout=seconds)

    async def close(self) -> None:
        """Ends its connections, and waits for no call that hangs: each has a deadline."""
        self._closed.set()
        for pool in (self._pool, self._patient, self._pulling):
            pool.shutdown(wait=False, cancel_futures=True)
        if self._client is not None:
            self._client.close()

    async def inspect(self, name: str) -> dict[str, Any] | None:
        """What is known of a container; None where there is none of that name."""
        try:
            found: dict[str, Any] = await self.call(lambda client: client.inspect_container(name))
        except DockerNotFound:
            return None
        return found

    async def image(self, name: str) -> dict[str, Any] | None:
        """What is known of an image of this engine; None where it has none of that name."""
        try:
            found: dict[str, Any] = await self.call(lambda client: client.inspect_image(name))
        except DockerNotFound:
            return None
        except DockerRefused as error:
            if error.status == 400:  # it is no name of an image at all
                return None
            raise
        return found

    async def pull(self, name: str) -> None:
        """Fetches an image from the registry that its name says."""
        deadline = time.monotonic() + PULL_SECONDS

        def work(client: Any) -> None:
            repository, _, tag = name.rpartition(":")
            with closing(self._speaking(client.api_version, SILENCE_SECONDS)) as patient:
                for told in patient.pull(repository, tag=tag, stream=True, decode=True):
                    if "error" in told:
                        raise DockerRefused(str(told["error"]), 404)
                    if self._closed.is_set() or time.monotonic() > deadline:
                        raise DockerRefused("it takes too long", 408)  # the engine ends it with the connection

        await self._run(self._pulling, work)

    async def cores(self) -> int:
        """Of the machine that the engine runs on."""
        return int((await self.call(lambda client: client.info()))["NCPU"])

    async def make_network(self, name: str) -> None:
        """A bridge on which containers do not reach each other, unless there is a network of that name."""
        async with self._making:  # the engine would make two
            await self._make_network(name)

    async def _make_network(self, name: str) -> None:

        def work(client: Any) -> None:
            if not any(one["Name"] == name for one in client.networks(names=[name])):
                apart = {"com.docker.network.bridge.enable_icc": "false"}
                client.create_network(name, driver="bridge", options=apart, labels={"atelier.network": name})

        await self.call(work)
