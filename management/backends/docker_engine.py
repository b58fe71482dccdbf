"""The Docker Engine of this machine: its calls as the launcher needs them, by the ``docker`` library.

Every call has a deadline and a thread of its own, so that an engine which hangs keeps nobody else waiting. What the
library and ``requests`` raise is translated here, once:

    the engine does not answer, or not in time      BackendUnavailable
    there is no such container or image             NotThereError
    anything else that the engine refuses           EngineRefusedError
"""

from __future__ import annotations

import asyncio
import logging
import threading
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
OLDEST_API: Final = "1.41"
"""In which the engine is asked for the newest that it speaks; that of Docker 20.10."""
LONGEST_REFUSAL: Final = 300
SILENCE_SECONDS: Final = 60
"""Between two signs of an image that is being pulled."""

logger = logging.getLogger(__name__)

T = TypeVar("T")


class EngineRefusedError(Exception):
    """The engine answered that it will not, or cannot; the text is its own."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(" ".join(text.split())[:LONGEST_REFUSAL])
        self.status = status


class NotThereError(EngineRefusedError):
    """No container, image or network has that name."""


class DockerEngine:
    """One engine, behind its unix socket; connected to when it is first asked, and again after it was away."""

    def __init__(self, socket: Path) -> None:
        self._url = f"unix://{socket.absolute()}"
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="docker")
        self._connecting = threading.Lock()
        self._client: Any = None
        self._making = asyncio.Lock()
        self._ping: asyncio.Task[bool] | None = None
        self._closed = threading.Event()

    async def answers(self) -> bool:
        """Whether it is there; who asks while it is being asked gets the same answer."""
        if self._ping is None or self._ping.done():
            self._ping = asyncio.create_task(self._answered())
        try:
            return await asyncio.wait_for(asyncio.shield(self._ping), PING_SECONDS)
        except TimeoutError:
            return False

    async def _answered(self) -> bool:
        try:
            await self.call(lambda client: client.ping())
        except (BackendUnavailable, EngineRefusedError):
            return False
        return True

    async def call(self, work: Callable[[Any], T]) -> T:
        """What ``work`` makes of the low-level client. Raises as the module says."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, partial(self._call, work))

    def _call(self, work: Callable[[Any], T]) -> T:
        try:
            return work(self._connected())
        except docker.errors.NotFound as error:
            raise NotThereError(error.explanation or "not found", 404) from error
        except docker.errors.APIError as error:
            raise EngineRefusedError(error.explanation or "no reason given", error.status_code or 500) from error
        except (docker.errors.DockerException, requests.RequestException, OSError) as error:
            logger.debug("the Docker Engine does not answer", exc_info=error)
            raise BackendUnavailable(
                {"backend": "docker", "reason": "the Docker Engine does not answer"}, retry_after=5
            ) from error

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
        """Ends its connections, when the calls under way have ended."""
        self._closed.set()
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        if self._client is not None:
            self._client.close()

    async def inspect(self, name: str) -> dict[str, Any] | None:
        """What is known of a container; None where there is none of that name."""
        try:
            found: dict[str, Any] = await self.call(lambda client: client.inspect_container(name))
        except NotThereError:
            return None
        return found

    async def image(self, name: str) -> dict[str, Any] | None:
        """What is known of an image of this engine; None where it has none of that name."""
        try:
            found: dict[str, Any] = await self.call(lambda client: client.inspect_image(name))
        except NotThereError:
            return None
        return found

    async def pull(self, name: str) -> None:
        """Fetches an image from the registry that its name says."""

        def work(client: Any) -> None:
            repository, _, tag = name.rpartition(":")
            with closing(self._speaking(client.api_version, SILENCE_SECONDS)) as patient:
                for told in patient.pull(repository, tag=tag, stream=True, decode=True):
                    if "error" in told:
                        raise EngineRefusedError(str(told["error"]), 404)
                    if self._closed.is_set():  # the engine gives it up with the connection
                        return

        await self.call(work)

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
