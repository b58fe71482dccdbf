"""Replicas that are killed, stopped and exchanged under load: nobody may notice.

The settings are those that a server has by itself.
"""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Final

import pytest

from tests.faults.serving import KILL_SECONDS, ROTATION_SECONDS, exchanged, serving, stopped
from tests.support.calls import status, until
from tests.support.load import Ask, callers, rate
from tests.support.running.figures import JUDGED, SLACK, Figure
from tests.support.victims import details, kill_one, pid_of, ready

pytestmark = pytest.mark.slow

RECOVERY_SECONDS: Final = 10.0


def test_a_replica_that_is_killed_every_three_seconds_costs_none_of_5000_requests(
    echo_bentos: Path, figure: Figure
) -> None:
    chance = random.Random(1)
    ask = Ask(input_data={"sleep": 0.01})  # so that it takes long enough for some kills
    with serving(echo_bentos, 3) as (server, api), callers(server, 4, ask, most=5000) as traffic:
        kills: list[tuple[float, str]] = []
        pending: list[float] = []
        recoveries: list[float] = []
        next_kill = time.monotonic() + 1.0
        while pending or not traffic.over.is_set():
            at = time.monotonic()
            now_ready = ready(api)
            if len(now_ready) == 3 and now_ready.isdisjoint(victim for _, victim in kills):
                recoveries += [at - since for since in pending]
                pending.clear()
            assert not pending or at - pending[0] < 6 * SLACK * RECOVERY_SECONDS, status(api)
            # A busy machine may take longer than that to replace a replica, and would never have all three again.
            if at >= next_kill and not (traffic.over.is_set() or (pending and not JUDGED)):
                next_kill = at + KILL_SECONDS
                if (victim := kill_one(server, api, chance)) is not None:
                    kills.append((at, victim))
                    pending.append(at)
            time.sleep(0.05)
        states = {replica["replica_id"]: replica["state"] for replica in details(api)}
    figure(
        f"{len(traffic.failed)} failed of {len(traffic.answers):,} with {len(kills)} kills; "
        f"3 ready again after {max(recoveries):.1f} s at most",
        goal=f"0 failed, {RECOVERY_SECONDS:g} s",
    )
    assert len(kills) >= 4
    assert {states.get(victim, "failed") for _, victim in kills} == {"failed"}
    assert not traffic.failed, traffic.told
    assert len(traffic.answers) == 5000
    assert max(recoveries) <= SLACK * RECOVERY_SECONDS


def test_a_stopped_replica_of_three_is_out_of_rotation_soon_and_keeps_nobody_beyond_his_timeout(
    echo_bentos: Path, figure: Figure
) -> None:
    ask = Ask(input_data={"sleep": 0.03}, timeout=5)  # long enough that all three are used
    with serving(echo_bentos, 3) as (server, api), rate(server, 50, ask) as traffic:
        until(lambda: len({answer.pid for answer in traffic.answers}) == 3)
        with stopped(server, api, min(ready(api))) as since:
            unready = time.monotonic() - since
        continued = time.monotonic()
        until(lambda: len(ready(api)) == 3, SLACK * 20)
        back = time.monotonic() - continued
        whole = time.monotonic()
        own = {pid_of(server.home, replica) for replica in ready(api)}
        until(lambda: own <= {answer.pid for answer in traffic.since(whole)})
    last = max((answer.began - since for answer in traffic.failed), default=0.0)
    longest = max(answer.seconds for answer in traffic.answers)
    figure(
        f"out of rotation after {max(last, unready):.1f} s; {len(traffic.failed)} of {len(traffic.answers):,} got 408, "
        f"after {longest:.1f} s at most; whole {back:.1f} s after SIGCONT",
        goal=f"{ROTATION_SECONDS:g} s; nobody waits longer than the 5 s he gave",
    )
    assert {answer.status for answer in traffic.failed} <= {408}, traffic.told
    assert all(answer.began >= since - SLACK * 0.5 for answer in traffic.failed)
    assert longest <= ask.timeout + SLACK * 0.5
    assert max(last, unready) <= SLACK * ROTATION_SECONDS
    assert traffic.unsent == 0 or not JUDGED


def test_updates_and_scaling_down_and_up_cost_none_of_10000_requests(echo_bentos: Path, figure: Figure) -> None:
    with serving(echo_bentos, 4) as (server, api), callers(server, 8, most=10_000) as traffic:
        changes = exchanged(api, traffic)
    versions = {answer.version for answer in traffic.answers if answer.good}
    figure(
        f"{len(traffic.failed)} failed of {len(traffic.answers):,} during {changes} updates and scalings",
        goal="0 failed",
    )
    assert not traffic.failed, traffic.told
    assert len(traffic.answers) == 10_000
    assert versions == {"1.0.0", "2.0.0"}
