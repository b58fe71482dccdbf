"""Calls between the processes of one server: MessagePack over the unix socket that BentoML gives each model.

BentoML's own client and routes cost five times as much: they rebuild the JSON schema of the response for each call and
pickle the payload. MessagePack carries bytes unchanged, and decoding it cannot run code.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote, unquote, urlparse
from urllib.request import url2pathname

import aiohttp
import bentoml
import msgpack
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from runners.contract import InferenceRequest, InferenceResult
from runners.errors import ModelTimeout, ModelUnavailable
from runners.http.requests import LARGE_BODY_BYTES
from web.edge.caller import caller

PREFIX: Final = "/ipc/"
CONTENT_TYPE: Final = "application/msgpack"
CALLER_HEADER: Final = "X-Atelier-Caller"
"""Header with the identity of the client on whose behalf one process calls another."""
IDLE_SECONDS: Final = 3.0
"""Seconds an idle connection is kept: less than the 5 seconds after which uvicorn closes it."""

Call = Callable[..., Awaitable[Any]]
"""A function of a service that other processes may call: ``requests`` to results, or no arguments to metadata."""


class IpcEndpoint:
    """A model's application behind the functions that the server's other processes call."""

    def __init__(self, app: ASGIApp, names: frozenset[str]) -> None:
        self.app, self._paths = app, {f"{PREFIX}{name}": name for name in names}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the function that the path names, or pass the request on to the application."""
        name = self._paths.get(scope["path"]) if scope["type"] == "http" else None
        if name is None:
            await self.app(scope, receive, send)
        else:
            request = Request(scope, receive)
            caller.set(unquote(request.headers.get(CALLER_HEADER, "")))
            content = await _called(name, await request.body())
            await Response(content, media_type=CONTENT_TYPE)(scope, receive, send)


async def _called(name: str, body: bytes) -> bytes:
    function: Call = getattr(bentoml.get_current_service(), name)
    if not body:
        return _packed(await function())
    items = _unpacked(body) if len(body) < LARGE_BODY_BYTES else await asyncio.to_thread(_unpacked, body)
    requests = [InferenceRequest.model_validate(item) for item in items]
    results: Sequence[InferenceResult] = await function(requests=requests)
    return _packed([result.model_dump() for result in results])


class IpcClient:
    """Calls one model's process; connections open on demand and are kept for ``IDLE_SECONDS``."""

    def __init__(self, url: str) -> None:
        self._url = urlparse(url)
        self._session: aiohttp.ClientSession | None = None

    async def call(self, name: str, requests: Sequence[InferenceRequest] | None = None) -> Any:
        """Call a function of the service and return its results. Raises ModelUnavailable and ModelTimeout."""
        body = b"" if requests is None else await _body(requests)
        headers = {"Content-Type": CONTENT_TYPE, CALLER_HEADER: quote(caller.get())}
        try:
            async with self._open_session().post(f"{PREFIX}{name}", data=body, headers=headers) as response:
                content = await response.read()
        except (aiohttp.ClientError, OSError) as error:
            raise ModelUnavailable("the model does not answer; try again") from error
        if response.status == 504:
            raise ModelTimeout("The request took too long")
        if response.status != 200:
            raise ModelUnavailable("the model does not answer; try again")
        unpacked = _unpacked(content)
        return unpacked if requests is None else [InferenceResult.model_validate(item) for item in unpacked]

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            local = self._url.scheme == "file"
            path = url2pathname(self._url.path)
            connector = aiohttp.UnixConnector(path, limit=0, keepalive_timeout=IDLE_SECONDS) if local else _over_tcp()
            base = "http://127.0.0.1" if local else f"http://{self._url.netloc}"
            self._session = aiohttp.ClientSession(base, connector=connector, timeout=aiohttp.ClientTimeout(total=None))
        return self._session

    async def close(self) -> None:
        """Close the session and its connections, if any."""
        if self._session is not None:
            await self._session.close()


def _over_tcp() -> aiohttp.TCPConnector:
    return aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_SECONDS)  # for systems without unix sockets


def _as_data(request: InferenceRequest) -> Mapping[str, Any]:
    return {"input_data": request.input_data, "parameters": request.parameters}


async def _body(requests: Sequence[InferenceRequest]) -> bytes:
    items, size = [_as_data(request) for request in requests], sum(_size(request.input_data) for request in requests)
    return _packed(items) if size < LARGE_BODY_BYTES else await asyncio.to_thread(_packed, items)


def _size(input_data: Mapping[str, Any]) -> int:
    return sum(len(value) for value in input_data.values() if isinstance(value, bytes | str))


def _packed(value: Any) -> bytes:
    packed: bytes = msgpack.packb(value, use_bin_type=True)
    return packed


def _unpacked(data: bytes) -> Any:
    return msgpack.unpackb(data, raw=False)


_clients: Final[dict[str, IpcClient]] = {}


def client(url: str) -> IpcClient:
    """Return the shared client of the process behind that address."""
    return _clients.setdefault(url, IpcClient(url))


async def close() -> None:
    """Close and forget all shared clients."""
    await asyncio.gather(*(client.close() for client in _clients.values()))
    _clients.clear()
