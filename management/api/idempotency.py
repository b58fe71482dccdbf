"""Each Idempotency-Key makes its change once: the reply is recorded in the change's transaction, then replayed."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

from fastapi import Header, Query
from starlette.requests import Request

from management.api.parsing import language, only_documents, query
from management.api.schemas import WaitQuery
from management.control.deployments import Deployments
from management.domain.keys import Key
from management.domain.records import Deployment
from management.errors import DeploymentFailed, InvalidRequest, KeyReused, ManagementError, Problem, RequestRunning
from management.faults import failpoints
from management.store import Session, Store
from management.wording.errors import of_error
from web.answers import JSONAnswer

WAIT_MARGIN_SECONDS: Final = 5.0
"""Seconds after a request's longest wait from which its recorded reply counts as final, even if its server died."""
_KEY: Final = r"[\x21-\x7e]{1,255}"

Body = dict[str, Any]


@dataclass(frozen=True)
class IdempotencyKey:
    """A caller's key, and the digest of its request."""

    owner: str
    """The id of the API key."""
    key: str
    request: str
    """SHA-256 of method, path and body, in hexadecimal."""


@dataclass
class Reply:
    """The reply to one change. With a key it is recorded, and on a replay it is the recorded one."""

    _deployments: Deployments
    _key: IdempotencyKey | None
    wait: float
    """The longest time in seconds to wait for the outcome; 0 answers at once."""
    status: int = 0
    body: Body = field(default_factory=dict)
    replayed: bool = False

    async def commit(
        self,
        change: Callable[[Session], Deployment],
        accepted: Callable[[Session, Deployment], Body],
        *,
        deleting: str | None = None,
    ) -> Deployment:
        """Make the change and record its reply (202) in one transaction. A replay leaves the surrounding block."""

        def write(session: Session) -> Deployment:
            self._begin(session)
            deployment = change(session)
            failpoints.reach("change.written")
            body = accepted(session, deployment)
            if self._key is not None:
                session.idempotency_keys.record(
                    self._key.owner, self._key.key, 202, body, _deadline(session, self.wait)
                )
            self.body = body
            return deployment

        deployment = await self._deployments.commit(write, deleting=deleting)
        self.status = 202
        return deployment

    def done(self, body: Body) -> None:
        """Reply 200 with the outcome."""
        self.status, self.body = 200, body

    def response(self) -> JSONAnswer:
        """The HTTP response; a header marks a replay."""
        headers = {"Idempotency-Replayed": "true"} if self.replayed else {}
        return JSONAnswer(self.body, status_code=self.status, headers=headers)

    def _begin(self, session: Session) -> None:
        """Record the key. Raises _ReplayError, KeyReused or RequestRunning if it was used before."""
        if self._key is None:
            return
        earlier = session.idempotency_keys.begin(self._key.owner, self._key.key, self._key.request, session.clock.now())
        if earlier is None:
            return
        if earlier.request != self._key.request:
            raise KeyReused
        if earlier.running:
            raise RequestRunning(retry_after=1)
        raise _ReplayError(earlier.status, earlier.body)


@only_documents
async def read_by_once(
    _query: Annotated[WaitQuery, Query()],
    _key: str = Header(
        None,
        alias="Idempotency-Key",
        pattern=f"^{_KEY}$",
        description="A repeated request with the same key and body gets the first answer, for 24 hours.",
    ),
) -> None:
    """What ``Idempotency.once`` reads of a request."""


class Idempotency:
    """Creates the reply of each change, with or without an Idempotency-Key."""

    def __init__(self, store: Store, deployments: Deployments) -> None:
        self._store, self._deployments = store, deployments

    @asynccontextmanager
    async def once(self, request: Request) -> AsyncIterator[Reply]:
        """The reply to one change. A failed deployment becomes the reply; other errors are raised.

        Raises InvalidRequest for a wrong query or key; it reads what ``read_by_once`` documents.
        """
        wait = query(request, WaitQuery).wait
        key = await _key_of(request)
        async with self._replying(request, key, wait) as reply:
            yield reply

    @asynccontextmanager
    async def always(self, request: Request, wait: float) -> AsyncIterator[Reply]:
        """As ``once``, for a change that is harmless when repeated: no key is read."""
        async with self._replying(request, None, wait) as reply:
            yield reply

    @asynccontextmanager
    async def _replying(self, request: Request, key: IdempotencyKey | None, wait: float) -> AsyncIterator[Reply]:
        reply = Reply(self._deployments, key, wait)
        try:
            yield reply
        except _ReplayError as replay:
            reply.status, reply.body, reply.replayed = replay.status, replay.body, True
        except DeploymentFailed as failed:
            reply.status, reply.body = of_error(failed, language(request))
        except ManagementError as error:
            if not reply.status:
                await self._record_refusal(request, key, error)
            raise
        finally:
            if key is not None and wait and reply.status and not reply.replayed:
                # Shielded, because the key of a caller that disconnected must not stay in use.
                await asyncio.shield(self._record(key, reply))

    async def _record(self, key: IdempotencyKey, reply: Reply) -> None:
        await self._store.write(
            lambda session: session.idempotency_keys.record(key.owner, key.key, reply.status, reply.body), counted=False
        )

    async def _record_refusal(self, request: Request, key: IdempotencyKey | None, error: ManagementError) -> None:
        """Record a refusal for retries with this key. Temporary ones can be retried, so they are not recorded."""
        lasting = error.status < 500 and error.retry_after is None and not isinstance(error, KeyReused)
        if key is None or not lasting:
            return
        status, body = of_error(error, language(request))

        def write(session: Session) -> None:
            if session.idempotency_keys.begin(key.owner, key.key, key.request, session.clock.now()) is None:
                session.idempotency_keys.record(key.owner, key.key, status, body)

        await self._store.write(write, counted=False)


class _ReplayError(Exception):
    """The key was used for the same request before; its recorded reply is the answer."""

    def __init__(self, status: int, body: Body) -> None:
        super().__init__()
        self.status, self.body = status, body


def _deadline(session: Session, wait: float) -> datetime | None:
    """The latest time at which a request with this wait is answered; None without a wait."""
    return session.clock.now() + timedelta(seconds=wait + WAIT_MARGIN_SECONDS) if wait else None


async def _key_of(request: Request) -> IdempotencyKey | None:
    """The request's key, if it has one. Raises InvalidRequest for a malformed one."""
    given = request.headers.getlist("idempotency-key")
    if not given:
        return None
    if len(given) > 1 or not re.fullmatch(_KEY, given[0]):
        raise InvalidRequest(Problem("Idempotency-Key", "header"))
    owner: Key = request.scope["state"]["key"]
    # The query is left out of the digest, because a retry may wait for another number of seconds.
    content = f"{request.scope['method']} {request.scope['path']}\n".encode() + await request.body()
    return IdempotencyKey(owner.id, given[0], hashlib.sha256(content).hexdigest())
