"""A cluster of simulated Pods, which answer probes from one process at loopback addresses of their own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import count, cycle, islice
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from management.backends.kubernetes.manifest import PORT, REPLICA
from management.backends.replica.host import STATE, proof_of
from tests.doubles.kubernetes.api_server import ApiServer, kubeconfig
from tests.doubles.kubernetes.kubelet import NODE, Kubelet, node

TICK_SECONDS: Final = 0.5
"""Seconds between two looks of the node at its Pods."""
CHANGE_SECONDS: Final = 0.1
"""Seconds between two rounds of changes."""
MEASURE_SECONDS: Final = 15.0
"""Seconds between two measurements of a metrics server by default."""


class Node(Kubelet):
    """A node with room for any number of Pods."""

    network = f"127.{100 + os.getpid() % 100}"
    """Two benchmarks, or a test beside one, need addresses of their own."""

    def __init__(self, api: ApiServer) -> None:
        super().__init__(api, TICK_SECONDS)
        api.nodes[:] = [node(NODE, cpu="10000", memory="100Ti")]
        self.probes = 0
        """Probes answered so far."""
        self._tokens: dict[str, bytes] = {}
        self._runner: web.AppRunner | None = None
        self._sites: dict[str, web.TCPSite] = {}

    async def _serve(self, name: str, ip: str, token: bytes) -> None:
        """Add the Pod's address to one server: a server for each Pod would take far more memory."""
        if self._runner is None:
            application = web.Application()
            application.router.add_get(STATE, self._state)
            self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.01, keepalive_timeout=3600)
            await self._runner.setup()
        self._tokens[ip], self._runners[name] = token, self._runner
        self._sites[name] = web.TCPSite(self._runner, ip, PORT)
        await self._sites[name].start()

    async def _end_server(self, name: str) -> None:
        if self._runners.pop(name, None) is not None:
            await self._sites.pop(name).stop()
        if self._runner is not None and not self._sites:
            await self._runner.cleanup()
            self._runner = None

    async def _state(self, request: web.Request) -> web.Response:
        self.probes += 1
        token = self._tokens[request.url.host or ""]
        proof = proof_of(token, request.query["nonce"].encode())
        return web.json_response({"proof": proof, "ready": True, "in_flight": 0})


class Cluster:
    """An API server with one node and a metrics server."""

    def __init__(self) -> None:
        self.api = ApiServer()
        self.node = Node(self.api)
        self.changes_per_second = 0.0
        """Pods whose description changes each second, without consequence."""

    @asynccontextmanager
    async def running(self, folder: Path) -> AsyncIterator[Path]:
        """Serve the cluster until the block ends; yields a configuration that leads to it."""
        async with self.api.serving() as url, self.node.running():
            tasks = [asyncio.create_task(self._measure()), asyncio.create_task(self._change())]
            try:
                yield kubeconfig(folder, url)
            finally:
                for task in tasks:
                    task.cancel()

    async def _measure(self) -> None:
        while True:
            now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            for name, pod in self.api.objects["pods"].items():
                self.api.metrics[name] = _measured(name, pod["metadata"]["labels"][REPLICA], now)
            await asyncio.sleep(MEASURE_SECONDS)

    async def _change(self) -> None:
        due = 0.0
        for number in count():
            due += self.changes_per_second * CHANGE_SECONDS
            pods = list(self.api.objects["pods"].values())
            for pod in islice(cycle(pods), number, number + int(due)):
                pod["metadata"]["annotations"] = {"changed": str(number)}
                await self.api.put("pods", pod)
            due -= int(due)
            await asyncio.sleep(CHANGE_SECONDS)


def _measured(name: str, replica_id: str, now: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": {REPLICA: replica_id}},
        "timestamp": now,
        "window": "15s",
        "containers": [{"name": "replica", "usage": {"cpu": "25m", "memory": "131072Ki"}}],
    }
