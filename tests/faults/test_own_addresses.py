"""Replicas that are killed, stopped and exchanged while models are called at their own addresses, and stream."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Final

import aiohttp
import pytest

from tests.faults.serving import KILL_SECONDS, ROTATION_SECONDS, exchanged, serving, stopped
from tests.support.calls import status, until
from tests.support.load import Ask, callers, rate
from tests.support.management_servers import KEY, Management
from tests.support.running.figures import JUDGED, SLACK, Figure
from tests.support.victims import kill_one, ready

pytestmark = pytest.mark.slow

OWN: Final = Ask(input_data={"sleep": 0.01}, own=True)
KILLED_CALLS: Final = 3000 if JUDGED else 1500
UPDATED_CALLS: Final = 5000 if JUDGED else 1500
STREAMS: Final = 40
"""Streams at a time."""


def test_kills_cost_no_call_that_may_be_repeated(echo_bentos: Path, figure: Figure) -> None:
    chance, kills = random.Random(1), 0
    with serving(echo_bentos, 3) as (server, api), callers(server, 4, OWN, most=KILLED_CALLS) as traffic:
        next_kill = time.monotonic() + 1.0
        while not traffic.over.is_set():
            if time.monotonic() >= next_kill and len(ready(api)) == 3:
                kills += kill_one(server, api, chance) is not None
                next_kill = time.monotonic() + KILL_SECONDS
            time.sleep(0.05)
    figure(f"{len(traffic.failed)} failed of {len(traffic.answers):,} with {kills} kills", goal="0 failed")
    assert kills >= 2
    assert not traffic.failed, traffic.told
    assert len(traffic.answers) == KILLED_CALLS


def test_a_stopped_replica_keeps_no_caller_beyond_the_timeout(echo_bentos: Path, figure: Figure) -> None:
    ask = Ask(input_data={"sleep": 0.03}, timeout=5, own=True)
    with serving(echo_bentos, 3) as (server, api), rate(server, 50, ask) as traffic:
        until(lambda: len({answer.pid for answer in traffic.answers}) == 3)
        with stopped(server, api, min(ready(api))) as since:
            pass
        until(lambda: len(ready(api)) == 3, SLACK * 20)
    last = max((answer.began - since for answer in traffic.failed), default=0.0)
    longest = max(answer.seconds for answer in traffic.answers)
    figure(
        f"the last call to it {last:.1f} s after the stop; {len(traffic.failed)} of {len(traffic.answers):,} got 408, "
        f"after {longest:.1f} s at most",
        goal=f"{ROTATION_SECONDS:g} s; no caller waits longer than its 5 s",
    )
    assert {answer.status for answer in traffic.failed} <= {408}, traffic.told
    assert longest <= ask.timeout + SLACK * 0.5
    assert last <= SLACK * ROTATION_SECONDS
    assert traffic.unsent == 0 or not JUDGED


def test_updates_and_scaling_cost_no_call_and_cut_no_stream(echo_bentos: Path, figure: Figure) -> None:
    with (
        serving(echo_bentos, 4) as (server, api),
        callers(server, 8, OWN, most=UPDATED_CALLS) as traffic,
        Streams(server, count=20, seconds=0.1) as streams,
    ):
        changes = exchanged(api, traffic)
    figure(
        f"{len(traffic.failed)} failed of {len(traffic.answers):,} calls, {streams.ends['whole']:,} of "
        f"{streams.ends.total():,} streams whole, during {changes} updates and scalings",
        goal="0 failed, all whole",
    )
    assert not traffic.failed, traffic.told
    assert streams.ends["whole"] == streams.ends.total() > 0, streams.ends


def test_streams_of_a_replica_that_is_killed_end_readably_and_leave_nothing_behind(
    echo_bentos: Path, figure: Figure
) -> None:
    chance, kills = random.Random(2), 0
    with serving(echo_bentos, 3) as (server, api):
        with Streams(server, count=30, seconds=0.1) as streams:
            until(lambda: streams.begun >= STREAMS)
            for _ in range(3):
                until(lambda: len(ready(api)) == 3, SLACK * 20)
                kills += kill_one(server, api, chance) is not None
                time.sleep(1.0)
        until(lambda: len(ready(api)) == 3, SLACK * 20)
        last = status(api)
    figure(
        f"{kills} kills: {streams.ends['told']} streams ended with an event of error, {streams.ends['whole']} whole, "
        f"{streams.ends['refused']} refused, {streams.ends['cut'] + streams.ends['hung']} otherwise",
        goal="none otherwise",
    )
    assert kills == 3
    assert streams.ends["told"] > 0
    assert streams.ends["cut"] == streams.ends["hung"] == 0, streams.ends
    assert last["replicas"]["ready"] == 3


def test_a_stream_that_outlasts_the_drain_ends_readably(echo_bentos: Path) -> None:
    with (
        serving(echo_bentos, 2, ATELIER_DRAIN_SECONDS="2") as (server, api),
        Streams(server, count=600, seconds=0.1, most=4) as streams,
    ):
        until(lambda: streams.begun == 4)
        config = {"version": "2.0.0", "docker_image": "tests/echo:2.0.0"}
        api.put("/models/echo", params={"wait": 60}, json={"config": config}).raise_for_status()
        until(lambda: streams.ends.total() == 4, SLACK * 20)
    assert streams.ends["told"] == 4, streams.ends


class Streams:
    """Reads streams of events, so many at a time, each to its end, until the block ends."""

    def __init__(self, server: Management, *, count: int, seconds: float, most: int | None = None) -> None:
        """Each stream has ``count`` events, ``seconds`` apart; ``most`` streams are read in all."""
        self.ends: Counter[str] = Counter()
        """How streams ended: whole, told (by an event), cut, refused (503), hung."""
        self.begun = 0
        self._url, self._body = f"{server.url}/models/echo/ticks", {"count": count, "seconds": seconds}
        self._events, self._limit = count, count * seconds + 60.0
        self._left = float("inf") if most is None else most
        self._over = False

    def __enter__(self) -> Streams:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._read_all()))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        self._thread.join()

    async def _read_all(self) -> None:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, headers={"X-API-Key": KEY}) as session:
            await asyncio.gather(*(self._reader(session) for _ in range(STREAMS)))

    async def _reader(self, session: aiohttp.ClientSession) -> None:
        while not self._over and self._left > 0:
            self._left -= 1
            self.ends[await self._end(session)] += 1

    async def _end(self, session: aiohttp.ClientSession) -> str:
        try:
            async with asyncio.timeout(self._limit), session.post(self._url, json=self._body) as answer:
                if answer.status != 200:
                    return "refused" if "X-Atelier-Error" in answer.headers else f"status {answer.status}"
                self.begun += 1
                text = (await answer.read()).decode()
        except TimeoutError:
            return "hung"
        except aiohttp.ClientError:
            return "cut"
        if "event: error" in text:
            return "told"
        return "whole" if text.count("data: ") == self._events else "short"
