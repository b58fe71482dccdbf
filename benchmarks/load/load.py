"""A load on one URL: clients in one process, each sending again as soon as it has an answer.

    python -m benchmarks.load.load http://127.0.0.1:8080/classify --form image --clients 32 --seconds 5 one.jpg two.jpg

Each file is a body; they are sent in turn. The warm-up ends when every caller was answered once. Then requests are
counted for ``--seconds``: one that was only partly in that time counts for its part, so that batches, which end
together, make no steps in the figure. What is in flight at the end is waited for. The outcome is printed as JSON.

It shares the machine with the server, so that it does little: requests are made before, and answers are not kept.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import cycle
from math import ceil
from pathlib import Path
from typing import Any, Final, NamedTuple, cast
from urllib.parse import SplitResult, urlsplit

import httptools

WARM_SECONDS: Final = 0.5
LONGEST_WARM_SECONDS: Final = 12.0
DEADLINE_SECONDS: Final = 30.0
LOOK_SECONDS: Final = 0.1
REFUSED_SECONDS: Final = 0.1
BOUNDARY: Final = b"e60f3a3e1c6d4b7f"


class Ask(NamedTuple):
    """The requests of a load as raw bytes, sent one after the other, and where to send them."""

    host: str
    port: int
    requests: Sequence[bytes]
    clients: int
    seconds: float
    deadline: float = DEADLINE_SECONDS


@dataclass(frozen=True)
class Outcome:
    """The outcome of a load; its times are of the requests that ended in the measured period."""

    clients: int
    seconds: float
    per_second: float
    p50_ms: float
    p99_ms: float
    answered: int
    """All good answers, those of the warm-up and the last ones among them."""
    errors: dict[str, int]
    """Count of each kind of failure in the whole run: a status, "broken", "refused" or "late"."""
    generator_seconds: float
    """Processor time of the generator itself, its start left out."""


@dataclass
class Record:
    """The results so far."""

    times: list[tuple[float, float]] = field(default_factory=list)
    """When each good answer's request began, and when it ended."""
    errors: Counter[str] = field(default_factory=Counter)
    fresh: set[int] = field(default_factory=set)
    """The callers that had no answer so far."""
    asking: bool = True


class Caller(asyncio.Protocol):
    """One client connection that sends requests until the end, and reconnects when it breaks."""

    def __init__(self, number: int, record: Record, following: Callable[[], bytes]) -> None:
        self._number, self._record, self._following = number, record, following
        self._transport: asyncio.Transport | None = None
        self._parser: Any = None
        self.began: float | None = None
        """When the request in flight was sent."""
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asks at once."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of it
        self._ask()

    def data_received(self, data: bytes) -> None:
        """Hands what came to the parser, which calls ``on_message_complete``."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.give_up("broken")

    def on_message_complete(self) -> None:
        """Notes the answer, and asks again."""
        now, status = time.perf_counter(), self._parser.get_status_code()
        self._record.fresh.discard(self._number)
        if status == 200 and self.began is not None:
            self._record.times.append((self.began, now))
        else:
            self._record.errors[str(status)] += 1
        self.began = None
        if not self._record.asking or not self._parser.should_keep_alive():
            self._close()
        else:
            self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        """Counts the request that was in flight as broken."""
        if self.began is not None:
            self._record.errors["broken"] += 1
            self.began = None
        self.lost.set()

    def give_up(self, kind: str) -> None:
        """Counts the request in flight as an error of that kind."""
        self._record.errors[kind] += 1
        self.began = None
        self._close()

    def _ask(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self.began = time.perf_counter()
        if self._transport is not None:
            self._transport.write(self._following())

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


async def load(ask: Ask) -> Outcome:
    """Run the load for its duration and return the outcome."""
    before, record = time.process_time(), Record(fresh=set(range(ask.clients)))
    callers: dict[int, Caller] = {}
    bodies = cycle(ask.requests)
    tasks = [
        asyncio.create_task(_calling(number, ask, record, callers, lambda: next(bodies)))
        for number in range(ask.clients)
    ]
    watch = asyncio.create_task(_watching(ask, callers))
    start = await _warmed(record)
    await asyncio.sleep(ask.seconds)
    end = time.perf_counter()
    record.asking = False
    await asyncio.gather(*tasks)
    watch.cancel()
    return replace(_outcome(ask, record, start, end), generator_seconds=time.process_time() - before)


async def _calling(
    number: int, ask: Ask, record: Record, callers: dict[int, Caller], following: Callable[[], bytes]
) -> None:
    """Keep one client connected until the end of the load."""
    loop = asyncio.get_running_loop()
    while record.asking:
        try:
            _, caller = await loop.create_connection(lambda: Caller(number, record, following), ask.host, ask.port)
        except OSError:
            record.errors["refused"] += 1
            await asyncio.sleep(REFUSED_SECONDS)
            continue
        callers[number] = caller
        await caller.lost.wait()


async def _watching(ask: Ask, callers: dict[int, Caller]) -> None:
    """Gives up what takes too long."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        latest = time.perf_counter() - ask.deadline
        for caller in list(callers.values()):
            if caller.began is not None and caller.began < latest:
                caller.give_up("late")


async def _warmed(record: Record) -> float:
    """Returns the time when every caller was answered."""
    began = time.perf_counter()
    await asyncio.sleep(WARM_SECONDS)
    while record.fresh and time.perf_counter() - began < LONGEST_WARM_SECONDS:  # noqa: ASYNC110 - a counter, not an event
        await asyncio.sleep(0.01)
    return time.perf_counter()


def _outcome(ask: Ask, record: Record, start: float, end: float) -> Outcome:
    parts = sum(max(0.0, min(last, end) - max(first, start)) / (last - first) for first, last in record.times)
    counted = sorted(last - first for first, last in record.times if start <= last <= end)
    return Outcome(
        ask.clients,
        end - start,
        parts / (end - start),
        1000 * percentile(counted, 50),
        1000 * percentile(counted, 99),
        len(record.times),
        dict(record.errors),
        0.0,
    )


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return a percentile; NaN where there are no values."""
    return ordered[max(0, ceil(percent / 100 * len(ordered)) - 1)] if ordered else float("nan")


def request(
    url: SplitResult,
    body: bytes,
    *,
    form: str | None = None,
    content_type: str = "image/jpeg",
    headers: Sequence[str] = (),
) -> bytes:
    """A whole POST request; with ``form`` the body is a file in that field of a multipart form."""
    if form is not None:
        body, content_type = multipart(form, body, content_type)
    lines = (
        f"POST {url.path or '/'}{'?' if url.query else ''}{url.query} HTTP/1.1",
        f"Host: {url.netloc}",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        "Accept: */*",
        *headers,
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def multipart(field: str, body: bytes, content_type: str) -> tuple[bytes, str]:
    """A form with a file in that field, and the form's own content type."""
    head = b'--%s\r\nContent-Disposition: form-data; name="%s"; filename="a"\r\nContent-Type: %s\r\n\r\n'
    start = head % (BOUNDARY, field.encode(), content_type.encode())
    return start + body + b"\r\n--%s--\r\n" % BOUNDARY, f"multipart/form-data; boundary={BOUNDARY.decode()}"


def _run(main: Coroutine[Any, Any, Outcome]) -> Outcome:
    """With uvloop where it is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    outcome: Outcome = uvloop.run(main)
    return outcome


def main() -> None:
    """The command line at the top of this file."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.load.load", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("url", type=urlsplit)
    parser.add_argument("bodies", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--clients", type=int, default=32, help="callers at once (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=5.0, help="seconds that count (default: %(default)s)")
    parser.add_argument("--deadline", type=float, default=DEADLINE_SECONDS, help="of a request (default: %(default)s)")
    parser.add_argument("--form", metavar="FIELD", help="send each file in this field of a multipart form")
    parser.add_argument("--content-type", default="image/jpeg", help="of the files (default: %(default)s)")
    parser.add_argument(
        "--header", action="append", default=[], metavar="NAME: VALUE", help="an additional header of each request"
    )
    arguments = parser.parse_args()
    if arguments.url.hostname is None or arguments.clients < 1:
        parser.error("give a URL with a host and at least one client")
    requests = [
        request(
            arguments.url,
            path.read_bytes(),
            form=arguments.form,
            content_type=arguments.content_type,
            headers=arguments.header,
        )
        for path in arguments.bodies
    ]
    ask = Ask(
        arguments.url.hostname,
        arguments.url.port or 80,
        requests,
        arguments.clients,
        arguments.seconds,
        arguments.deadline,
    )
    json.dump(asdict(_run(load(ask))), sys.stdout)


if __name__ == "__main__":
    main()
