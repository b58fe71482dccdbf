"""Connections to one replica, whatever runs behind its address."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final

import aiohttp
from yarl import URL

from management.gateway import contract
from management.gateway.call import Call, Handshake, Headers
from management.gateway.contract import Item, Result
from management.gateway.replica_answer import ReplicaAnswer, ReplicaSocket
from management.gateway.replica_errors import NotConnected, ReplicaFailed, translated
from management.sockets import SocketPath
from web.tracing.context import passed_on

LIVENESS_PATH: Final = "/livez"
LIVENESS_TIMEOUT_SECONDS: Final = 1.0
"""Seconds to wait for a sign of life. A replica that gives none may still be at work."""
KEEP_ALIVE_SECONDS: Final = 30
"""Seconds an idle connection is kept; the replica keeps it for longer."""
CLOSE_POLL_SECONDS: Final = 0.2
"""Seconds between two checks whether the calls in flight are answered."""
MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024
"""Maximum size of a websocket's message in bytes, as in uvicorn."""
MAX_HEADER_BYTES: Final = 64 * 1024
"""Bytes of an answer's longest header."""
NOT_OURS: Final = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
"""Headers that aiohttp would add to a request that has none."""
CONTROL: Final = re.compile(rb"[\0-\x08\x0a-\x1f\x7f]")
"""Characters that no header's value has."""


class ReplicaClient:
    """Connections to one replica."""

    def __init__(self, address: str, headers: Callable[[], Mapping[str, str]] = dict, *, revision: int = 0) -> None:
        """``headers`` are sent to this address with each request, and nowhere else: no redirect is followed."""
        path = address.removeprefix("unix:")
        unix = path != address
        self._socket = SocketPath(path if unix else "")
        connector = (
            aiohttp.UnixConnector(self._socket.path, limit=0, keepalive_timeout=KEEP_ALIVE_SECONDS)
            if unix
            else aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_SECONDS)
        )
        self._url = "http://replica" if unix else address
        # The deadline is the caller's: the gateway cancels. No cookies and no proxies.
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=2.0),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=NOT_OURS,
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
        )
        # aiohttp would send a GET, PUT or DELETE again by itself; what may be repeated is for the gateway to decide.
        self._session._retry_connection = False
        self._headers = headers
        self._in_flight = 0
        self.revision = revision
        """The number of the revision that the replica runs."""

    async def infer(self, items: Sequence[Item], request_id: str) -> list[Result]:
        """Returns a result for each item, in order. Raises ReplicaError."""
        standard = {"Content-Type": "application/json", "Accept-Encoding": "identity", "X-Request-ID": request_id}
        headers = {**self._headers(), **standard, **dict(passed_on(()))}
        body = await contract.request_of(items)
        with self._busy(), translated():
            async with self._session.post(
                self._url + contract.INFER_PATH, data=body, headers=headers, allow_redirects=False
            ) as answer:
                return await contract.results_of(answer.status, await contract.read(answer), len(items))

    async def open(self, call: Call) -> ReplicaAnswer:
        """Sends the call, and returns its answer once its headers are there, and its body, too, if it is small.

        Raises ReplicaError.
        """
        url = self._at(call.target)
        headers = self._with_own(call.headers)
        with ExitStack() as busy:
            busy.enter_context(self._busy())
            with translated():
                response = await self._session.request(
                    call.method, url, data=call.body or None, headers=headers, allow_redirects=False
                )
            if not _may_be_passed_on(response):
                response.close()
                raise ReplicaFailed("the answer is not one that callers may be sent")
            answer = ReplicaAnswer(response, busy.pop_all().close)
        try:
            await answer.read_small()
        except BaseException:
            answer.close()
            raise
        return answer

    async def connect(self, handshake: Handshake) -> ReplicaSocket:
        """Opens a websocket. Raises HandshakeRefused and other kinds of ReplicaError."""
        url = self._at(handshake.target)
        headers = self._with_own(handshake.headers)
        with ExitStack() as busy:
            busy.enter_context(self._busy())
            with translated():
                socket = await self._session.ws_connect(
                    url, headers=headers, protocols=handshake.protocols, max_msg_size=MAX_MESSAGE_BYTES
                )
            return ReplicaSocket(socket, busy.pop_all().close)

    def _at(self, target: str) -> URL:
        """The URL of a target. Raises ReplicaFailed for one that is no path: it could name another server."""
        if not target.startswith("/"):
            raise ReplicaFailed("the target is not a path")
        return URL(self._url + target, encoded=True)

    def _with_own(self, headers: Headers) -> list[tuple[str, str]]:
        return [*passed_on(headers), *self._headers().items()]

    @contextmanager
    def _busy(self) -> Iterator[None]:
        """Counts a call as in flight."""
        self._in_flight += 1
        try:
            yield
        finally:
            self._in_flight -= 1

    async def check_alive(self) -> None:
        """Raises NotConnected where nothing listens. A replica that answers anything, or is slow, is alive."""
        try:
            async with (
                asyncio.timeout(LIVENESS_TIMEOUT_SECONDS),
                self._session.get(self._url + LIVENESS_PATH, headers=self._headers(), allow_redirects=False),
            ):
                pass
        except (TimeoutError, aiohttp.ClientResponseError):
            pass
        except (aiohttp.ClientError, OSError) as error:
            raise NotConnected(type(error).__name__) from error

    async def close_when_idle(self) -> None:
        """Closes the connections when the calls in flight are answered; each has a deadline of its own."""
        try:
            while self._in_flight:  # noqa: ASYNC110 - once for each replica that ends
                await asyncio.sleep(CLOSE_POLL_SECONDS)
        finally:
            await self.close()

    async def close(self) -> None:
        """Closes the connections, also those of calls in flight."""
        await self._session.close()
        self._socket.close()


def _may_be_passed_on(response: aiohttp.ClientResponse) -> bool:
    """Return whether the answer is a final one: after status 101, nothing that follows would be HTTP."""
    return 200 <= response.status <= 599 and not any(CONTROL.search(value) for _, value in response.raw_headers)
