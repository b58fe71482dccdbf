"""A local BentoCloud: a server on a free port that speaks the calls of BentoML's client, and keeps what it is told.

What it is like where the client does not show it is a guess: it was written from the client's source, not from the
cloud. Its deployments go through scripted words, and where one serves, an echo answers ``POST /infer``.
"""

from __future__ import annotations

import asyncio
import base64
import re
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import WSMsgType, web

from tests.doubles.bentocloud.state import (
    CLUSTER,
    ORGANIZATION,
    USER,
    Body,
    Deployed,
    Package,
    instance_types,
    resource,
)
from tests.doubles.bentocloud.uploads import HEADER, Refusal, Uploads

TOKEN = "cloud-token-of-the-tests-1c9e"
NAME = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?\Z")
HANG_SECONDS = 60.0
MIB = 1024 * 1024

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class LocalCloud(Uploads):
    """The state, and the routes over it. Tests read and change it from their own thread."""

    def __init__(self) -> None:
        self.url = ""
        self.reset()

    def reset(self) -> None:
        """As it was at first: empty, and well."""
        super().reset()
        self.words = ["image-building", "deploying", "running"]
        """That deployments go through when they are made or updated."""
        self.scripts: list[list[str]] = []
        """The words of the next ones, before ``words`` are those of all others."""
        self.pace = 0.05
        self.token = self.entry = TOKEN
        """What the API wants, and what deployments want."""
        self.terminated_first = True
        """Whether only what was terminated is deleted."""
        self.deployments: dict[str, Deployed] = {}
        self.fault: str | None = None
        """What becomes of every call: a status, ``hang`` or ``reset``."""
        self.faulty = re.compile("")
        """Of which paths."""
        self.calls: list[str] = []
        """``METHOD /path`` of each call of the API."""
        self.heard: Callable[[str], None] = lambda _: None
        """Called with each of them, before it is answered: a test may change what the answer will be."""
        self.asked: list[tuple[str, str | None]] = []
        """The deployment and the Authorization of each inference."""
        self.seconds = 0.0
        """That an inference lasts."""
        self.leaving: set[str] = set()
        """The pods that end when they have said something."""
        self.elsewhere: str | None = None
        """Where inferences are sent instead."""

    def made(self) -> int:
        """How many calls asked for a new deployment."""
        return self.calls.count("POST /api/v2/deployments")

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self._guard], client_max_size=64 * MIB)
        app.add_routes(
            [
                *self.upload_routes(),
                web.get("/api/v1/auth/current", self._user),
                web.get("/api/v1/current_org", self._organization),
                web.get("/api/v1/instance_types", self._instance_types),
                web.get("/api/v2/deployments", self._list),
                web.post("/api/v2/deployments", self._create),
                web.get("/api/v2/deployments/{name}", self._get),
                web.put("/api/v2/deployments/{name}", self._update),
                web.delete("/api/v2/deployments/{name}", self._delete),
                web.post("/api/v2/deployments/{name}/terminate", self._terminate),
                web.get("/ws/v2/deployments/{name}/pods", self._pods),
                web.get(f"/ws/v1/clusters/{CLUSTER}/tail", self._tail),
                web.post("/d/{name}/infer", self._infer),
            ]
        )
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        api = request.path.startswith(("/api/", "/ws/"))
        if api:
            self.calls.append(f"{request.method} {request.path}")
            self.heard(self.calls[-1])
        if self.fault and self.faulty.search(request.path):
            return await self._failing(request, self.fault)
        if api and request.headers.get(HEADER) != self.token:
            return web.json_response({"error": "token is invalid"}, status=401)
        try:
            return await handler(request)
        except Refusal as refusal:
            return web.json_response({"error": refusal.text}, status=refusal.status)

    async def _failing(self, request: web.Request, fault: str) -> web.StreamResponse:
        if fault == "reset":
            assert request.transport is not None
            request.transport.abort()
        if fault == "hang":
            await asyncio.sleep(HANG_SECONDS)
        return web.json_response(
            {"error": f"told to fail, said {request.headers.get(HEADER)}"},
            status=int(fault) if fault.isdecimal() else 500,
        )

    # Who, and what there is

    async def _user(self, _: web.Request) -> web.Response:
        return web.json_response(USER)

    async def _organization(self, _: web.Request) -> web.Response:
        return web.json_response({**resource("organization", ORGANIZATION), "description": ""})

    async def _instance_types(self, _: web.Request) -> web.Response:
        return web.json_response(instance_types())

    # Deployments

    def _shown(self, deployment: Deployed, *, whole: bool = True) -> web.Response:
        return web.json_response(deployment.shape(f"{self.url}/d/{deployment.name}" if whole else None))

    def _deployed(self, request: web.Request) -> Deployed:
        name = request.match_info["name"]
        if name not in self.deployments:
            raise Refusal(404, "record not found")
        return self.deployments[name]

    async def _list(self, request: web.Request) -> web.Response:
        count = int(request.query.get("count") or 10)  # empty where the client says nothing
        items = [deployment.shape(None) for deployment in self.deployments.values()]
        return web.json_response({"start": 0, "count": count, "total": len(items), "items": items[:count]})

    async def _create(self, request: web.Request) -> web.Response:
        told = await request.json()
        if not NAME.match(told["name"]):
            raise Refusal(400, "the name is no DNS label")
        if told["name"] in self.deployments:
            raise Refusal(400, f"deployment {told['name']} already exists")
        bento = self._bento(told)
        new = Deployed(told["name"], told, bento, self._script(), self.pace, told.get("labels") or [])
        self.deployments[new.name] = new
        return self._shown(new)

    def _script(self) -> list[str]:
        return self.scripts.pop(0) if self.scripts else list(self.words)

    async def _get(self, request: web.Request) -> web.Response:
        return self._shown(self._deployed(request))

    async def _update(self, request: web.Request) -> web.Response:
        deployment, told = self._deployed(request), await request.json()
        deployment.bento = self._bento(told)
        deployment.labels = told.get("labels") or deployment.labels
        deployment.becomes(*self._script(), config=told)
        return self._shown(deployment)

    def _bento(self, told: Body) -> Package:
        name, _, version = told["bento"].partition(":")
        package = self.packages.get(("bento", name, version))
        if package is None or package.upload_status != "success":
            raise Refusal(400, f"bento {told['bento']} was not uploaded")
        known = {instance_type["display_name"] for instance_type in instance_types()}
        for service in told["services"].values():
            if service["instance_type"] not in known:
                raise Refusal(400, "no such instance type")
        return package

    async def _terminate(self, request: web.Request) -> web.Response:
        deployment = self._deployed(request)
        deployment.becomes("terminating", "terminated")
        return self._shown(deployment)

    async def _delete(self, request: web.Request) -> web.Response:
        deployment = self._deployed(request)
        if self.terminated_first and deployment.status != "terminated":
            raise Refusal(400, "the deployment must be terminated first")
        del self.deployments[deployment.name]
        return self._shown(deployment)

    async def _pods(self, request: web.Request) -> web.StreamResponse:
        deployment, socket = self._deployed(request), web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json({"type": "success", "message": "", "payload": deployment.pod_shapes()})
        await socket.close()
        return socket

    async def _tail(self, request: web.Request) -> web.StreamResponse:
        """Some lines, and then nothing until the client leaves: it follows."""
        pod = request.query["pod_name"]
        if pod not in {shape["name"] for deployment in self.deployments.values() for shape in deployment.pod_shapes()}:
            raise Refusal(404, "pod not found")
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.type is WSMsgType.TEXT and message.json()["type"] == "data":
                items = [base64.b64encode(f"{pod}: first\n{pod}: last\n".encode()).decode()]
                await socket.send_json(
                    {"type": "success", "message": None, "payload": {"items": items, "type": "append"}}
                )
                if pod in self.leaving:
                    await socket.close()
        return socket

    async def _infer(self, request: web.Request) -> web.Response:
        """The entrance of a deployment: closed to whoever has no token."""
        deployment = self._deployed(request)
        self.asked.append((deployment.name, request.headers.get("Authorization")))
        if self.elsewhere is not None:
            raise web.HTTPTemporaryRedirect(self.elsewhere)
        if (
            deployment.config.get("access_authorization")
            and request.headers.get("Authorization") != f"Bearer {self.entry}"
        ):
            raise Refusal(401, "no token")
        if deployment.status == "scaled-to-zero":
            deployment.becomes("running")
        if deployment.status not in ("running", "unhealthy") and deployment.serving is None:
            raise Refusal(503, "nothing serves")
        told = await request.json()
        await asyncio.sleep(self.seconds)
        version = deployment.environment().get("ECHO_VERSION", "")
        results: list[dict[str, Any]] = [
            {"output_data": {"echo": item["input_data"], "version": version, "on": deployment.name}, "confidence": 1.0}
            for item in told["requests"]
        ]
        return web.json_response(results)


@contextmanager
def local_cloud() -> Iterator[LocalCloud]:
    """Serves until the block ends, in a thread."""
    cloud, ready, over = LocalCloud(), threading.Event(), threading.Event()

    async def serve() -> None:
        runner = web.AppRunner(cloud.application(), access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        cloud.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        ready.set()
        while not over.is_set():  # noqa: ASYNC110 - another thread says so
            await asyncio.sleep(0.05)
        await runner.cleanup()

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield cloud
    finally:
        over.set()
        thread.join(10)
