"""Measures models' own addresses against the replica asked directly: python -m benchmarks.own_address.

With a Bento that costs next to nothing (``address_bento``), on this machine, in one run, alternately:

    overhead          median of a call by the own address less the median of a direct one (goal: at most 2 ms)
    throughput        share of the direct throughput that the own address reaches, for a model that computes 10 ms
                      (goal: at least 95 %)
    echo              calls a second through one worker (goal: at least 1,000)
    first byte        median seconds to a stream's first byte, less the direct one (goal: at most 5 ms)
    streams           memory that 200 streams at once take in the server (goal: at most 150 MB)
    upload            memory that an upload of 16 MiB takes in the server (goal: less than the upload)
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import aiohttp
import psutil

from tests.support.management_servers import KEY, Management, built, echo_config, managing

BENTO: Final = Path(__file__).with_name("address_bento")
CALLS: Final = 2000
CALLERS: Final = 16
ROUNDS: Final = 5
STREAMS: Final = 200
UPLOAD: Final = 16 * 1024 * 1024
SETTLE_SECONDS: Final = 1.0
SAMPLE_SECONDS: Final = 0.005
ECHO: Final = "/app/echo"
COMPUTE: Final = "/app/compute?seconds=0.01"
TICKS: Final = "/app/ticks?count=3&gap=1"


@dataclass(frozen=True)
class AddressFigures:
    """The measured figures."""

    direct_ms: float
    own_ms: float
    overhead_ms: float
    computing_share: float
    echo_per_second: float
    direct_echo_per_second: float
    gateway_cpu_us: float
    first_byte_ms: float
    streams_mb: float
    upload_mb: float


def main() -> None:
    """Measure and print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.own_address", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print only JSON")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="at-bench-") as folder:
        store = built(Path(folder) / "bentoml", BENTO)
        with managing(store, home=Path(folder) / "home") as server:
            with server.client() as client:
                config = {**echo_config("address"), "docker_image": "bench/address:1.0.0"}
                client.post("/models/deploy", params={"wait": 60}, json={"config": config}).raise_for_status()
            figures = asyncio.run(_measure(server))
    if arguments.json:
        print(json.dumps(asdict(figures), indent=2))
        return
    for name, value in asdict(figures).items():
        print(f"{name:28} {value:10.2f}")


async def _measure(server: Management) -> AddressFigures:
    socket = next((server.home / "replicas").glob("*/http.sock"))
    headers = {"X-API-Key": KEY, "Content-Type": "text/plain"}
    own_url = f"{server.url}/models/address"
    async with (
        aiohttp.ClientSession("http://replica", connector=aiohttp.UnixConnector(str(socket), limit=0)) as direct,
        aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(limit=0)) as own,
    ):
        pairs = [(await _median(direct, ECHO), await _median(own, own_url + ECHO)) for _ in range(ROUNDS)]
        direct_ms, own_ms = (statistics.median(side) * 1000 for side in zip(*pairs, strict=True))
        shares = [await _rate(own, own_url + COMPUTE, 200) / await _rate(direct, COMPUTE, 200) for _ in range(ROUNDS)]
        cpu = psutil.Process(server.pid).cpu_times()
        echo = [await _rate(own, own_url + ECHO, CALLS) for _ in range(ROUNDS)]
        used = psutil.Process(server.pid).cpu_times()
        direct_echo = [await _rate(direct, ECHO, CALLS) for _ in range(ROUNDS)]
        firsts = [(await _first(direct, TICKS), await _first(own, own_url + TICKS)) for _ in range(20)]
        return AddressFigures(
            direct_ms=direct_ms,
            own_ms=own_ms,
            overhead_ms=own_ms - direct_ms,
            computing_share=statistics.median(shares),
            echo_per_second=statistics.median(echo),
            direct_echo_per_second=statistics.median(direct_echo),
            gateway_cpu_us=1e6 * (used.user + used.system - cpu.user - cpu.system) / (ROUNDS * CALLS),
            first_byte_ms=1000 * (statistics.median(b for _, b in firsts) - statistics.median(a for a, _ in firsts)),
            streams_mb=await _streams(own, own_url, server.pid) / 1e6,
            upload_mb=await _upload(own, own_url, server.pid) / 1e6,
        )


async def _median(session: aiohttp.ClientSession, url: str) -> float:
    """Return the median seconds of single calls, one after the other."""
    return statistics.median([await _call(session, url) for _ in range(CALLS // 10)])


async def _rate(session: aiohttp.ClientSession, url: str, calls: int) -> float:
    """Return the calls a second of concurrent callers."""

    async def caller() -> None:
        for _ in range(calls // CALLERS):
            await _call(session, url)

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return calls // CALLERS * CALLERS / (time.perf_counter() - began)


async def _call(session: aiohttp.ClientSession, url: str) -> float:
    began = time.perf_counter()
    async with session.post(url, data=b"hello") as answer:
        answer.raise_for_status()
        await answer.read()
    return time.perf_counter() - began


async def _first(session: aiohttp.ClientSession, url: str) -> float:
    """Return the seconds to a stream's first byte."""
    began = time.perf_counter()
    async with session.get(url) as answer:
        await answer.content.readany()
        return time.perf_counter() - began


async def _streams(session: aiohttp.ClientSession, url: str, pid: int) -> float:
    """Return the bytes of memory that streams at once take in the server."""
    before = psutil.Process(pid).memory_info().rss
    async with AsyncExitStack() as stack:
        answers = [stack.enter_async_context(session.get(f"{url}/app/ticks?count=60&gap=1")) for _ in range(STREAMS)]
        for answer in await asyncio.gather(*answers):
            answer.raise_for_status()
            await answer.content.readany()
        await asyncio.sleep(SETTLE_SECONDS)
        return psutil.Process(pid).memory_info().rss - before


async def _upload(session: aiohttp.ClientSession, url: str, pid: int) -> float:
    """Return the bytes of memory by which the server grows at most during an upload."""
    await asyncio.sleep(SETTLE_SECONDS)

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(UPLOAD // 65536):
            yield bytes(65536)

    with _watched(pid) as most:
        before = psutil.Process(pid).memory_info().rss
        async with session.post(f"{url}/app/size", data=pieces(), headers={"Content-Length": str(UPLOAD)}) as answer:
            if await answer.text() != str(UPLOAD):
                raise RuntimeError("the upload did not arrive")
    return most[0] - before


@contextmanager
def _watched(pid: int) -> Iterator[list[float]]:
    """Keep the most memory that the process has meanwhile, sampled by a thread."""
    most, over = [0.0], threading.Event()

    def sample() -> None:
        while not over.wait(SAMPLE_SECONDS):
            most[0] = max(most[0], psutil.Process(pid).memory_info().rss)

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield most
    finally:
        over.set()
        thread.join()


if __name__ == "__main__":
    main()
