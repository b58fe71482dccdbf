"""How the gateway speaks to one replica: ``POST /infer`` of the model contract, whatever runs behind its address.

ReplicaError
├── ConnectionBroken    the replica may be gone: another one may be tried
├── ReplicaBusy         it sheds load
├── ReplicaLate         it stopped the request at its deadline
├── ReplicaRefused      the request itself is at fault, in the model's own words
└── ReplicaFailed       the model failed, or its answer cannot be read
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

INFER_PATH: Final = "/infer"
LIVENESS_PATH: Final = "/livez"
LIVENESS_TIMEOUT_SECONDS: Final = 1.0
"""Seconds to wait for a sign of life. A replica that gives none may still be at work."""
MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
"""Maximum size of an answer in bytes."""
MOST_ELEMENTS: Final = 1_000_000
"""Maximum elements of a request or an answer: as many as the model contract takes."""
KEEP_ALIVE_SECONDS: Final = 30
"""Seconds an idle connection is kept; the replica keeps it for longer."""
_CODE: Final = re.compile(r"[A-Z][A-Z0-9_]{0,63}\Z", re.ASCII)
MAX_MESSAGE_CHARACTERS: Final = 1000
"""Characters of a model's error message that are passed on."""
CLOSE_POLL_SECONDS: Final = 0.2
"""Seconds between two checks whether the calls in flight are answered."""

Item = dict[str, Any]
"""``{"input_data": {...}, "parameters": {...}}``"""

Result = dict[str, Any]
"""``{"output_data": {...} or None, "error": {...} or None, "confidence": number or None}``"""


class ReplicaError(Exception):
    """The root: the replica gave no results."""


class ConnectionBroken(ReplicaError):
    """The connection failed, or broke before the answer's end."""


class NotConnected(ConnectionBroken):
    """Nothing was sent: trying another replica repeats nothing."""


class ReplicaBusy(ReplicaError):
    """The replica answered 429 or 503."""


class ReplicaLate(ReplicaError):
    """The replica answered 504."""


class ReplicaRefused(ReplicaError):
    """The replica answered another 4xx, with the model's code and message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class ReplicaFailed(ReplicaError):
    """The replica answered another 5xx, or anything but results of the contract."""


class ReplicaClient:
    """Connections to one replica."""

    def __init__(self, address: str, headers: Callable[[], Mapping[str, str]] = dict) -> None:
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
        """Returns a result for each item, in order. Raises ReplicaError."""
        standard = {"Content-Type": "application/json", "Accept-Encoding": "identity", "X-Request-ID": request_id}
        headers = {**self._headers(), **standard}
        body = await work.dumps({"requests": list(items)})
        self._in_flight += 1
        try:
            async with self._session.post(
                self._url + INFER_PATH, data=body, headers=headers, allow_redirects=False
            ) as answer:
                return await _results(answer.status, await _read(answer), len(items))
        except aiohttp.ClientResponseError as error:
            raise ReplicaFailed("the answer is not HTTP") from error
        except aiohttp.ClientConnectorError as error:
            if exhaustion.in_connecting(error):
                raise ReplicaBusy(503) from error  # this process has run out of something, so no other replica is tried
            raise NotConnected(type(error).__name__) from error
        except (aiohttp.ClientError, OSError) as error:
            raise ConnectionBroken(type(error).__name__) from error
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


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    if (answer.content_length or 0) > MAX_ANSWER_BYTES:
        raise ReplicaFailed("the answer is too large")
    pieces: list[bytes] = []
    size = 0
    async for piece in answer.content.iter_any():
        size += len(piece)
        memory.hold(len(piece))
        if size > MAX_ANSWER_BYTES:
            raise ReplicaFailed("the answer is too large")
        pieces.append(piece)
    return b"".join(pieces)


async def _results(status: int, body: bytes, count: int) -> list[Result]:
    if status in (429, 503):
        raise ReplicaBusy(status)
    if status == 504:
        raise ReplicaLate(status)
    try:
        payload = await work.loads(body, MOST_ELEMENTS)
    except InvalidJSON as error:
        raise ReplicaFailed("the answer is not JSON") from error
    if 400 <= status < 500:
        raise _refusal(payload)
    if status != 200 or not isinstance(payload, list) or len(payload) != count or not all(map(_is_result, payload)):
        raise ReplicaFailed(f"status {status}, and no list of {count} results")
    return payload


def _is_result(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    output, error = value.get("output_data"), value.get("error")
    confidence = value.get("confidence")
    return ((isinstance(output, dict) and error is None) or (output is None and isinstance(error, dict))) and (
        confidence is None or (isinstance(confidence, int | float) and not isinstance(confidence, bool))
    )


def _refusal(payload: object) -> ReplicaRefused:
    """From our runners' shape ``{"error": message, "code": code}``, or BentoML's list of one ``{"error": message}``."""
    value = payload[0] if isinstance(payload, list) and payload else payload
    value = value if isinstance(value, dict) else {}
    return ReplicaRefused(code_of(value.get("code")), message_of(value.get("error")))


def code_of(value: object) -> str:
    """A model's error code; ``INVALID_INPUT`` for a value that is none."""
    return value if isinstance(value, str) and _CODE.match(value) else "INVALID_INPUT"


def message_of(value: object) -> str:
    """A model's error message, cut to ``MAX_MESSAGE_CHARACTERS``; a general one for a value that is none."""
    return value[:MAX_MESSAGE_CHARACTERS] if isinstance(value, str) else "the model refuses this input"
