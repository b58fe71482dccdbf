"""A double of a cluster's API server: the calls that the launcher makes, answered from memory.

Objects have resource versions, lists and watches agree on them, and changes that are too old are ``410 Gone``. What a
kubelet would do to Pods, ``kubelet.py`` does.
"""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from aiohttp import web

NAMESPACE: Final = "models"
CORE: Final = "/api/v1"
Json = dict[str, Any]


class ApiServer:
    """The objects of one cluster."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Json]] = {"pods": {}, "secrets": {}}
        """Objects by kind and name."""
        self.nodes: list[Json] = []
        self.logs: dict[str, str] = {}
        self.cut_nodes: set[str] = set()
        """Nodes whose kubelet cannot be reached."""
        self.metrics: dict[str, Json] = {}
        """What a metrics server measured, by Pod; without any there is none."""
        self.calls: list[str] = []
        """Verb and resource of each call."""
        self.away = False
        """Whether it answers 503 to everything."""
        self.silent = False
        """Whether watches send nothing more, and do not end."""
        self.refusals: dict[str, tuple[int, str]] = {}
        """Status and message of calls that are refused, by verb and resource."""
        self.version = 100
        self._oldest = 0
        self._changes: list[tuple[int, str, Json]] = []
        self._changed = asyncio.Condition()
        self._watches: set[asyncio.Task[Any]] = set()

    async def put(self, kind: str, thing: Json) -> Json:
        """Keep an object in its new state, and tell the watches."""
        name = thing["metadata"]["name"]
        is_new = name not in self.objects[kind]
        self.version += 1
        kept = copy.deepcopy(thing)
        kept["metadata"]["resourceVersion"] = str(self.version)
        self.objects[kind][name] = kept
        if kind == "pods":
            await self._tell("ADDED" if is_new else "MODIFIED", kept)
        return kept

    async def drop(self, kind: str, name: str) -> None:
        """Remove an object, and what it owns."""
        if (thing := self.objects[kind].pop(name, None)) is None:
            return
        self.version += 1
        gone = copy.deepcopy(thing)
        gone["metadata"]["resourceVersion"] = str(self.version)
        if kind == "pods":
            await self._tell("DELETED", gone)
        for owned in list(self.objects["secrets"].values()):
            if any(owner["uid"] == thing["metadata"]["uid"] for owner in owned["metadata"].get("ownerReferences", ())):
                await self.drop("secrets", owned["metadata"]["name"])

    async def _tell(self, kind: str, pod: Json) -> None:
        async with self._changed:
            self._changes.append((self.version, kind, copy.deepcopy(pod)))
            self._changed.notify_all()

    def forget(self) -> None:
        """Drop all changes so far, as a compaction does."""
        self._changes.clear()
        self._oldest = self.version

    def cut(self) -> None:
        """Break every watch."""
        for watch in self._watches:
            watch.cancel()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Serve on a free port of loopback; yields the URL."""
        application = web.Application(middlewares=[self._guard])
        things = f"{CORE}/namespaces/{NAMESPACE}/{{kind:pods|secrets}}"
        application.router.add_get("/version/", self._show_version)
        application.router.add_get(things, self._list)
        application.router.add_post(things, self._create)
        application.router.add_get(f"{things}/{{name}}", self._read)
        application.router.add_patch(f"{things}/{{name}}", self._patch)
        application.router.add_delete(f"{things}/{{name}}", self._delete)
        application.router.add_get(f"{CORE}/namespaces/{NAMESPACE}/pods/{{name}}/log", self._log)
        application.router.add_get(f"{CORE}/nodes", self._list_nodes)
        application.router.add_get(f"/apis/metrics.k8s.io/v1beta1/namespaces/{NAMESPACE}/pods", self._measured)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            self.cut()
            await runner.cleanup()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if self.away:
            return _status(503, "the server is starting")
        kind = request.match_info.get("kind") or request.path.rstrip("/").rpartition("/")[2]
        verb = {"GET": "list", "POST": "create", "PATCH": "patch", "DELETE": "delete"}[request.method]
        if request.query.get("watch"):
            verb = "watch"
        elif verb == "list" and "name" in request.match_info:
            verb = "get"
        self.calls.append(f"{verb} {kind}")
        if refusal := self.refusals.get(f"{verb} {kind}"):
            return _status(*refusal)
        answer: web.StreamResponse = await handler(request)
        return answer

    async def _show_version(self, _: web.Request) -> web.Response:
        return web.json_response({"major": "1", "minor": "34"})

    async def _list(self, request: web.Request) -> web.StreamResponse:
        selector = request.query.get("labelSelector", "")
        if request.query.get("watch"):
            return await self._watch(request, selector)
        items = [thing for thing in self.objects[request.match_info["kind"]].values() if _matches(thing, selector)]
        shown: list[Json] | None = items
        if "PartialObjectMetadataList" in request.headers.get("Accept", ""):
            shown = [{"metadata": thing["metadata"]} for thing in items] or None
        return web.json_response({"metadata": {"resourceVersion": str(self.version)}, "items": shown})

    async def _watch(self, request: web.Request, selector: str) -> web.StreamResponse:
        since = int(request.query["resourceVersion"])
        if since < self._oldest:
            return _status(410, "too old resource version")
        answer = web.StreamResponse()
        await answer.prepare(request)
        task = asyncio.current_task()
        assert task is not None
        self._watches.add(task)
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._follow(answer, selector, since), float(request.query["timeoutSeconds"]))
            if self.silent:
                await asyncio.Event().wait()
        finally:
            self._watches.discard(task)
        return answer

    async def _follow(self, answer: web.StreamResponse, selector: str, since: int) -> None:
        while True:
            async with self._changed:
                while not (new := [change for change in self._changes if change[0] > since]):
                    await self._changed.wait()
            for version, kind, pod in new:
                since = version
                if _matches(pod, selector) and not self.silent:
                    await answer.write(json.dumps({"type": kind, "object": pod}).encode() + b"\n")

    async def _create(self, request: web.Request) -> web.Response:
        kind, thing = request.match_info["kind"], await request.json()
        name = thing["metadata"]["name"]
        if name in self.objects[kind]:
            return _status(409, f'{kind} "{name}" already exists')
        thing["metadata"]["uid"] = uuid4().hex
        if kind == "pods":
            thing["status"] = {"phase": "Pending"}
        return web.json_response(await self.put(kind, thing), status=201)

    async def _read(self, request: web.Request) -> web.Response:
        thing = self._thing(request)
        return _missing(request) if thing is None else web.json_response(thing)

    async def _patch(self, request: web.Request) -> web.Response:
        thing = self._thing(request)
        if thing is None:
            return _missing(request)
        return web.json_response(
            await self.put(request.match_info["kind"], _merged(thing, await request.json(loads=json.loads)))
        )

    async def _delete(self, request: web.Request) -> web.Response:
        kind, thing = request.match_info["kind"], self._thing(request)
        if thing is None:
            return _missing(request)
        options = json.loads(await request.text() or "{}")
        grace = options.get("gracePeriodSeconds")
        running = kind == "pods" and thing["spec"].get("nodeName")
        if running and grace != 0 and thing["status"]["phase"] not in ("Succeeded", "Failed"):
            marks = {"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": grace}
            await self.put(kind, _merged(thing, {"metadata": marks}))
        else:
            await self.drop(kind, thing["metadata"]["name"])
        return web.json_response({"status": "Success"})

    async def _log(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in self.objects["pods"]:
            return _missing(request)
        if self.objects["pods"][name]["spec"].get("nodeName") in self.cut_nodes:
            return _status(500, "dial tcp: no route to host")
        lines = self.logs.get(name, "").splitlines(keepends=True)
        return web.Response(text="".join(lines[-int(request.query["tailLines"]) :]))

    async def _list_nodes(self, _: web.Request) -> web.Response:
        return web.json_response({"metadata": {"resourceVersion": str(self.version)}, "items": self.nodes})

    async def _measured(self, _: web.Request) -> web.Response:
        if not self.metrics:
            return _status(404, "the server could not find the requested resource")
        return web.json_response({"metadata": {}, "items": list(self.metrics.values())})

    def _thing(self, request: web.Request) -> Json | None:
        return self.objects[request.match_info["kind"]].get(request.match_info["name"])


def kubeconfig(folder: Path, url: str) -> Path:
    """Write a configuration that leads to the server, and return its path."""
    file = folder / "kubeconfig"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "double",
        "clusters": [{"name": "double", "cluster": {"server": url}}],
        "contexts": [{"name": "double", "context": {"cluster": "double", "user": "double", "namespace": NAMESPACE}}],
        "users": [{"name": "double", "user": {"token": "a-token"}}],
    }
    file.write_text(json.dumps(content))
    return file


def _matches(thing: Json, selector: str) -> bool:
    labels = thing["metadata"].get("labels", {})
    parts = [part.partition("=") for part in selector.split(",") if part]
    return all(key in labels and (not equals or labels[key] == value) for key, equals, value in parts)


def _merged(thing: Json, patch: Json) -> Json:
    merged = copy.deepcopy(thing)
    for key, value in patch.items():
        merged[key] = _merged(merged.get(key) or {}, value) if isinstance(value, dict) else value
    return merged


def _missing(request: web.Request) -> web.Response:
    return _status(404, f'"{request.match_info["name"]}" not found')


def _status(code: int, message: str) -> web.Response:
    return web.json_response({"kind": "Status", "status": "Failure", "code": code, "message": message}, status=code)
