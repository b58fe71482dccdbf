"""Probe of a replica's state, trusted only with the proof of its identity: see ``host.py``."""

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
"""Bytes of the longest answer that is read."""
SECONDS: Final = 1.0
"""Seconds that a replica has to answer."""
LATE_SECONDS: Final = 2 * SECONDS
"""Seconds: a timeout that is raised later than this shows that this process itself was delayed."""


class NotObserved(Exception):
    """This process could not probe the replica, so nothing is known about it."""


@dataclass(frozen=True)
class ProbeAnswer:
    """State of a replica that has proved its identity."""

    ready: bool
    in_flight: int
    """Requests that it is processing."""


async def through_socket(file: Path, token: bytes) -> ProbeAnswer | None:
    """Probe a replica on a unix socket. Return None when it does not answer, or fails to prove its identity.

    Raises NotObserved.
    """
    socket = SocketPath(str(file))
    try:
        return await _ask(aiohttp.UnixConnector(socket.path), "http://replica", token)
    except (aiohttp.ClientError, TimeoutError, OSError):
        return None
    finally:
        socket.close()


async def at(url: str, token: bytes) -> ProbeAnswer | None:
    """Probe a replica on a port. Return None when it fails to prove its identity.

    Raises TimeoutError when the listener does not answer, OSError when there is no listener, and NotObserved.
    """
    try:
        return await _ask(aiohttp.TCPConnector(), url, token)
    except aiohttp.ClientError as error:
        raise ConnectionError from error


async def _ask(connector: aiohttp.BaseConnector, url: str, token: bytes) -> ProbeAnswer | None:
    """Return the result of ``_answer``. Raises NotObserved when this process failed or was late, not the replica."""
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
    """Get the state. The answer is untrusted until proven: no redirects, no decompression, and a limited size."""
    nonce = secrets.token_hex(16)
    async with (
        aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept-Encoding": "identity"},
            auto_decompress=False,
        ) as session,
        session.get(url + STATE, params={"nonce": nonce}, allow_redirects=False) as response,
    ):
        state = await _read(response) if response.status == 200 else None
    if not isinstance(state, dict):
        return None
    proof = str(state.get("proof")).encode(errors="replace")
    if not hmac.compare_digest(proof, proof_of(token, nonce.encode()).encode()):
        return None
    in_flight = state.get("in_flight")
    return ProbeAnswer(state.get("ready") is True, in_flight if type(in_flight) is int and in_flight >= 0 else 0)


async def _read(response: aiohttp.ClientResponse) -> Any:
    """Return the parsed JSON; None when it is not JSON, or longer than ``MOST_BYTES``."""
    body = b""
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > MOST_BYTES:
            return None
    try:
        return strict_json.loads(body)
    except InvalidJSON:
        return None
