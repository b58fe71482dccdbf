"""One websocket at a model's own address, connected to a replica until either side closes it."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from starlette.types import Message, Receive, Scope, Send

from management.auth.access import KeyCache
from management.domain.keys import Key
from management.gateway.call import Handshake
from management.gateway.gateway import Gateway
from management.gateway.open_call import OpenSocket
from management.gateway.replica_answer import ReplicaSocket
from management.gateway.replica_errors import HandshakeRefused, ReplicaError
from management.proxy.addresses import Address
from management.proxy.exchange import about
from management.proxy.headers import for_replica
from management.proxy.options import options_of
from web.edge.websockets import deny
from web.error_shape import error_response

NO_CODE: Final = 1005
"""Close code of a websocket that was closed without one; it may not be sent."""
NORMAL: Final = 1000
LEFT: Final = 1001
"""Close code of a websocket whose caller has gone without closing it."""
UNSENT: Final = {NO_CODE: NORMAL, 1006: LEFT, 1015: LEFT}
"""Close codes that say how a websocket ended and may not be sent, and what is sent instead."""
SILENT: Final = 1001
"""Close code of a websocket without a message for too long."""
REFUSED: Final = 1008
"""Close code of a websocket whose key was revoked, or has expired."""
RESTART: Final = 1012
"""Close code of a websocket whose replica has ended: the caller may connect again."""

logger = logging.getLogger(__name__)


class WebSocketExchange:
    """Connects websockets to replicas."""

    def __init__(self, gateway: Gateway, stream_seconds: float, keyring: KeyCache) -> None:
        """A websocket without a message for ``stream_seconds`` is closed, and one whose key in ``keyring`` ends."""
        self._gateway, self._stream_seconds, self._keyring = gateway, stream_seconds, keyring

    async def serve(self, address: Address, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the websocket. Raises ManagementError while it is not accepted."""
        await receive()  # the request to connect
        bento = await self._gateway.bento(address.model_id)
        headers = for_replica(scope, address)
        handshake = Handshake(address.target, address.path, headers, tuple(scope.get("subprotocols", ())))
        incoming = _Incoming(receive)
        try:
            async with self._gateway.connect(address.model_id, handshake, options_of(scope, bento)) as opened:
                incoming.cancel_no_more()
                await _accept(opened, scope, send)
                code = await self._pump(opened, incoming.receive, send, scope["state"].get("key"))
                if code is not None:
                    await send({"type": "websocket.close", "code": code})
        except HandshakeRefused as refused:
            response = error_response(refused.status)
            await deny(scope, send, response, [], response.body())
        finally:
            incoming.close()

    async def _pump(self, opened: OpenSocket, receive: Receive, send: Send, key: Key | None) -> int | None:
        """Pass messages both ways. Return the code to close with; None where the caller has closed it."""
        socket = opened.socket
        activity = _Activity(self._stream_seconds)
        incoming = asyncio.create_task(_to_replica(socket, receive, activity))
        outgoing = asyncio.create_task(_to_caller(socket, send, activity))
        silent = asyncio.create_task(activity.end())
        unknown = asyncio.create_task(_forever() if key is None else self._keyring.until_invalid(key))
        tasks = (incoming, outgoing, silent, unknown)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if incoming.done() or activity.left:  # the replica, too, closes its side when the caller has left
                return await incoming
            if outgoing.done():
                return await outgoing
            return REFUSED if unknown.done() else SILENT
        except ReplicaError as error:
            logger.warning("a websocket of revision %s broke: %s", opened.revision, error)
            opened.record_break(str(error))
            return RESTART
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


class _Incoming:
    """The caller's messages. A caller who leaves while the websocket waits for a replica cancels the task."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._task = asyncio.current_task()
        self._first: asyncio.Task[Message] | None = asyncio.create_task(_next(receive))
        self._first.add_done_callback(self._cancel)

    def _cancel(self, first: asyncio.Task[Message]) -> None:
        left = not first.cancelled() and (first.exception() or first.result()["type"] == "websocket.disconnect")
        if left and self._task is not None:
            self._task.cancel()

    def cancel_no_more(self) -> None:
        """The websocket has its replica: what comes now is a message."""
        self._task = None

    async def receive(self) -> Message:
        """The next message."""
        if self._first is None:
            return await self._receive()
        message, self._first = await self._first, None
        return message

    def close(self) -> None:
        """Wait for messages no more."""
        self._task = None
        if self._first is not None:
            self._first.cancel()


async def _forever() -> None:
    await asyncio.Event().wait()


async def _next(receive: Receive) -> Message:
    return await receive()


class _Activity:
    """When the last message came."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._last = self._now()
        self.left = False
        """Whether the caller has closed the websocket, or is gone."""

    def note(self) -> None:
        """A message has come."""
        self._last = self._now()

    async def end(self) -> None:
        """Return once no message has come for so many seconds."""
        while (left := self._last + self._seconds - self._now()) > 0:  # noqa: ASYNC110 - an event for each message
            await asyncio.sleep(left)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


async def _accept(opened: OpenSocket, scope: Scope, send: Send) -> None:
    headers = [*about(opened.revision, opened.queued), (b"x-request-id", scope["state"]["request_id"].encode())]
    await send({"type": "websocket.accept", "subprotocol": opened.socket.protocol, "headers": headers})


async def _to_replica(socket: ReplicaSocket, receive: Receive, activity: _Activity) -> int | None:
    """Pass the caller's messages on. Return None once the caller has closed the websocket. Raises ReplicaError."""
    while True:
        message = await receive()
        activity.note()
        if message["type"] == "websocket.disconnect":
            activity.left = True
            code = int(message.get("code") or NORMAL)
            await socket.close(UNSENT.get(code, code))
            return None
        text = message.get("text")
        await socket.send(message["bytes"] if text is None else text)


async def _to_caller(socket: ReplicaSocket, send: Send, activity: _Activity) -> int | None:
    """Pass the replica's messages on. Return the code with which the replica has closed; None where the caller is gone.

    Raises ReplicaError.
    """
    async for message in socket.messages():
        activity.note()
        try:
            await send({"type": "websocket.send", "text" if isinstance(message, str) else "bytes": message})
        except OSError:  # so the server says that the caller is gone
            return None
    code = socket.close_code
    return NORMAL if code in (None, NO_CODE) else code
