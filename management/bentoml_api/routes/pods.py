"""Websockets: the replicas of a deployment as pods, and their logs as they grow."""

from __future__ import annotations

import asyncio
import json
import logging
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any, Final

from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from management.auth.access import KeyCache
from management.bentoml_api.catalog import Catalog, Records
from management.bentoml_api.errors import sentence
from management.bentoml_api.log_stream import LogStream
from management.bentoml_api.states import CloudStatus
from management.bentoml_api.views import deployments as views
from management.control.log_lines import printable
from management.errors import ManagementError, ModelNotFound

BUILDER: Final = "builder."
"""Beginning of the name of the pod that stands for a deployment's start."""
CODESPACE: Final = "codespace."
"""Beginning of the name of the pod that stands for a codespace, whichever replicas it has."""
REPOSITORY: Final = "yatai.ai/bento-repository"
VERSION: Final = "yatai.ai/bento"
ASK_SECONDS: Final = 30.0
"""Seconds in which the client has to say which log it wants."""
MAX_MESSAGE_CHARACTERS: Final = 64 * 1024
MAX_TAIL: Final = 1000
POLICY: Final = 1008
"""Close code of a websocket whose client asks for nothing, or whose key was revoked."""
END: Final = {"type": "success", "message": "EOF", "payload": None}

logger = logging.getLogger(__name__)


class PodRoutes:
    """An error is a message of the type ``error``, which the client prints."""

    def __init__(self, catalog: Catalog, logs: LogStream, keyring: KeyCache) -> None:
        self._catalog, self._logs, self._keyring = catalog, logs, keyring

    def routes(self) -> list[WebSocketRoute]:
        """The routes."""
        return [
            WebSocketRoute("/ws/v2/deployments/{name}/pods", self.pods),
            WebSocketRoute("/ws/v1/clusters/{cluster}/pods", self.builders),
            WebSocketRoute("/ws/v1/clusters/{cluster}/tail", self.tail),
        ]

    async def pods(self, socket: WebSocket) -> None:
        """The replicas of a deployment."""
        await socket.accept()
        try:
            shown = await self._catalog.deployment(socket.path_params["name"])
        except ManagementError as error:
            await _fail(socket, error)
            return
        service = shown.bento.service if shown.bento is not None else shown.deployment.target.config.name
        if shown.edited is not None:
            await _answer(socket, [views.codespace_pod(CODESPACE + shown.deployment.model_id, service)])
            return
        alive = [replica for replica in shown.replicas if replica.state.alive]
        await _answer(socket, [views.pod(replica, service) for replica in alive])

    async def builders(self, socket: WebSocket) -> None:
        """The starts of deployments of one Bento that are under way, the latest change first."""
        await socket.accept()
        wanted = _selected(socket.query_params.get("selector", ""))
        try:
            found = [records[0] for records in await self._catalog.all() if await self._starts(records, wanted)]
        except ManagementError as error:
            await _fail(socket, error)
            return
        found.sort(key=lambda deployment: deployment.updated_at, reverse=True)
        await _answer(socket, [views.builder_pod(BUILDER + deployment.model_id) for deployment in found])

    async def _starts(self, records: Records, wanted: Mapping[str, str]) -> bool:
        """Whether the target of a deployment is of the wanted Bento, and no replica of it has been ready yet."""
        shown = await self._catalog.shown(*records)
        tag = None if shown.bento is None else shown.bento.tag
        is_wanted = tag is not None and {REPOSITORY: tag.name, VERSION: tag.version} == wanted
        return is_wanted and shown.status is CloudStatus.IMAGE_BUILDING

    async def tail(self, socket: WebSocket) -> None:
        """The log of a pod, until the pod or the client has ended."""
        await socket.accept()
        try:
            async with asyncio.timeout(ASK_SECONDS):
                asked = await _asked(socket)
        except TimeoutError:
            await socket.close(POLICY)
            return
        except WebSocketDisconnect:
            return
        sending = asyncio.create_task(self._send(socket, socket.query_params.get("pod_name", ""), asked))
        leaving = asyncio.create_task(_left(socket))
        revoking = asyncio.create_task(self._keyring.until_invalid(socket.scope["state"]["key"]))
        tasks = {sending, leaving, revoking}
        _, unfinished = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in unfinished:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if sending.done() and not sending.cancelled() and (error := sending.exception()) is not None:
            logger.error("a log could not be sent", exc_info=error)
        if socket.client_state is WebSocketState.CONNECTED and socket.application_state is WebSocketState.CONNECTED:
            await socket.close(1000 if revoking in unfinished else POLICY)

    async def _send(self, socket: WebSocket, pod: str, asked: dict[str, Any]) -> None:
        try:
            async for lines in await self._lines(pod, asked):
                text = "".join(f"{printable(line)}\n" for line in lines)
                items = [b64encode(text.encode()).decode()]
                await socket.send_json({"type": "data", "message": None, "payload": {"items": items, "type": "append"}})
            await socket.send_json(END)
        except ManagementError as error:
            await _fail(socket, error)
        except WebSocketDisconnect:
            pass

    async def _lines(self, pod: str, asked: dict[str, Any]) -> AsyncIterator[list[str]]:
        if pod.startswith(BUILDER):
            return self._logs.of_start(pod.removeprefix(BUILDER))
        last = asked.get("tail_lines")
        count = min(last, MAX_TAIL) if isinstance(last, int) and last >= 0 else MAX_TAIL
        if pod.startswith(CODESPACE):
            return self._logs.of_codespace(pod.removeprefix(CODESPACE), count)
        for deployment, replicas, _ in await self._catalog.all():
            if any(replica.id == pod for replica in replicas):
                follow = asked.get("follow") is not False
                return self._logs.of_replica(deployment.model_id, pod, count, follow=follow)
        raise ModelNotFound({"pod": pod})


async def _asked(socket: WebSocket) -> dict[str, Any]:
    """Which log the client wants: the payload of its first message that is no heartbeat."""
    while True:
        received = await socket.receive()
        if received["type"] == "websocket.disconnect":
            raise WebSocketDisconnect
        message = _parsed(received.get("text") or "")
        if message.get("type") == "data":
            payload = message.get("payload")
            return payload if isinstance(payload, dict) else {}


async def _left(socket: WebSocket) -> None:
    """Wait until the client has left; its heartbeats need no answer."""
    try:
        while True:
            await socket.receive()
    except (WebSocketDisconnect, RuntimeError):
        return


def _parsed(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text) if len(text) <= MAX_MESSAGE_CHARACTERS else None
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _selected(selector: str) -> dict[str, str]:
    """The labels of a selector such as ``a=1,b=2``."""
    pairs = (pair.partition("=") for pair in selector.split(","))
    return {name: value for name, _, value in pairs}


async def _answer(socket: WebSocket, payload: list[dict[str, Any]]) -> None:
    with suppress(WebSocketDisconnect):
        await socket.send_json({"type": "success", "message": "", "payload": payload})
        await socket.close()


async def _fail(socket: WebSocket, error: ManagementError) -> None:
    with suppress(WebSocketDisconnect):
        await socket.send_json({"type": "error", "message": sentence(error), "payload": None})
        await socket.close()
