"""One HTTP request at a model's own address, forwarded to a replica and answered as the replica answers."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Final

from starlette.types import Receive, Scope, Send

from management.errors import ModelFailed
from management.gateway.call import Call
from management.gateway.gateway import Gateway
from management.gateway.open_call import OpenAnswer
from management.gateway.replica_answer import EVENT_STREAM
from management.gateway.replica_errors import ReplicaError, ReplicaSilent
from management.proxy import bentoml_client
from management.proxy.addresses import Address
from management.proxy.bentoml_client import MAX_SCHEMA_BYTES
from management.proxy.bodies import body_of
from management.proxy.headers import for_caller, for_replica
from management.proxy.options import options_of
from web.edge.request_cycle import HEAD
from web.error_shape import Headers
from web.json import strict_json

REVISION_HEADER: Final = b"x-atelier-revision"
"""Header with the number of the revision that answers."""
QUEUE_HEADER: Final = b"x-atelier-queue-time"
"""Header with the seconds for which the request waited for a slot."""

logger = logging.getLogger(__name__)


class HttpExchange:
    """Forwards requests to replicas."""

    def __init__(self, gateway: Gateway, stream_seconds: float) -> None:
        """An answer that has begun is ended after ``stream_seconds`` without a piece."""
        self._gateway, self._stream_seconds = gateway, stream_seconds

    async def serve(self, address: Address, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request. Raises ManagementError while nothing of the answer is sent."""
        known = bentoml_client.is_client(scope)
        if known:
            address = bentoml_client.without_second_prefix(address)
        bento = await self._gateway.bento(address.model_id)
        body = await body_of(scope, receive)
        options = options_of(scope, bento, len(body) if isinstance(body, bytes) else 0)
        method = "HEAD" if scope.get(HEAD) else scope["method"]
        call = Call(method, address.target, address.path, for_replica(scope, address), body)
        async with self._gateway.open(address.model_id, call, options) as answer:
            headers = [*for_caller(answer.headers, scope, address), *about(answer.revision, answer.queued)]
            if known and address.path == bentoml_client.SCHEMA and 0 <= _length(headers) < MAX_SCHEMA_BYTES:
                await self._send_schema(answer, headers, address, send)
                return
            await send({"type": "http.response.start", "status": answer.status, "headers": headers})
            left = _length(headers)
            async for piece in self._readable(answer, headers):
                left -= len(piece)
                await send({"type": "http.response.body", "body": piece, "more_body": left != 0})
            if left:
                await send({"type": "http.response.body", "body": b""})

    async def _send_schema(self, answer: OpenAnswer, headers: Headers, address: Address, send: Send) -> None:
        """Send the model's schema as BentoML's client can use it."""
        schema = b"".join([piece async for piece in self._readable(answer, headers)])
        changed = bentoml_client.with_whole_paths(schema, address.prefix)
        kept = [(name, value) for name, value in headers if name != b"content-length"]
        length = (b"content-length", str(len(changed)).encode())
        await send({"type": "http.response.start", "status": answer.status, "headers": [*kept, length]})
        await send({"type": "http.response.body", "body": changed})

    async def _readable(self, answer: OpenAnswer, headers: Headers) -> AsyncIterator[bytes]:
        """The pieces of an answer. A readable stream of events that breaks ends with an event that says so.

        Raises BrokenAnswer for any other answer that breaks: its connection is closed before the answer's end.
        """
        try:
            async for piece in answer.pieces(self._stream_seconds):
                yield piece
        except ReplicaError as error:
            logger.warning("an answer of revision %s broke: %s", answer.revision, error)
            if not _takes_an_event(headers):
                raise BrokenAnswer from error
            yield _event(error)


class BrokenAnswer(Exception):
    """An answer that has begun cannot be completed."""


def about(revision: int, queued: float) -> Headers:
    """Return the headers that say which revision answers, and how long the request waited for it."""
    return [(REVISION_HEADER, str(revision).encode()), (QUEUE_HEADER, f"{queued:.4f}".encode())]


def _length(headers: Headers) -> int:
    """Return the bytes of an answer that names them; -1, which no piece makes 0, for any other answer."""
    value = next((value for name, value in headers if name == b"content-length"), b"")
    return int(value) if value.isdigit() and int(value) else -1


def _takes_an_event(headers: Headers) -> bool:
    """Return whether an event can follow: a compressed stream would be damaged by plain text."""
    kinds = [value.lower() for name, value in headers if name == b"content-type"]
    encodings = [value.strip().lower() for name, value in headers if name == b"content-encoding"]
    return any(kind.startswith(EVENT_STREAM.encode()) for kind in kinds) and set(encodings) <= {b"", b"identity"}


def _event(error: ReplicaError) -> bytes:
    """Return the last event of a stream that broke. It begins with an empty line, which ends an event that was cut."""
    reason = "the model was silent for too long" if isinstance(error, ReplicaSilent) else "the model's replica ended"
    data = strict_json.dumps({"error": {"code": ModelFailed.code, "message": reason}})
    return b"\n\nevent: error\ndata: " + data + b"\n\n"
