"""A load on a server of the management, by a number of callers or a rate of calls, and its answers.

It runs in a thread with an event loop of its own, and measures its lag, so that a slow generator is not mistaken for a
slow server.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import ceil
from typing import Any, Final
from uuid import uuid4

import aiohttp

from tests.support.management_servers import KEY, Management

MARGIN_SECONDS: Final = 5.0
"""Added to a call's timeout; a later answer counts as none."""
MAX_IN_FLIGHT: Final = 400
KEPT_SECONDS: Final = 2.0
"""Seconds for which an unused connection is kept: the server closes it after 5 s, perhaps as a call begins."""
UNANSWERED: Final = 0
"""Status of a call without an answer."""


@dataclass(frozen=True)
class Ask:
    """The request that is repeated."""

    model_id: str = "echo"
    input_data: Mapping[str, object] = field(default_factory=lambda: {"n": 1})
    priority: str = "normal"
    timeout: int = 30
    own: bool = False
    """Whether the model is asked at its own address; such a call may be repeated, because it has an Idempotency-Key."""

    @property
    def body(self) -> dict[str, object]:
        if self.own:
            return {"requests": [{"input_data": self.input_data}]}
        return {"input_data": self.input_data, "priority": self.priority, "timeout": self.timeout}

    @property
    def path(self) -> str:
        return f"/models/{self.model_id}/infer" if self.own else f"/api/v1/models/{self.model_id}/inference"

    @property
    def headers(self) -> dict[str, str]:
        if not self.own:
            return {}
        named = {"X-Atelier-Timeout": str(self.timeout), "X-Atelier-Priority": self.priority}
        return {**named, "Idempotency-Key": uuid4().hex}


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of a call."""

    status: int
    began: float
    """Start, by the monotonic clock."""
    seconds: float
    code: str = ""
    """Code of the error answer, or the class of the exception."""
    retry_after: str | None = None
    pid: int = 0
    version: str = ""

    @property
    def good(self) -> bool:
        return self.status == 200


class Traffic:
    """The answers so far; grows while the load runs."""

    def __init__(self, note: Callable[[Answer], None] | None = None) -> None:
        """``note`` is called with each answer; by default they are kept in ``answers``."""
        self.answers: list[Answer] = []
        self.lags: list[float] = []
        """Seconds by which each call of a rate was late."""
        self.unsent = 0
        """Calls of a rate that were skipped because too many were in flight."""
        self.over = threading.Event()
        """Set when the load has ended; setting it ends the load."""
        self.note = note or self.answers.append

    @property
    def failed(self) -> list[Answer]:
        return [answer for answer in self.answers if not answer.good]

    @property
    def told(self) -> str:
        """Counts of the failures, for the message of an assertion."""
        return str(Counter((answer.status, answer.code) for answer in self.failed))

    def since(self, began: float, until: float = float("inf")) -> list[Answer]:
        """Return the answers to calls that began in that time."""
        return [answer for answer in self.answers if began <= answer.began < until]


@contextmanager
def callers(server: Management, number: int, ask: Ask | None = None, *, most: int | None = None) -> Iterator[Traffic]:
    """Run callers that each send the next call after an answer, until the block ends or ``most`` calls were made."""
    traffic, asked = Traffic(), Ask() if ask is None else ask
    left = float("inf") if most is None else most

    async def caller(session: aiohttp.ClientSession) -> None:
        nonlocal left
        while left > 0 and not traffic.over.is_set():
            left -= 1
            traffic.note(await call(session, server, asked))

    async def work(session: aiohttp.ClientSession) -> None:
        await asyncio.gather(*(caller(session) for _ in range(number)))

    with _running(traffic, work):
        yield traffic


@contextmanager
def rate(
    server: Management, per_second: float, ask: Ask | None = None, *, note: Callable[[Answer], None] | None = None
) -> Iterator[Traffic]:
    """Send calls at a constant rate until the block ends, whether or not earlier ones are answered."""
    traffic, asked = Traffic(note), Ask() if ask is None else ask

    async def send(session: aiohttp.ClientSession) -> None:
        traffic.note(await call(session, server, asked))

    async def work(session: aiohttp.ClientSession) -> None:
        in_flight: set[asyncio.Task[None]] = set()
        due = time.monotonic()
        while not traffic.over.is_set():
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            traffic.lags.append(time.monotonic() - due)
            due += 1 / per_second
            if len(in_flight) >= MAX_IN_FLIGHT:
                traffic.unsent += 1
                continue
            task = asyncio.create_task(send(session))
            in_flight.add(task)
            task.add_done_callback(in_flight.discard)
        await asyncio.gather(*in_flight)

    with _running(traffic, work):
        yield traffic


async def call(session: aiohttp.ClientSession, server: Management, ask: Ask) -> Answer:
    """Make a call; never raises."""
    url = server.url + ask.path
    timeout = aiohttp.ClientTimeout(total=ask.timeout + MARGIN_SECONDS)
    began = time.monotonic()
    try:
        async with session.post(url, json=ask.body, headers=ask.headers, timeout=timeout) as answer:
            body: Any = await answer.json(content_type=None)
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        return Answer(UNANSWERED, began, time.monotonic() - began, type(error).__name__)
    seconds = time.monotonic() - began
    if answer.status == 200:
        output = body[0]["output_data"] if ask.own else body["output_data"]
        return Answer(200, began, seconds, pid=output.get("pid", 0), version=output.get("version", ""))
    return Answer(answer.status, began, seconds, body["error"]["code"], answer.headers.get("Retry-After"))


@contextmanager
def _running(traffic: Traffic, work: Callable[[aiohttp.ClientSession], Awaitable[None]]) -> Iterator[None]:
    broken: list[BaseException] = []

    async def main() -> None:
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEPT_SECONDS)
        async with aiohttp.ClientSession(connector=connector, headers={"X-API-Key": KEY}) as session:
            await work(session)

    def run() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:
            broken.append(error)
        finally:
            traffic.over.set()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        traffic.over.set()
        thread.join()
    if broken:
        raise broken[0]


def percentile(answers: Iterable[Answer], percent: float) -> float:
    """Return a percentile of the answers' seconds by the nearest-rank method."""
    times = sorted(answer.seconds for answer in answers)
    return times[max(0, ceil(percent / 100 * len(times)) - 1)]
