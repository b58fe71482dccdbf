"""What a replica says of itself, believed only with the proof that it is the one: see ``host.py``."""

from __future__ import annotations

import asyncio
import hmac
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp

from management.backends.replica.host import STATE, proof_of
from management.faults import exhaustion
from management.sockets import SocketPath
from web.json import strict_json
from web.json.strict_json import InvalidJSON

MOST_BYTES: Final = 4096
SECONDS: Final = 1.0
"""That it has to answer."""
LATE_SECONDS: Final = 2 * SECONDS
"""After which this process itself was held up, if the deadline passes only then."""


class NotObserved(Exception):
    """It could not be asked, by a fault of this process: nothing is known of it."""


@dataclass(frozen=True)
class ProbeAnswer:
    """That it proved to be ours, and how it is."""

    ready: bool
    in_flight: int
    """Requests that it is working on."""


async def through_socket(file: Path, token: bytes) -> ProbeAnswer | None:
    """Of one that listens on a unix socket; None when it does not answer, or is another one. Raises NotSeenError."""
    socket = SocketPath(str(file))
    try:
        return await _ask(aiohttp.UnixConnector(socket.path), "http://replica", token)
    except (aiohttp.ClientError, TimeoutError, OSError):
        return None
    finally:
        socket.close()


async def at(url: str, token: bytes) -> ProbeAnswer | None:
    """Of one that listens on a port; None when it is another one.

    Raises TimeoutError when something listens that does not answer, OSError when nobody does, and NotSeenError.
    """
    try:
        return await _ask(aiohttp.TCPConnector(), url, token)
    except aiohttp.ClientError as error:
        raise ConnectionError from error


async def _ask(connector: aiohttp.BaseConnector, url: str, token: bytes) -> ProbeAnswer | None:
    """What ``_answer`` says. Raises NotSeenError where it is not the replica that failed, or was late."""
    clock = asyncio.get_running_loop().time
    began = clock()
    try:
        return await _answer(connector, url, token)
    except TimeoutError as error:
        if clock() - began > LATE_SECONDS:
            raise NotObserved from error
        raise
    except (aiohttp.ClientError, OSError) as error:
        if exhaustion.in_connecting(error):
            raise NotObserved from error
        raise


async def _answer(connector: aiohttp.BaseConnector, url: str, token: bytes) -> ProbeAnswer | None:
    """Its answer is a stranger's until it is proven: it leads nowhere, and is read as it is, and not for long."""
    nonce = secrets.token_hex(16)
    async with (
        aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept-Encoding": "identity"},
            auto_decompress=False,
        ) as session,
        session.get(url + STATE, params={"nonce": nonce}, allow_redirects=False) as answer,
    ):
        told = await _read(answer) if answer.status == 200 else None
    if not isinstance(told, dict):
        return None
    said = str(told.get("proof")).encode(errors="replace")
    if not hmac.compare_digest(said, proof_of(token, nonce.encode()).encode()):
        return None
    in_flight = told.get("in_flight")
    return ProbeAnswer(told.get("ready") is True, in_flight if type(in_flight) is int and in_flight >= 0 else 0)


async def _read(answer: aiohttp.ClientResponse) -> Any:
    """The JSON that it is; None for anything else, and for more than anybody has to say."""
    body = b""
    async for piece in answer.content.iter_any():
        body += piece
        if len(body) > MOST_BYTES:
            return None
    try:
        return strict_json.loads(body)
    except InvalidJSON:
        return None
