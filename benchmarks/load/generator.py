"""A closed-loop load on a URL: clients in one process, each of which sends the next request after an answer.

    python -m benchmarks.load.generator http://127.0.0.1:8080/classify --form image --clients 32 --seconds 5 a.jpg b.jpg

Each file is a body; they are sent in turn. The warm-up ends when every client has had an answer. Then requests are
counted for ``--seconds``. A request that was partly in that time counts in part: batches end together, and would make
steps in the figure. The last requests in flight are waited for. The outcome is printed as JSON.

The generator shares the machine with the server, so it does little: requests are built before, answers are not kept.
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

MIN_WARM_UP_SECONDS: Final = 0.5
MAX_WARM_UP_SECONDS: Final = 12.0
DEADLINE_SECONDS: Final = 30.0
"""Default of the seconds until a request counts as late."""
DEADLINE_CHECK_SECONDS: Final = 0.1
RECONNECT_PAUSE_SECONDS: Final = 0.1
"""Pause after a refused connection."""
BOUNDARY: Final = b"e60f3a3e1c6d4b7f"


class LoadSpec(NamedTuple):
    """The address, the requests as raw bytes, which are sent in turn, and the size of the load."""

    host: str
    port: int
    requests: Sequence[bytes]
    clients: int
    seconds: float
    deadline: float = DEADLINE_SECONDS


@dataclass(frozen=True)
class Outcome:
    """The outcome of a load; the latencies are those of requests that ended in the measured period."""

    clients: int
    seconds: float
    per_second: float
    p50_ms: float
    p99_ms: float
    answered: int
    """All good answers, including those of the warm-up and after the end."""
    errors: dict[str, int]
    """Number of each kind of failure in the whole run: a status, "broken", "refused" or "late"."""
    generator_seconds: float
    """CPU time of the generator itself without its start."""


@dataclass
class Record:
    """The results so far."""

    times: list[tuple[float, float]] = field(default_factory=list)
    """Start and end of each request with a good answer."""
    errors: Counter[str] = field(default_factory=Counter)
    unanswered: set[int] = field(default_factory=set)
    """Clients without an answer so far."""
    sending: bool = True


class Client(asyncio.Protocol):
    """A client's connection, which sends requests until the end."""

    def __init__(self, number: int, record: Record, next_request: Callable[[], bytes]) -> None:
        self._number, self._record, self._next_request = number, record, next_request
        self._transport: asyncio.Transport | None = None
        self._parser: Any = None
        self.began: float | None = None
        """Time at which the request in flight was sent; None without one."""
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transport is not a subclass
        self._send()

    def data_received(self, data: bytes) -> None:
        """Pass the data to the parser, which calls ``on_message_complete``."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.fail("broken")

    def on_message_complete(self) -> None:
        """Record the answer and send the next request."""
        now, status = time.perf_counter(), self._parser.get_status_code()
        self._record.unanswered.discard(self._number)
        if status == 200 and self.began is not None:
            self._record.times.append((self.began, now))
        else:
            self._record.errors[str(status)] += 1
        self.began = None
        if not self._record.sending or not self._parser.should_keep_alive():
            self._close()
        else:
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count the request in flight as broken."""
        if self.began is not None:
            self._record.errors["broken"] += 1
            self.began = None
        self.lost.set()

    def fail(self, kind: str) -> None:
        """Count the request in flight as an error of that kind, and close the connection."""
        self._record.errors[kind] += 1
        self.began = None
        self._close()

    def _send(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self.began = time.perf_counter()
        if self._transport is not None:
            self._transport.write(self._next_request())

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


async def load(spec: LoadSpec) -> Outcome:
    """Run the load for its duration and return the outcome."""
    before, record = time.process_time(), Record(unanswered=set(range(spec.clients)))
    clients: dict[int, Client] = {}
    bodies = cycle(spec.requests)
    tasks = [
        asyncio.create_task(_run_client(number, spec, record, clients, lambda: next(bodies)))
        for number in range(spec.clients)
    ]
    watch = asyncio.create_task(_enforce_deadline(spec, clients))
    start = await _warm_up(record)
    await asyncio.sleep(spec.seconds)
    end = time.perf_counter()
    record.sending = False
    await asyncio.gather(*tasks)
    watch.cancel()
    return replace(_outcome(spec, record, start, end), generator_seconds=time.process_time() - before)


async def _run_client(
    number: int, spec: LoadSpec, record: Record, clients: dict[int, Client], next_request: Callable[[], bytes]
) -> None:
    """Keep a client connected until the end of the load."""
    loop = asyncio.get_running_loop()
    while record.sending:
        try:
            _, client = await loop.create_connection(lambda: Client(number, record, next_request), spec.host, spec.port)
        except OSError:
            record.errors["refused"] += 1
            await asyncio.sleep(RECONNECT_PAUSE_SECONDS)
            continue
        clients[number] = client
        await client.lost.wait()


async def _enforce_deadline(spec: LoadSpec, clients: dict[int, Client]) -> None:
    """Fail the requests that take too long."""
    while True:
        await asyncio.sleep(DEADLINE_CHECK_SECONDS)
        latest = time.perf_counter() - spec.deadline
        for client in list(clients.values()):
            if client.began is not None and client.began < latest:
                client.fail("late")


async def _warm_up(record: Record) -> float:
    """Wait until every client has had an answer, and return the time."""
    began = time.perf_counter()
    await asyncio.sleep(MIN_WARM_UP_SECONDS)
    while record.unanswered and time.perf_counter() - began < MAX_WARM_UP_SECONDS:  # noqa: ASYNC110 - a counter, not an event
        await asyncio.sleep(0.01)
    return time.perf_counter()


def _outcome(spec: LoadSpec, record: Record, start: float, end: float) -> Outcome:
    parts = sum(max(0.0, min(last, end) - max(first, start)) / (last - first) for first, last in record.times)
    counted = sorted(last - first for first, last in record.times if start <= last <= end)
    return Outcome(
        spec.clients,
        end - start,
        parts / (end - start),
        1000 * percentile(counted, 50),
        1000 * percentile(counted, 99),
        len(record.times),
        dict(record.errors),
        0.0,
    )


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return a percentile of sorted values by the nearest-rank method; NaN where there are none."""
    return ordered[max(0, ceil(percent / 100 * len(ordered)) - 1)] if ordered else float("nan")


def request(
    url: SplitResult,
    body: bytes,
    *,
    form: str | None = None,
    content_type: str = "image/jpeg",
    headers: Sequence[str] = (),
) -> bytes:
    """Return a POST request as bytes; with ``form`` the body is a file in that field of a multipart form."""
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
    """Return a form with a file in that field, and the form's content type."""
    head = b'--%s\r\nContent-Disposition: form-data; name="%s"; filename="a"\r\nContent-Type: %s\r\n\r\n'
    start = head % (BOUNDARY, field.encode(), content_type.encode())
    return start + body + b"\r\n--%s--\r\n" % BOUNDARY, f"multipart/form-data; boundary={BOUNDARY.decode()}"


def _run(main: Coroutine[Any, Any, Outcome]) -> Outcome:
    """Run with uvloop where it is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    outcome: Outcome = uvloop.run(main)
    return outcome


def main() -> None:
    """Run the command line at the top of this file."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.load.generator",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
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
    spec = LoadSpec(
        arguments.url.hostname,
        arguments.url.port or 80,
        requests,
        arguments.clients,
        arguments.seconds,
        arguments.deadline,
    )
    json.dump(asdict(_run(load(spec))), sys.stdout)


if __name__ == "__main__":
    main()
