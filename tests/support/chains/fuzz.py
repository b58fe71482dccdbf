"""The management's API in this process, for thousands of requests: its launcher starts nothing, an echo answers."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import requests
from aiohttp import web
from schemathesis import Response
from starlette.applications import Starlette
from starlette.types import ASGIApp, Message

from management.api.application import CONTROL_BYTES
from management.backends import machine
from management.backends.backend import (
    Backend,
)
from management.backends.launcher import (
    Observation,
    Phase,
    ReplicaUsage,
)
from management.backends.process.images import (
    BentoStore,
)
from management.control.commands import DeploymentCommands
from management.domain.clock import now
from management.domain.keys import Role, make
from management.platform import Platform
from tests.doubles.management import FakeLauncher, settings_of
from tests.support.management_servers import KEY, echo_config
from web.edge.middleware import Edge, Limits

SECONDS = 60.0
VERSIONS = ("1.0.0", "2.0.0")
LABELLED = {"diagnosis": "tcm_diagnosis", "herbs": "treatment"}
"""Bentos that say what type of model they have, and which."""


class EchoLauncher(FakeLauncher):
    """Every replica is ready at once, and all are the same echo."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self._address = address

    async def observe(self, replica_id: str) -> Observation:
        seen = await super().observe(replica_id)
        return Observation(Phase.READY, self._address) if seen.phase is Phase.READY else seen

    async def usage(self, replica_ids: Collection[str]) -> dict[str, ReplicaUsage]:
        return {replica_id: ReplicaUsage(0.0, 0) for replica_id in replica_ids}


class EchoPlatform(Platform):
    """The real one, but for its launcher."""

    address = ""

    @cached_property
    def backend(self) -> Backend:
        images = BentoStore(self.settings.storage.home)
        return replace(super().backend, images=images, driver=EchoLauncher(self.address))

    @cached_property
    def commands(self) -> DeploymentCommands:
        return DeploymentCommands(machine.capacity(self.settings.capacity))


@dataclass
class Fuzzed:
    """The API, called without a server between: one request after the other."""

    app: ASGIApp
    loop: asyncio.AbstractEventLoop
    platform: EchoPlatform
    viewer_key: str = ""
    calls: int = 0
    statuses: dict[int, int] = field(default_factory=lambda: defaultdict(int))

    def ask(self, method: str, target: str, body: Any = None, key: str | None = KEY, **headers: str) -> Response:
        """An answer to a request that is made here."""
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        told |= {} if key is None else {"X-API-Key": key}
        return self.send(requests.Request(method, f"http://testserver{target}", json=body, headers=told).prepare())

    def deploy_echo(self) -> None:
        """The model ``echo`` as it was, whatever has been done to it."""
        assert self.ask("DELETE", "/api/v1/models/echo?force=true&wait=30").status_code in (200, 404)
        config = echo_config(scaling_config={"min_replicas": 1, "max_replicas": 2})
        assert self.ask("POST", "/api/v1/models/deploy?wait=30", {"config": config}).status_code == 200

    def send(self, request: requests.PreparedRequest) -> Response:
        """An answer to the request."""
        self.calls += 1
        started = time.monotonic()
        future = asyncio.run_coroutine_threadsafe(self._exchange(request), self.loop)
        start, body = future.result(SECONDS)
        found: dict[str, list[str]] = defaultdict(list)
        for name, value in start["headers"]:
            found[name.decode("latin-1").lower()].append(value.decode("latin-1"))
        self.statuses[start["status"]] += 1
        took = time.monotonic() - started
        return Response(start["status"], found, body, request=request, elapsed=took, verify=False)

    async def _exchange(self, request: requests.PreparedRequest) -> tuple[Message, bytes]:
        path, _, query = request.path_url.partition("?")
        given = request.body or b""
        body = given.encode() if isinstance(given, str) else bytes(given)
        sent: list[Message] = []
        waiting = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Message:
            if waiting:
                return waiting.pop()
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: Message) -> None:
            sent.append(message)

        headers = [(_bytes(name).lower(), _bytes(value)) for name, value in request.headers.items()]
        scope = {
            **{"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": request.method},
            **{"scheme": "http", "path": unquote(path), "raw_path": path.encode(), "root_path": ""},
            **{"query_string": query.encode(), "headers": [(b"host", b"testserver"), *headers]},
            **{"client": ("127.0.0.1", 1), "server": ("testserver", 80), "state": {}},
        }
        await self.app(scope, receive, send)
        return sent[0], b"".join(message.get("body", b"") for message in sent[1:])


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("latin-1")


@contextmanager
def fuzzed(kind: type[EchoPlatform] = EchoPlatform, **settings: Any) -> Iterator[Fuzzed]:
    """The API without any model, in an event loop of its own; nothing is left of it."""
    home = Path(tempfile.mkdtemp(prefix="at-"))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        opened, closing = asyncio.run_coroutine_threadsafe(_open(home, kind, settings), loop).result(SECONDS)
        try:
            yield Fuzzed(opened[0], loop, *opened[1:])
        finally:
            asyncio.run_coroutine_threadsafe(closing(), loop).result(SECONDS)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
        shutil.rmtree(home)


async def _open(home: Path, kind: type[EchoPlatform], changes: dict[str, Any]) -> Any:
    for version in VERSIONS:
        bento = home / "bentos" / "echo" / version
        bento.mkdir(parents=True)
        (bento / "bento.yaml").touch()
    for name, label in LABELLED.items():
        bento = home / "bentos" / name / "1.0.0"
        bento.mkdir(parents=True)
        (bento / "bento.yaml").write_text(f"name: {name}\nversion: 1.0.0\nlabels:\n  model_type: {label}\n")
    runner = web.AppRunner(_echo())
    await runner.setup()
    await web.UnixSite(runner, str(home / "echo.sock")).start()
    told: dict[str, Any] = {"home": home, "api_key": KEY, "failed_logins": 10**6, "cpus": 1, "memory": "1Gi", "gpus": 0}
    told |= changes
    platform = kind(lambda: settings_of(**told))
    platform.address = f"unix:{home / 'echo.sock'}"
    limits = Limits(body_bytes=CONTROL_BYTES, request_seconds=60.0, body_seconds=60.0)
    app = Edge(Starlette(), name="fuzzed", routes=lambda _: False, limits=limits, sections=platform.sections())
    messages: asyncio.Queue[Message] = asyncio.Queue()
    answers: asyncio.Queue[Message] = asyncio.Queue()
    life = asyncio.create_task(
        app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, messages.get, answers.put)
    )
    await messages.put({"type": "lifespan.startup"})
    assert (await answers.get())["type"] == "lifespan.startup.complete"
    made = make("viewer", Role.VIEWER, now())
    await platform.store.write(lambda session: session.keys.add(made.key))
    await asyncio.sleep(2 * platform.settings.server.refresh_seconds)

    async def close() -> None:
        await messages.put({"type": "lifespan.shutdown"})
        await life
        await runner.cleanup()

    return (app, platform, made.text), close


def _echo() -> web.Application:
    """Says what it is told, or answers as no model should: ``{"raw": [status, body, content type]}``."""

    async def infer(request: web.Request) -> web.Response:
        items = [item["input_data"] for item in (await request.json())["requests"]]
        if "raw" in items[0]:
            status, body, kind = items[0]["raw"]
            return web.Response(status=status, body=body.encode(errors="surrogatepass"), content_type=kind)
        return web.json_response([{"output_data": {"echo": item}, "error": None, "confidence": 1.0} for item in items])

    async def anything(request: web.Request) -> web.Response:
        """What has arrived: for tests of the models' own addresses."""
        headers = [[name.decode(), value.decode("latin-1")] for name, value in request.raw_headers]
        body = (await request.read()).decode("latin-1")
        status = int(request.headers.get("X-Status", "200"))
        told = {"method": request.method, "target": request.raw_path, "headers": headers, "body": body}
        return web.json_response(told, status=status)

    app = web.Application(client_max_size=2**27)
    app.router.add_post("/infer", infer)
    app.router.add_route("*", "/{rest:.*}", anything)
    return app
