"""A double of a cluster's nodes: Pods run as small servers of this process, each at a loopback address of its own."""

from __future__ import annotations

import asyncio
import base64
import copy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import Any, Final

from aiohttp import web

from management.backends.replica.host import proof_of
from management.domain import quantities
from tests.doubles.kubernetes.api_server import ApiServer

NODE: Final = "node1"
TICK_SECONDS: Final = 0.01
ECHO: Final = "tests/echo:"
Json = dict[str, Any]

_addresses = count(1)


class Kubelet:
    """One node that runs the Pods of an API server."""

    network = "127.77"
    """The Pods' addresses begin so."""

    def __init__(self, api: ApiServer, tick_seconds: float = TICK_SECONDS) -> None:
        """``tick_seconds`` pass between two looks at the Pods."""
        self._api, self._tick_seconds = api, tick_seconds
        self._runners: dict[str, web.AppRunner] = {}
        self.waiting: dict[str, tuple[str, str]] = {}
        """Reason and message for which containers of an image wait, by image."""
        self.early_status = False
        """Whether a stopped Pod is said to have ended while its container is said to run, as before 1.27."""
        self.may_end = asyncio.Event()
        """What the container of such a Pod waits for."""
        self.may_end.set()
        self.hangs: set[str] = set()
        """Pods whose replica accepts connections and answers nothing, and that no signal but SIGKILL ends."""
        self.lost = False
        """Whether the node is without power."""
        api.nodes.append(node(NODE))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run Pods until the block ends."""
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            for name in list(self._runners):
                await self._end_server(name)

    async def _run(self) -> None:
        while True:
            if not self.lost:
                for pod in list(self._api.objects["pods"].values()):
                    await self._sync(copy.deepcopy(pod))
                for name in self._runners.keys() - self._api.objects["pods"].keys():
                    await self._end_server(name)
            await asyncio.sleep(self._tick_seconds)

    async def _sync(self, pod: Json) -> None:
        phase, name = pod["status"]["phase"], pod["metadata"]["name"]
        if phase in ("Succeeded", "Failed"):
            return
        if not pod["spec"].get("nodeName"):
            await self._schedule(pod)
        elif pod["spec"].get("activeDeadlineSeconds"):
            await self._stopped(pod)
        elif "deletionTimestamp" in pod["metadata"]:
            if name not in self.hangs or pod["metadata"]["deletionGracePeriodSeconds"] <= 1:
                await self._end_server(name)
                await self._api.drop("pods", name)
        elif phase == "Pending":
            await self._begin(pod)

    async def _schedule(self, pod: Json) -> None:
        asked = pod["spec"]["containers"][0]["resources"]["requests"]
        room = self._api.nodes[0]["status"]["allocatable"]
        if quantities.cpu_millicores(asked["cpu"]) > quantities.cpu_millicores(room["cpu"]):
            message = "0/1 nodes are available: 1 Insufficient cpu."
            condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
            if pod["status"].get("conditions") != [condition]:
                pod["status"]["conditions"] = [condition]
                await self._api.put("pods", pod)
            return
        pod["spec"]["nodeName"] = NODE
        await self._api.put("pods", pod)

    async def _begin(self, pod: Json) -> None:
        name, container = pod["metadata"]["name"], pod["spec"]["containers"][0]
        image = container["image"]
        waiting = self.waiting.get(image)
        if waiting is None and not image.startswith(ECHO):
            waiting = ("ErrImageNeverPull", f'Container image "{image}" is not present with pull policy of Never')
        if waiting is not None:
            state = {"waiting": {"reason": waiting[0], "message": waiting[1]}}
            if pod["status"].get("containerStatuses", [{}])[0].get("state") != state:
                pod["status"]["containerStatuses"] = [_status(state, ready=False)]
                await self._api.put("pods", pod)
            return
        variables = {variable["name"]: variable["value"] for variable in container["env"]}
        if variables.get("ECHO_FAIL"):
            self._api.logs[name] = "Traceback (most recent call last):\nRuntimeError: told to fail\n"
            await self._terminated(pod, 1, "Error", self._api.logs[name])
            return
        secret = self._api.objects["secrets"].get(f"{name}")
        assert secret is not None, "the Secret is there before the Pod"
        self._api.logs[name] = "the replica serves\n"
        number = next(_addresses)
        ip = f"{self.network}.{number // 250}.{number % 250 + 1}"
        await self._serve(name, ip, base64.b64decode(secret["data"]["token"]))
        running = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
        pod["status"] |= {"phase": "Running", "podIP": ip, "containerStatuses": [_status(running, ready=True)]}
        pod["status"]["conditions"] = [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "True"}]
        await self._api.put("pods", pod)

    async def _serve(self, name: str, ip: str, token: bytes) -> None:
        async def state(request: web.Request) -> web.Response:
            if name in self.hangs:
                await asyncio.Event().wait()
            proof = proof_of(token, request.query["nonce"].encode())
            return web.json_response({"proof": proof, "ready": True, "in_flight": 0})

        application = web.Application()
        application.router.add_get("/.atelier/state", state)
        runner = web.AppRunner(application, shutdown_timeout=0.01)
        await runner.setup()
        await web.TCPSite(runner, ip, 3000).start()
        self._runners[name] = runner

    async def _end_server(self, name: str) -> None:
        if runner := self._runners.pop(name, None):
            await runner.cleanup()

    async def _stopped(self, pod: Json) -> None:
        """End a Pod whose deadline has passed."""
        statuses = pod["status"].get("containerStatuses")
        if not self.early_status:
            await self._end_server(pod["metadata"]["name"])
            ended = {"terminated": {"exitCode": 0, "reason": "Completed"}}
            statuses = [_status(ended, ready=False)]
        pod["status"] |= {"phase": "Failed", "reason": "DeadlineExceeded", "containerStatuses": statuses}
        await self._api.put("pods", pod)
        await self.may_end.wait()
        await self._end_server(pod["metadata"]["name"])

    async def _terminated(self, pod: Json, code: int, reason: str, message: str = "") -> None:
        await self._end_server(pod["metadata"]["name"])
        state = {"terminated": {"exitCode": code, "reason": reason, "message": message}}
        phase = "Failed" if code else "Succeeded"
        pod["status"] |= {"phase": phase, "containerStatuses": [_status(state, ready=False)]}
        await self._api.put("pods", pod)

    async def end(self, name: str, code: int, reason: str = "Error") -> None:
        """End a Pod's container with this status."""
        await self._terminated(copy.deepcopy(self._api.objects["pods"][name]), code, reason)

    async def lose(self) -> None:
        """Lose the node, and have the cluster see it."""
        self.lost = True
        self._api.cut_nodes.add(NODE)
        for name in list(self._runners):
            await self._end_server(name)
        for pod in list(self._api.objects["pods"].values()):
            silent = copy.deepcopy(pod)
            for condition in silent["status"].get("conditions", ()):
                if condition["type"] == "Ready":
                    condition["status"] = "False"
            await self._api.put("pods", silent)


def node(name: str, cpu: str = "4", memory: str = "8Gi", **changes: Any) -> Json:
    """Return a node that is ready."""
    usual: Json = {
        "metadata": {"name": name},
        "spec": {},
        "status": {
            "allocatable": {"cpu": cpu, "memory": memory},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }
    return copy.deepcopy({**usual, **changes})


def _status(state: Json, *, ready: bool) -> Json:
    return {"name": "replica", "state": state, "ready": ready}
