"""Compares ways to form batches: python -m benchmarks.batching.

The shipped network, called in this process by 1, 4 and 32 clients that each send the next item after an answer:

    no batches      one picture at a time
    adaptive        runners.serving.batching: items that arrive while a batch is computed form the next one
    in streams      the same as it is served: smaller batches, several of them in parallel
    window of N ms  the first item waits that long for others, or until there are 16
    BentoML         its CorkDispatcher, which estimates how long to wait

Measured in turn, medians of several rounds: pictures a second, and the p50 and p99 of a request in milliseconds.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import numpy as np
from bentoml._internal.marshal.dispatcher import CorkDispatcher
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from runners.artifacts import store
from runners.engines import load
from runners.engines.base import Engine
from runners.models.vision.transform import SATELLITE_TRANSFORM
from runners.serving.batching import Batcher

MAX_BATCH_SIZE: Final = 16
CLIENTS: Final = (1, 4, 32)
WINDOWS: Final = (0.002, 0.005, 0.01)
"""Seconds."""
WARM_UP_SECONDS: Final = 1.0

Pixels = NDArray[np.uint8]
Compute = Callable[[list[Pixels]], list[Any]]
Ask = Callable[[Pixels], Awaitable[Any]]


class Windowed:
    """Batches of a fixed waiting window, as in most servers; it opens with the first item."""

    def __init__(self, compute: Compute, max_batch_size: int, seconds: float) -> None:
        self._compute, self._max_batch_size, self._seconds = compute, max_batch_size, seconds
        self._waiting: asyncio.Queue[tuple[Pixels, asyncio.Future[Any]]] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(1)
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def __call__(self, item: Pixels) -> Any:
        """Return the result of an item."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.put_nowait((item, future))
        return await future

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            batch = [await self._waiting.get()]
            closes = loop.time() + self._seconds
            while len(batch) < self._max_batch_size and (left := closes - loop.time()) > 0:
                try:
                    batch.append(await asyncio.wait_for(self._waiting.get(), left))
                except TimeoutError:
                    break
            results = await loop.run_in_executor(self._thread, self._compute, [item for item, _ in batch])
            for (_, future), result in zip(batch, results, strict=True):
                future.set_result(result)


def contenders(compute: Compute, network: Engine) -> dict[str, Callable[[], Ask]]:
    """Return a factory of each contender, by name."""
    windows = {f"window of {1000 * window:.0f} ms": window for window in WINDOWS}
    return (
        {"no batches": lambda: _single(compute)}
        | {"adaptive": lambda: _adaptive(Batcher(compute, MAX_BATCH_SIZE))}
        | {"in streams": lambda: _adaptive(Batcher(compute, network.max_batch_size, streams=network.streams))}
        | {
            name: (lambda seconds=window: Windowed(compute, MAX_BATCH_SIZE, seconds))
            for name, window in windows.items()
        }
        | {"BentoML": lambda: _bentoml(compute)}
    )


def _single(compute: Compute) -> Ask:
    thread = ThreadPoolExecutor(1)

    async def ask(item: Pixels) -> Any:
        return (await asyncio.get_running_loop().run_in_executor(thread, compute, [item]))[0]

    return ask


def _adaptive(batches: Batcher[Pixels, Any]) -> Ask:
    async def ask(item: Pixels) -> Any:
        return await batches([item])

    return ask


def _bentoml(compute: Compute) -> Ask:
    thread = ThreadPoolExecutor(1)

    async def compute_batch(items: Sequence[Pixels]) -> Sequence[Any]:
        return await asyncio.get_running_loop().run_in_executor(thread, compute, list(items))

    def refuse() -> Any:
        raise RuntimeError("refused")

    dispatcher: Any = CorkDispatcher(60_000, MAX_BATCH_SIZE, fallback=refuse, get_batch_size=lambda _: 1)
    ask: Ask = dispatcher(compute_batch)
    return ask


async def measure(make: Callable[[], Ask], clients: int, seconds: float) -> tuple[float, float, float]:
    """Return pictures a second, and the p50 and p99 of a request in milliseconds."""
    ask, calls = make(), list[tuple[float, float]]()
    pixels = np.zeros((SATELLITE_TRANSFORM.crop, SATELLITE_TRANSFORM.crop, 3), np.uint8)
    ends = time.perf_counter() + WARM_UP_SECONDS + seconds

    async def caller() -> None:
        while (began := time.perf_counter()) < ends:
            await ask(pixels)
            calls.append((began, time.perf_counter() - began))

    await asyncio.gather(*(caller() for _ in range(clients)))
    latencies = [latency for began, latency in calls if began > ends - seconds]
    return (
        len(latencies) / seconds,
        1000 * float(np.percentile(latencies, 50)),
        1000 * float(np.percentile(latencies, 99)),
    )


def main() -> None:
    """Run the command line at the top of this file."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.batching", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    arguments = parser.parse_args()
    network = load.load(store.SHIPPED[store.SATELLITE])
    network.warm(SATELLITE_TRANSFORM.crop)
    makers = contenders(lambda items: list(network(np.stack(items))), network)
    results: dict[tuple[str, int], list[tuple[float, float, float]]] = {}
    for _ in range(arguments.rounds):
        for clients in CLIENTS:
            for name, make in makers.items():
                results.setdefault((name, clients), []).append(asyncio.run(measure(make, clients, arguments.seconds)))
    table = Table(title=f"medians of {arguments.rounds} rounds: pictures/s, p50 and p99 in ms")
    table.add_column("batches")
    for clients in CLIENTS:
        table.add_column(f"{clients} callers", justify="right")
    for name in makers:
        table.add_row(name, *(_cell(results[name, clients]) for clients in CLIENTS))
    Console().print(table)


def _cell(rounds: Sequence[tuple[float, float, float]]) -> str:
    rate, p50, p99 = (statistics.median(values) for values in zip(*rounds, strict=True))
    return f"{rate:.0f}/s  {p50:.1f}  {p99:.1f}"


if __name__ == "__main__":
    main()
