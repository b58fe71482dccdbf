"""A load on a server of the management: so many callers, or so many calls a second, and what each was answered.

It runs in a thread with an event loop of its own, and measures how far it falls behind, so that a slow generator is
not taken for a slow server.
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

import aiohttp

from tests.support.management_servers import KEY, Management

SPARE_SECONDS: Final = 5.0
"""Beyond a call's timeout: whoever is not answered by then is not answered at all."""
MOST_IN_FLIGHT: Final = 400
UNANSWERED: Final = 0
"""The status of a call without an answer."""


@dataclass(frozen=True)
class Ask:
    """What is asked, again and again."""

    model_id: str = "echo"
    input_data: Mapping[str, object] = field(default_factory=lambda: {"n": 1})
    priority: str = "normal"
    timeout: int = 30

    @property
    def body(self) -> dict[str, object]:
        return {"input_data": self.input_data, "priority": self.priority, "timeout": self.timeout}


@dataclass(frozen=True, slots=True)
class Answer:
    """What one call came to."""

    status: int
    began: float
    """By the monotonic clock."""
    seconds: float
    code: str = ""
    """The error's, or what broke off."""
    retry_after: str | None = None
    pid: int = 0
    version: str = ""

    @property
    def good(self) -> bool:
        return self.status == 200


class Traffic:
    """What was asked and answered so far; it grows while the load runs."""

    def __init__(self, note: Callable[[Answer], None] | None = None) -> None:
        """``note`` gets each answer; without it they are kept."""
        self.answers: list[Answer] = []
        self.lags: list[float] = []
        """Seconds that calls of a rate were sent too late."""
        self.unsent = 0
        """Calls of a rate that were left out, because too many were in flight."""
        self.over = threading.Event()
        """Set when the load has ended by itself, and to end it."""
        self.note = note or self.answers.append

    @property
    def failed(self) -> list[Answer]:
        return [one for one in self.answers if not one.good]

    @property
    def told(self) -> str:
        """The failures, counted, for a test that did not expect them."""
        return str(Counter((one.status, one.code) for one in self.failed))

    def since(self, began: float, until: float = float("inf")) -> list[Answer]:
        """The answers to calls of that time."""
        return [one for one in self.answers if began <= one.began < until]


@contextmanager
def callers(server: Management, number: int, ask: Ask | None = None, *, most: int | None = None) -> Iterator[Traffic]:
    """So many callers, who ask one call after the other, until the block ends or ``most`` calls were made."""
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
    """So many calls a second, whatever becomes of them, until the block ends."""
    traffic, asked = Traffic(note), Ask() if ask is None else ask

    async def one(session: aiohttp.ClientSession) -> None:
        traffic.note(await call(session, server, asked))

    async def work(session: aiohttp.ClientSession) -> None:
        flying: set[asyncio.Task[None]] = set()
        due = time.monotonic()
        while not traffic.over.is_set():
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            traffic.lags.append(time.monotonic() - due)
            due += 1 / per_second
            if len(flying) >= MOST_IN_FLIGHT:
                traffic.unsent += 1
                continue
            task = asyncio.create_task(one(session))
            flying.add(task)
            task.add_done_callback(flying.discard)
        await asyncio.gather(*flying)

    with _running(traffic, work):
        yield traffic


async def call(session: aiohttp.ClientSession, server: Management, ask: Ask) -> Answer:
    """One call, which never raises."""
    url = f"{server.url}/api/v1/models/{ask.model_id}/inference"
    timeout = aiohttp.ClientTimeout(total=ask.timeout + SPARE_SECONDS)
    began = time.monotonic()
    try:
        async with session.post(url, json=ask.body, timeout=timeout) as answer:
            said: dict[str, Any] = await answer.json(content_type=None)
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        return Answer(UNANSWERED, began, time.monotonic() - began, type(error).__name__)
    took = time.monotonic() - began
    if answer.status == 200:
        output = said["output_data"]
        return Answer(200, began, took, pid=output.get("pid", 0), version=output.get("version", ""))
    return Answer(answer.status, began, took, said["error"]["code"], answer.headers.get("Retry-After"))


@contextmanager
def _running(traffic: Traffic, work: Callable[[aiohttp.ClientSession], Awaitable[None]]) -> Iterator[None]:
    broken: list[BaseException] = []

    async def main() -> None:
        connector = aiohttp.TCPConnector(limit=0)
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
    """Seconds that so many percent of them took at most."""
    times = sorted(one.seconds for one in answers)
    return times[max(0, ceil(percent / 100 * len(times)) - 1)]
