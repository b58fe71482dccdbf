"""A change of a wish, from the request to its answer: once for each Idempotency-Key, and with the outcome if asked."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from starlette.requests import Request

from management.api import messages
from management.api.errors import of_error
from management.api.messages import problem
from management.api.parsing import language
from management.control.commands import Caller
from management.domain.clock import now
from management.domain.keys import Key
from management.domain.records import Deployment, Replica, ReplicaState
from management.errors import (
    DeploymentFailed,
    InvalidRequest,
    KeyReused,
    ManagementError,
    RequestRunning,
    StoreUnavailable,
)
from management.faults import failpoints
from management.store import Session, Store
from web.answers import JSONAnswer

SPARE_SECONDS: Final = 5.0  # for a wait to be over in
T = TypeVar("T")
_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}\Z", re.ASCII)

Work = Callable[[Session, Caller], Deployment]
"""Changes the wish and returns it."""

Room = Callable[[str], AsyncIterator[None]]
"""Ways to make room for deleting a model on a full disk: each step that has made some, one after the other."""

Tell = Callable[[Deployment, int, str], dict[str, Any]]
"""The answer's body, from the deployment, the number of its replicas and the message."""


@dataclass(frozen=True)
class Change:
    """What is asked for: the work, its two messages (under way, done), and what the answer tells."""

    work: Work
    under_way: str
    done: str
    tell: Tell
    ends: bool = False
    """Whether it is done when the deployment is no more."""
    makes_room: str | None = None
    """The model of which everything ends; on a full disk its files may go first."""
    lasting: bool = True
    """Whether an Idempotency-Key is heeded; to delete twice is harmless without one."""


@dataclass(frozen=True)
class _Said:
    status: int
    body: dict[str, Any]


class Changes:
    """Carries changes out."""

    def __init__(
        self,
        store: Store,
        wake: Callable[[], None],
        refresh: Callable[[], Awaitable[None]],
        news: Callable[[], asyncio.Future[None]],
        room: Room,
    ) -> None:
        """``wake`` tells the supervisor, ``refresh`` lets this worker learn what changed, ``news`` ends when it did."""
        self._store, self._wake, self._refresh, self._news, self._room = store, wake, refresh, news, room

    async def make(self, request: Request, change: Change, wait: float | None) -> JSONAnswer:
        """The answer: 202, or after a wait 200 when it is done and 202 when not yet. Raises ManagementError."""
        spoken = language(request)
        key: Key = request.scope["state"]["key"]
        caller = Caller(key.name, spoken)
        once = await _once(request, key) if change.lasting else None
        said, deployment = await self._begin(change, caller, once, wait or 0.0)
        if deployment is None:
            return JSONAnswer(said.body, status_code=said.status, headers={"Idempotency-Replayed": "true"})
        self._wake()
        if wait:
            try:
                said = await self._outcome(change, deployment, caller, said, wait)
                await self._refresh()  # who was told that it is done can use it
            finally:
                if once is not None:  # also when the caller left: the key must not seem to be in use
                    await asyncio.shield(self._note(once, said))
        return JSONAnswer(said.body, status_code=said.status)

    async def _begin(
        self, change: Change, caller: Caller, once: _Once | None, wait: float
    ) -> tuple[_Said, Deployment | None]:
        """Changes the wish and notes the answer in one transaction; without a deployment it is an earlier answer."""

        def write(session: Session) -> tuple[_Said, Deployment | None]:
            if once is not None and (before := session.answers.begin(*once.who, once.request, now())) is not None:
                if before.request != once.request:
                    raise KeyReused
                if before.running:
                    raise RequestRunning(retry_after=1)
                return _Said(before.status, before.body), None
            deployment = change.work(session, caller)
            failpoints.reach("wish.written")
            alive = _alive(session.replicas.of([deployment.id]))
            said = _Said(202, self._told(change, change.under_way, deployment, alive, caller))
            if once is not None:
                session.answers.answer(*once.who, said.status, said.body, _end_of(wait))
            return said, deployment

        try:
            begun = await self._written(change, write)
        except (KeyReused, RequestRunning):
            raise
        except ManagementError as error:
            if once is not None and error.status < 500 and error.retry_after is None:
                await self._note_refusal(once, error, caller)
            raise
        failpoints.reach("wish.committed")
        return begun

    async def _written(self, change: Change, write: Callable[[Session], T]) -> T:
        """What the transaction gives; where a full disk refuses a deletion, again for each step that made room."""
        try:
            return await self._store.write(write)
        except StoreUnavailable:
            if change.makes_room is None:
                raise
            async for _ in self._room(change.makes_room):
                with suppress(StoreUnavailable):
                    return await self._store.write(write)
            raise

    async def _note(self, once: _Once, said: _Said) -> None:
        await self._store.write(
            lambda session: session.answers.answer(*once.who, said.status, said.body), counted=False
        )

    async def _note_refusal(self, once: _Once, error: ManagementError, caller: Caller) -> None:
        """The same request is refused the same way again; what passes by itself may be tried again."""
        status, body = of_error(error, caller.language)

        def write(session: Session) -> None:
            if session.answers.begin(*once.who, once.request, now()) is None:
                session.answers.answer(*once.who, status, body)

        await self._store.write(write, counted=False)

    async def _outcome(self, change: Change, deployment: Deployment, caller: Caller, said: _Said, wait: float) -> _Said:
        """What it came to within so many seconds."""
        try:
            async with asyncio.timeout(wait):
                while True:
                    news = self._news()  # before the look: what comes after it is not missed
                    alive = await self._done(change, deployment)
                    if alive is not None:
                        break
                    await asyncio.shield(news)
        except TimeoutError:
            return said
        except DeploymentFailed as error:
            return _Said(*of_error(error, caller.language))
        return _Said(200, self._told(change, change.done, deployment, alive, caller))

    async def _done(self, change: Change, wish: Deployment) -> int | None:
        """How many replicas there are once it is done; None before."""

        def look(session: Session) -> tuple[Deployment | None, list[Replica]]:
            current = session.deployments.get(wish.model_id)
            return current, session.replicas.of([wish.id])

        current, replicas = await self._store.read(look)
        if current is None or current.id != wish.id:
            if change.ends:
                return 0
            raise DeploymentFailed({"model_id": wish.model_id, "reason": "deleted", "log": []})
        if change.ends:
            return None
        if current.gave_up or current.wanted.number < wish.wanted.number:
            raise _failure(current, wish, replicas)
        return _alive(replicas) if _is_true(current, replicas) else None

    def _told(self, change: Change, key: str, deployment: Deployment, alive: int, caller: Caller) -> dict[str, Any]:
        values = {"model_id": deployment.model_id, "replicas": deployment.replicas}
        return change.tell(deployment, alive, messages.text(messages.DONE, key, caller.language, **values))


def _end_of(wait: float) -> datetime | None:
    """When a request that waits so long is answered at the latest."""
    return now() + timedelta(seconds=wait + SPARE_SECONDS) if wait else None


@dataclass(frozen=True)
class _Once:
    """A caller's Idempotency-Key, and the digest of the request that came with it."""

    who: tuple[str, str]
    request: str


async def _once(request: Request, key: Key) -> _Once | None:
    given = request.headers.getlist("idempotency-key")
    if not given:
        return None
    if len(given) > 1 or not _KEY.match(given[0]):
        raise InvalidRequest({"problems": [problem("Idempotency-Key", "header", language(request))]})
    scope = request.scope
    told = f"{scope['method']} {scope['path']}\n".encode() + await request.body()  # how long to wait may differ
    return _Once((key.id, given[0]), hashlib.sha256(told).hexdigest())


def _alive(replicas: list[Replica]) -> int:
    """Those that are wanted: what drains is on its way out."""
    return sum(one.state.wanted for one in replicas)


def _is_true(wish: Deployment, replicas: list[Replica]) -> bool:
    """Whether as many replicas of the wanted revision serve as wished, and no others get requests."""
    serving = [one for one in replicas if one.state.wanted]
    fresh = [one for one in serving if one.revision.number == wish.wanted.number]
    ready = [one for one in fresh if one.state is ReplicaState.READY]
    return len(ready) == len(serving) == wish.replicas


def _failure(current: Deployment, wish: Deployment, replicas: list[Replica]) -> DeploymentFailed:
    failed = [one for one in replicas if one.state is ReplicaState.FAILED and one.revision.number == wish.wanted.number]
    return DeploymentFailed(
        {
            "model_id": wish.model_id,
            "reason": current.reason or current.abandoned_for,
            "log": failed[-1].log_tail.splitlines() if failed else [],
            "serving": current.wanted.config.version if current.wanted.number != wish.wanted.number else None,
        }
    )
