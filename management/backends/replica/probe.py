"""Probe of a replica's state, trusted only with the proof of its identity: see ``host.py``."""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
from yarl import URL

from management.backends.launcher import Observation, Phase
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


KEPT_SECONDS: Final = 60.0
"""Seconds until kept connections are replaced by new ones."""


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

    Each probe has a connection of its own: the socket in a folder may have been replaced. Raises NotObserved.
    """
    socket = SocketPath(str(file))
    try:
        async with _session(aiohttp.UnixConnector(socket.path)) as session:
            return await _ask(session, "http://replica", token)
    except (aiohttp.ClientError, TimeoutError, OSError):
        return None
    finally:
        socket.close()


class ProbeClient:
    """Probes of replicas on ports. Its connections are kept: a new one would cost more than the rest of a probe.

    A kept connection does not show that its replica still takes new ones. It is therefore replaced at intervals.
    """

    def __init__(self) -> None:
        self._kept: _KeptConnections | None = None

    async def at(self, url: str, token: bytes) -> ProbeAnswer | None:
        """Probe a replica on a port. Return None when it fails to prove its identity.

        Raises TimeoutError when the listener does not answer, OSError when there is no listener, and NotObserved.
        """
        kept, before = self._renewed()
        try:
            async with kept.in_use() as session:
                if before is not None:
                    await before.retire()
                return await _ask(session, url, token)
        except aiohttp.ClientError as error:
            raise ConnectionError from error

    async def observed(self, url: str, token: bytes) -> Observation:
        """Return the state of a replica on a port, in a container that runs."""
        try:
            answer = await self.at(url, token)
        except NotObserved:
            return Observation(Phase.UNKNOWN)
        except TimeoutError:
            return Observation(Phase.UNRESPONSIVE, url)
        except OSError:  # the engine listens, but the container does not yet
            return Observation(Phase.STARTING, url)
        if answer is None:
            return Observation(Phase.UNRESPONSIVE, url)
        return Observation(Phase.READY if answer.ready else Phase.STARTING, url, answer.in_flight)

    def _renewed(self) -> tuple[_KeptConnections, _KeptConnections | None]:
        """Return the connections for the next probe, and those that they replace."""
        before = self._kept
        if before is not None and not before.old:
            return before, None
        self._kept = _KeptConnections()
        return self._kept, before

    async def close(self) -> None:
        """Close the connections; those of probes under way are closed once these end."""
        if self._kept is not None:
            kept, self._kept = self._kept, None
            await kept.retire()


class _KeptConnections:
    """Connections that are made within ``KEPT_SECONDS``, and are closed together."""

    def __init__(self) -> None:
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEPT_SECONDS, use_dns_cache=False)
        self._session, self._probes, self._retired = _session(connector), 0, False
        self._made_at = asyncio.get_running_loop().time()

    @property
    def old(self) -> bool:
        """Whether the next probe needs new connections."""
        return asyncio.get_running_loop().time() - self._made_at >= KEPT_SECONDS

    @asynccontextmanager
    async def in_use(self) -> AsyncIterator[aiohttp.ClientSession]:
        """Give the session to a probe."""
        self._probes += 1
        try:
            yield self._session
        finally:
            self._probes -= 1
            await self._end()

    async def retire(self) -> None:
        """Close the connections, once no probe uses them."""
        self._retired = True
        await self._end()

    async def _end(self) -> None:
        if self._retired and not self._probes:
            await self._session.close()


def _session(connector: aiohttp.BaseConnector) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Accept-Encoding": "identity"},
        auto_decompress=False,
    )


async def _ask(session: aiohttp.ClientSession, url: str, token: bytes) -> ProbeAnswer | None:
    """Return the result of ``_answer``. Raises NotObserved when this process failed or was late, not the replica."""
    clock = asyncio.get_running_loop().time
    began = clock()
    try:
        return await _answer(session, url, token)
    except TimeoutError as error:
        if clock() - began > LATE_SECONDS:
            raise NotObserved from error
        raise
    except (aiohttp.ClientError, OSError) as error:
        if exhaustion.in_connecting(error):
            raise NotObserved from error
        raise


async def _answer(session: aiohttp.ClientSession, url: str, token: bytes) -> ProbeAnswer | None:
    """Get the state. The answer is untrusted until proven: no redirects, no decompression, and a limited size."""
    nonce = secrets.token_hex(16)
    # Both are plain ASCII: to quote them would take a tenth of the probe's time.
    async with session.get(URL(f"{url}{STATE}?nonce={nonce}", encoded=True), allow_redirects=False) as response:
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
            response.close()  # the rest of it must not reach the next probe
            return None
    try:
        return strict_json.loads(body)
    except InvalidJSON:
        return None
