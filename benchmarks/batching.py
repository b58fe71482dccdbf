"""How batches should form: python -m benchmarks.batching.

The shipped network, called in this process by 1, 4 and 32 clients that send again as soon as they have an answer:

    no batches      one picture after the other
    adaptive        runners.serving.batching: items that arrive while a batch is computed form the next one
    in streams      the same as it is served: smaller batches, several of them in parallel
    window of N ms  the first waits so long for others, or until there are 16
    BentoML         its CorkDispatcher, which guesses how long to wait

All in turns, medians of several rounds: pictures a second, and the p50 and p99 of a request in milliseconds.
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

BATCH: Final = 16
CLIENTS: Final = (1, 4, 32)
WINDOWS: Final = (0.002, 0.005, 0.01)
WARM_SECONDS: Final = 1.0

Pixels = NDArray[np.uint8]
Compute = Callable[[list[Pixels]], list[Any]]
Ask = Callable[[Pixels], Awaitable[Any]]


class Windowed:
    """Batches of a fixed window, as most servers have it: it opens with the first item."""

    def __init__(self, compute: Compute, most: int, seconds: float) -> None:
        self._compute, self._most, self._seconds = compute, most, seconds
        self._waiting: asyncio.Queue[tuple[Pixels, asyncio.Future[Any]]] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(1)
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def __call__(self, item: Pixels) -> Any:
        """The result of one item."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.put_nowait((item, future))
        return await future

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            batch = [await self._waiting.get()]
            closes = loop.time() + self._seconds
            while len(batch) < self._most and (left := closes - loop.time()) > 0:
                try:
                    batch.append(await asyncio.wait_for(self._waiting.get(), left))
                except TimeoutError:
                    break
            results = await loop.run_in_executor(self._thread, self._compute, [item for item, _ in batch])
            for (_, future), result in zip(batch, results, strict=True):
                future.set_result(result)


def contenders(compute: Compute, network: Engine) -> dict[str, Callable[[], Ask]]:
    """Each by its name, made when its turn comes."""
    windows = {f"window of {1000 * window:.0f} ms": window for window in WINDOWS}
    return (
        {"no batches": lambda: _alone(compute)}
        | {"adaptive": lambda: _adaptive(Batcher(compute, BATCH))}
        | {"in streams": lambda: _adaptive(Batcher(compute, network.max_batch_size, streams=network.streams))}
        | {name: (lambda seconds=window: Windowed(compute, BATCH, seconds)) for name, window in windows.items()}
        | {"BentoML": lambda: _bentomls(compute)}
    )


def _alone(compute: Compute) -> Ask:
    thread = ThreadPoolExecutor(1)

    async def ask(item: Pixels) -> Any:
        return (await asyncio.get_running_loop().run_in_executor(thread, compute, [item]))[0]

    return ask


def _adaptive(batches: Batcher[Pixels, Any]) -> Ask:
    async def ask(item: Pixels) -> Any:
        return await batches([item])

    return ask


def _bentomls(compute: Compute) -> Ask:
    thread = ThreadPoolExecutor(1)

    async def computed(items: Sequence[Pixels]) -> Sequence[Any]:
        return await asyncio.get_running_loop().run_in_executor(thread, compute, list(items))

    def refuse() -> Any:
        raise RuntimeError("refused")

    dispatcher: Any = CorkDispatcher(60_000, BATCH, fallback=refuse, get_batch_size=lambda _: 1)
    asked: Ask = dispatcher(computed)
    return asked


async def measured(make: Callable[[], Ask], clients: int, seconds: float) -> tuple[float, float, float]:
    """Pictures a second, and the p50 and p99 of a request in milliseconds."""
    ask, took = make(), list[tuple[float, float]]()
    pixels = np.zeros((SATELLITE_TRANSFORM.crop, SATELLITE_TRANSFORM.crop, 3), np.uint8)
    ends = time.perf_counter() + WARM_SECONDS + seconds

    async def caller() -> None:
        while (began := time.perf_counter()) < ends:
            await ask(pixels)
            took.append((began, time.perf_counter() - began))

    await asyncio.gather(*(caller() for _ in range(clients)))
    counted = [latency for began, latency in took if began > ends - seconds]
    return len(counted) / seconds, 1000 * float(np.percentile(counted, 50)), 1000 * float(np.percentile(counted, 99))


def main() -> None:
    """The command line at the top of this file."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.batching", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    arguments = parser.parse_args()
    network = load.load(store.SHIPPED[store.SATELLITE])
    network.warm(SATELLITE_TRANSFORM.crop)
    made = contenders(lambda items: list(network(np.stack(items))), network)
    results: dict[tuple[str, int], list[tuple[float, float, float]]] = {}
    for _ in range(arguments.rounds):
        for clients in CLIENTS:
            for name, make in made.items():
                results.setdefault((name, clients), []).append(asyncio.run(measured(make, clients, arguments.seconds)))
    table = Table(title=f"medians of {arguments.rounds} rounds: pictures/s, p50 and p99 in ms")
    table.add_column("batches")
    for clients in CLIENTS:
        table.add_column(f"{clients} callers", justify="right")
    for name in made:
        table.add_row(name, *(_shown(results[name, clients]) for clients in CLIENTS))
    Console().print(table)


def _shown(rounds: Sequence[tuple[float, float, float]]) -> str:
    rate, middle, tail = (statistics.median(of) for of in zip(*rounds, strict=True))
    return f"{rate:.0f}/s  {middle:.1f}  {tail:.1f}"


if __name__ == "__main__":
    main()
