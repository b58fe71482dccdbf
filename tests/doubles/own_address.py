"""The models' own addresses on a real port, before replicas that tests control: all of it in one event loop.

The edge, the section and the gateway are the real ones; a replica is an ASGI application on a port of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from management.auth.access import FailedLoginLimiter, KeyCache
from management.domain import keys
from management.domain.bento import Bento
from management.domain.bento_tag import Tag
from management.domain.clock import now
from management.domain.keys import Role
from management.domain.records import Deployment, Replica
from management.gateway.failover import GatewayHooks
from management.gateway.gateway import Gateway
from management.proxy import application as proxy
from tests.doubles.asgi import read, respond
from tests.doubles.management import deployment, replica, revision, settings
from web.edge.middleware import Edge, Limits
from web.server.crowd import Crowd
from web.server.uvicorn_protocol import Connection, limits

MODEL = "hello"
REPLICA_KEY = "X-Atelier-Replica-Key"
SERVED = deployment(MODEL, last_stable=revision(1))
ASLEEP = replace(SERVED, replicas=0, scaled_to_zero=True)
BENTO = Bento(Tag("hello", "1.0.0"), "Hello", "1.4.39", "", ())


class Recorder:
    """A replica's application that records each request, and answers with what a test has put into it."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []
        self.bodies: list[bytes] = []
        self.status = 200
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b"answer"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        self.bodies.append(await read(receive))
        length = [(b"content-length", str(len(self.body)).encode())] if self.body else []
        await respond(send, self.status, [*self.headers, *length], self.body)

    @property
    def scope(self) -> Scope:
        """The last request."""
        return self.scopes[-1]

    @property
    def target(self) -> bytes:
        """Path and query of the last request, as they came."""
        query = self.scope["query_string"]
        return bytes(self.scope["raw_path"]) + (b"?" + query if query else b"")

    def got(self, name: str) -> list[bytes]:
        """The values of a header of the last request."""
        return [value for key, value in self.scope["headers"] if key == name.lower().encode()]

    @property
    def names(self) -> set[bytes]:
        """The names of the last request's headers."""
        return {name for name, _ in self.scope["headers"]}


class Held:
    """A replica's application whose requests wait until a test lets them go on; it sees which callers leave."""

    def __init__(self) -> None:
        self.begun = asyncio.Semaphore(0)
        self.go_on = asyncio.Event()
        self.left = asyncio.Semaphore(0)
        self.in_flight = self.most = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        await read(receive)
        self.begun.release()
        gone, going = asyncio.ensure_future(receive()), asyncio.ensure_future(self.go_on.wait())
        try:
            await asyncio.wait((gone, going), return_when=asyncio.FIRST_COMPLETED)
            if going.done():
                await respond(send, body=b"done")
            else:
                self.left.release()
        finally:
            gone.cancel()
            going.cancel()
            self.in_flight -= 1


class Pieces:
    """A replica's application that sends the pieces of an answer as a test puts them into it; None is the end."""

    def __init__(self, kind: bytes = b"text/event-stream") -> None:
        self.kind = kind
        self.pieces: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.left = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await read(receive)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", self.kind)]})
        await send({"type": "http.response.body", "body": b"", "more_body": True})
        sending = asyncio.ensure_future(self._send(send))
        gone = asyncio.ensure_future(receive())
        try:
            await asyncio.wait((sending, gone), return_when=asyncio.FIRST_COMPLETED)
            if not sending.done():
                self.left.set()
        finally:
            sending.cancel()
            gone.cancel()

    async def _send(self, send: Send) -> None:
        while (piece := await self.pieces.get()) is not None:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


@dataclass
class OwnAddress:
    """A server with the models' own addresses, and what a test changes of its surroundings."""

    gateway: Gateway
    port: int
    texts: Mapping[Role, str]
    """The text of a key of each role."""
    surroundings: Surroundings
    crowd: Crowd
    """The connections that the server has admitted."""
    keyring: KeyCache
    counted: list[tuple[str, str, int]] = field(default_factory=list)
    """Requests as they were counted for the metrics: route, method, status."""

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def by_host(self) -> str:
        """The host of the model's address for pages with absolute links."""
        return f"{MODEL}.models.localhost:{self.port}"

    @property
    def url(self) -> str:
        """The root of the model."""
        return f"http://{self.host}/models/{MODEL}"

    def learn(self, desired: Deployment, *ready: Replica) -> None:
        """Let the gateway know the deployment and its ready replicas."""
        self.gateway.learn([desired], [replace(each, deployment_id=desired.id) for each in ready])

    def key(self, role: Role = Role.OPERATOR) -> dict[str, str]:
        return {"X-API-Key": self.texts[role]}

    def session(self, role: Role | None = Role.OPERATOR, **options: Any) -> aiohttp.ClientSession:
        """A client that changes nothing of what it sends and gets."""
        headers = {} if role is None else self.key(role)
        return aiohttp.ClientSession(
            headers=headers, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False, **options
        )

    async def send(self, head: str, body: bytes = b"") -> tuple[int, list[tuple[str, str]], bytes]:
        """Send a request as it is written, and return status, headers and the rest until the connection's end."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        lines = head.strip().replace("\n", "\r\n")
        writer.write(f"{lines}\r\nConnection: close\r\n\r\n".encode("latin-1") + body)
        try:
            async with asyncio.timeout(30):
                first, *rest = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").strip().split("\r\n")
                headers = [(name.lower(), value) for name, _, value in (line.partition(": ") for line in rest)]
                return int(first.split()[1]), headers, await reader.read()
        finally:
            writer.close()
            await writer.wait_closed()

    @property
    def in_flight(self) -> int:
        """Slots of the model that are taken."""
        route = self.gateway.routes.get(MODEL)
        return 0 if route is None else route.queue.in_flight

    async def free(self) -> None:
        """Wait until every slot is free."""
        async with asyncio.timeout(10):
            while self.in_flight:  # noqa: ASYNC110 - the queue has no event for it
                await asyncio.sleep(0.01)


@dataclass
class Surroundings:
    """What the gateway leaves to others, as a test decides it."""

    bento: Bento | None = BENTO
    read: Callable[[str], Awaitable[Bento | None]] | None = None
    """How the Bento of an image is read, where it is not always the same."""
    awoken: list[str] = field(default_factory=list)
    wake: Callable[[], Awaitable[None]] | None = None
    """What happens when a sleeping model is woken."""
    ejected: list[str] = field(default_factory=list)
    probed: list[str] = field(default_factory=list)

    async def nothing(self) -> None:
        """What takes no time."""

    async def answers(self) -> bool:
        return True

    async def activate(self, model_id: str) -> None:
        self.awoken.append(model_id)
        if self.wake is not None:
            await self.wake()

    async def describe(self, image: str) -> Bento | None:
        return self.bento if self.read is None else await self.read(image)

    def hooks(self) -> GatewayHooks:
        def eject(_: Deployment, replica_id: str, __: str) -> None:
            self.ejected.append(replica_id)

        return GatewayHooks(
            self.nothing,
            self.activate,
            self.probed.append,
            eject,
            self.answers,
            lambda _: {REPLICA_KEY: "the replica's key"},
            self.describe,
        )


@asynccontextmanager
async def own_address(folder: Path, **changes: Any) -> AsyncIterator[OwnAddress]:
    """Serve the models' own addresses without a model; ``changes`` are settings."""
    told = settings(folder, **{"failed_logins": 3, "language": "en"} | changes)
    surroundings = Surroundings()
    keyring, texts = _keys()
    gateway = Gateway(told.queue, surroundings.hooks())
    counted: list[tuple[str, str, int]] = []
    requests = SimpleNamespace(count_as=lambda route, method, status, _: counted.append((route, method, status)))
    parts = SimpleNamespace(
        api_settings=told.api,
        address_settings=told.addresses,
        gateway=gateway,
        metrics=SimpleNamespace(requests=requests),
        keyring=keyring,
        failures=FailedLoginLimiter(told.access.failed_logins),
    )
    section = proxy.section(cast("proxy.AddressParts", parts))
    edge = Edge(_nowhere, name="test", routes=lambda _: False, limits=Limits(10**6, 60.0, 60.0), sections=[section])
    limited = limits(10.0)
    protocol = type("Protocol", (Connection, AutoHTTPProtocol), limited)
    async with serving(edge, protocol) as server:
        try:
            yield OwnAddress(gateway, port_of(server), texts, surroundings, limited["crowd"], keyring, counted)
        finally:
            await gateway.close()


def _keys() -> tuple[KeyCache, dict[Role, str]]:
    made = {role: keys.make(role.name.lower(), role, now()) for role in Role}
    keyring = KeyCache()
    keyring.learn([each.key for each in made.values()])
    return keyring, {role: each.text for role, each in made.items()}


async def _nowhere(scope: Scope, receive: Receive, send: Send) -> None:
    await respond(send, 404)


@asynccontextmanager
async def serving(app: ASGIApp, http: Any = "auto", **options: Any) -> AsyncIterator[uvicorn.Server]:
    """Serve an application on a free port until the block ends; ``options`` are uvicorn's."""
    usual: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": 0,
        "log_config": None,
        "lifespan": "off",
        "server_header": False,
    }
    config = uvicorn.Config(app, http=http, timeout_graceful_shutdown=1, **usual | options)
    server = uvicorn.Server(config)
    server.capture_signals = _no_signals  # type: ignore[assignment, method-assign]
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    try:
        yield server
    finally:
        server.should_exit = True
        await task


class _no_signals:  # noqa: N801 - it stands for a function
    def __enter__(self) -> None:
        """Leave the signals to the test run."""

    def __exit__(self, *_: object) -> None:
        """Nothing was changed."""


def port_of(server: uvicorn.Server) -> int:
    """The port of a server that has started."""
    return int(server.servers[0].sockets[0].getsockname()[1])


@asynccontextmanager
async def replica_of(app: ASGIApp, number: int = 1) -> AsyncIterator[Replica]:
    """A ready replica of that revision, which runs the application."""

    async def alive(scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("path") == "/livez" and scope.get("method") == "GET":
            await respond(send)
        else:
            await app(scope, receive, send)

    async with serving(alive) as server:
        yield replica(address=f"http://127.0.0.1:{port_of(server)}", number=number)


@asynccontextmanager
async def serving_model(folder: Path, *apps: ASGIApp, **changes: Any) -> AsyncIterator[OwnAddress]:
    """Serve the model ``hello``, with a replica for each application."""
    async with own_address(folder, **changes) as address, AsyncExitStack() as replicas:
        ready = [await replicas.enter_async_context(replica_of(app)) for app in apps]
        address.learn(SERVED, *ready)
        yield address


@asynccontextmanager
async def breaking_replica(begun: list[bytes]) -> AsyncIterator[Replica]:
    """A replica that ends each connection once it has a request's head, which it adds to ``begun``."""

    async def end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if head.split()[1] == b"/livez":
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        else:
            begun.append(head)
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(end, "127.0.0.1", 0) as server:
        yield replica(address=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
