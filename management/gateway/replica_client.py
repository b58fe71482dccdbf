"""How the gateway speaks to one replica: ``POST /infer`` of the model contract, whatever runs behind its address.

ReplicaError
├── ConnectionBroken    the replica may be gone: another one may be asked
├── ReplicaBusy         it sheds load
├── ReplicaLate         it gave the request up for lateness
├── ReplicaRefused      the request itself is at fault, in the model's own words
└── ReplicaFailed       the model broke, or answered what nobody can read
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import aiohttp

from management.faults import exhaustion
from management.sockets import SocketPath
from web import memory
from web.json import work
from web.json.strict_json import InvalidJSON

INFER: Final = "/infer"
ALIVE: Final = "/livez"
ALIVE_SECONDS: Final = 1.0
"""That are waited for a sign of life; who gives none may still be at work."""
MOST_BYTES: Final = 64 * 1024 * 1024
"""Of an answer."""
MOST_ELEMENTS: Final = 1_000_000
"""Of an answer, and of what is asked: as many as the model contract takes."""
IDLE_SECONDS: Final = 30
"""That a connection is kept without a call; the replica keeps it for longer."""
_CODE: Final = re.compile(r"[A-Z][A-Z0-9_]{0,63}\Z", re.ASCII)
LONGEST_MESSAGE: Final = 1000
CLOSE_LOOK_SECONDS: Final = 0.2

Item = dict[str, Any]
"""``{"input_data": {...}, "parameters": {...}}``"""

Result = dict[str, Any]
"""``{"output_data": {...} or None, "error": {...} or None, "confidence": number or None}``"""


class ReplicaError(Exception):
    """The root: no results."""


class ConnectionBroken(ReplicaError):
    """Not connected, or disconnected before the answer's end."""


class NotConnected(ConnectionBroken):
    """Nothing was sent: to ask another one repeats nothing."""


class ReplicaBusy(ReplicaError):
    """429 or 503."""


class ReplicaLate(ReplicaError):
    """504."""


class ReplicaRefused(ReplicaError):
    """Another 4xx, with the model's code and message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class ReplicaFailed(ReplicaError):
    """Another 5xx, or no results of the contract."""


class ReplicaClient:
    """Connections to one replica."""

    def __init__(self, address: str, headers: Callable[[], Mapping[str, str]] = dict) -> None:
        """``headers`` go to this address with each request, and nowhere else: no redirect is followed."""
        path = address.removeprefix("unix:")
        unix = path != address
        self._socket = SocketPath(path if unix else "")
        connector = (
            aiohttp.UnixConnector(self._socket.path, limit=0, keepalive_timeout=IDLE_SECONDS)
            if unix
            else aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_SECONDS)
        )
        self._url = "http://replica" if unix else address
        # The deadline is the caller's: the gateway cancels. No cookies, no proxies, none of the caller's headers.
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=2.0),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )
        self._headers = headers
        self._in_flight = 0

    async def infer(self, items: Sequence[Item], request_id: str) -> list[Result]:
        """A result for each item, in order. Raises ReplicaError."""
        own = {"Content-Type": "application/json", "Accept-Encoding": "identity", "X-Request-ID": request_id}
        headers = {**self._headers(), **own}
        body = await work.dumps({"requests": list(items)})
        self._in_flight += 1
        try:
            async with self._session.post(
                self._url + INFER, data=body, headers=headers, allow_redirects=False
            ) as answer:
                return await _results(answer.status, await _read(answer), len(items))
        except aiohttp.ClientResponseError as error:
            raise ReplicaFailed("the answer is not HTTP") from error
        except aiohttp.ClientConnectorError as error:
            if exhaustion.in_connecting(error):
                raise ReplicaBusy(503) from error  # nothing is wrong with the replica: nobody else is asked
            raise NotConnected(type(error).__name__) from error
        except (aiohttp.ClientError, OSError) as error:
            raise ConnectionBroken(type(error).__name__) from error
        finally:
            self._in_flight -= 1

    async def meet(self) -> None:
        """Raises NotConnected where nobody is. Whoever answers anything, or is slow, is there."""
        try:
            async with (
                asyncio.timeout(ALIVE_SECONDS),
                self._session.get(self._url + ALIVE, headers=self._headers(), allow_redirects=False),
            ):
                pass
        except (TimeoutError, aiohttp.ClientResponseError):
            pass
        except (aiohttp.ClientError, OSError) as error:
            raise NotConnected(type(error).__name__) from error

    async def close_when_idle(self) -> None:
        """Ends its connections when the calls in flight are answered; each has a deadline of its own."""
        try:
            while self._in_flight:  # noqa: ASYNC110 - once for each replica that ends
                await asyncio.sleep(CLOSE_LOOK_SECONDS)
        finally:
            await self.close()

    async def close(self) -> None:
        """Ends its connections, also those of calls in flight."""
        await self._session.close()
        self._socket.close()


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    if (answer.content_length or 0) > MOST_BYTES:
        raise ReplicaFailed("the answer is too large")
    pieces: list[bytes] = []
    size = 0
    async for piece in answer.content.iter_any():
        size += len(piece)
        memory.hold(len(piece))
        if size > MOST_BYTES:
            raise ReplicaFailed("the answer is too large")
        pieces.append(piece)
    return b"".join(pieces)


async def _results(status: int, body: bytes, count: int) -> list[Result]:
    if status in (429, 503):
        raise ReplicaBusy(status)
    if status == 504:
        raise ReplicaLate(status)
    try:
        told = await work.loads(body, MOST_ELEMENTS)
    except InvalidJSON as error:
        raise ReplicaFailed("the answer is not JSON") from error
    if 400 <= status < 500:
        raise _refusal(told)
    if status != 200 or not isinstance(told, list) or len(told) != count or not all(map(_is_result, told)):
        raise ReplicaFailed(f"status {status}, and no list of {count} results")
    return told


def _is_result(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    output, error = value.get("output_data"), value.get("error")
    confidence = value.get("confidence")
    return ((isinstance(output, dict) and error is None) or (output is None and isinstance(error, dict))) and (
        confidence is None or (isinstance(confidence, int | float) and not isinstance(confidence, bool))
    )


def _refusal(told: object) -> ReplicaRefused:
    """From our runners' shape ``{"error": message, "code": code}``, or BentoML's list of one ``{"error": message}``."""
    value = told[0] if isinstance(told, list) and told else told
    value = value if isinstance(value, dict) else {}
    return ReplicaRefused(code_of(value.get("code")), message_of(value.get("error")))


def code_of(value: object) -> str:
    """A model's code, if it is one."""
    return value if isinstance(value, str) and _CODE.match(value) else "INVALID_INPUT"


def message_of(value: object) -> str:
    """A model's message, not longer than people read."""
    return value[:LONGEST_MESSAGE] if isinstance(value, str) else "the model refuses this input"
