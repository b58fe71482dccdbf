"""Which replicas are probed in a turn: few at each interval, many in their order, and at once those in doubt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from management.control.replicas.prober import (
    FULL_RATE_REPLICAS,
    MAX_PROBES_PER_SECOND,
    PROBE_INTERVAL_SECONDS,
    ProbeHistory,
)
from management.domain.records import Replica, ReplicaState
from tests.doubles.management import FakeLauncher, replica
from tests.doubles.stage import HandClock, Stage

MANY = 10 * FULL_RATE_REPLICAS


def ready(number: int) -> list[Replica]:
    return [replica(ReplicaState.READY) for _ in range(number)]


def history_of(clock: HandClock) -> ProbeHistory:
    return ProbeHistory(PROBE_INTERVAL_SECONDS, clock)


def probed(
    history: ProbeHistory, clock: HandClock, alive: list[Replica], *, turns: int, seconds: float
) -> Counter[str]:
    """Take turns at this pace, in which all answer; how often each replica was probed."""
    counts: Counter[str] = Counter()
    for _ in range(turns):
        for due in history.due(alive):
            counts[due.id] += 1
            history.record(due, unresponsive=False)
        clock.at += seconds
    return counts


def test_few_are_all_probed_at_each_interval() -> None:
    clock, alive = HandClock(100.0), ready(FULL_RATE_REPLICAS)
    counts = probed(history_of(clock), clock, alive, turns=4, seconds=PROBE_INTERVAL_SECONDS)
    assert counts == {each.id: 4 for each in alive}


@pytest.mark.parametrize("seconds", [PROBE_INTERVAL_SECONDS, 0.05], ids=["idle", "busy"])
def test_many_share_the_probes_and_none_is_forgotten(seconds: float) -> None:
    clock, alive = HandClock(100.0), ready(MANY)
    rounds, interval = 3, MANY / MAX_PROBES_PER_SECOND
    turns = round(rounds * interval / seconds)
    counts = probed(history_of(clock), clock, alive, turns=turns, seconds=seconds)
    assert set(counts) == {each.id for each in alive}
    assert set(counts.values()) <= {rounds - 1, rounds}
    assert counts.total() <= MAX_PROBES_PER_SECOND * rounds * interval


def test_no_turn_probes_more_than_its_share() -> None:
    clock, alive = HandClock(100.0), ready(MANY)
    history = history_of(clock)
    for _ in range(30):
        assert len(history.due(alive)) == FULL_RATE_REPLICAS
        clock.at += PROBE_INTERVAL_SECONDS


def test_those_come_first_whose_probe_was_longest_ago() -> None:
    clock, alive = HandClock(100.0), ready(MANY)
    history = history_of(clock)
    first = history.due(alive)
    clock.at += PROBE_INTERVAL_SECONDS
    probed(history, clock, alive, turns=9, seconds=PROBE_INTERVAL_SECONDS)
    clock.at += 100.0
    assert {due.id for due in history.due(alive[::-1])} == {due.id for due in first}


def test_among_many_those_in_doubt_are_probed_as_soon_as_among_few() -> None:
    clock, alive = HandClock(100.0), ready(MANY)
    history = history_of(clock)
    probed(history, clock, alive, turns=10, seconds=PROBE_INTERVAL_SECONDS)
    states = (ReplicaState.STARTING, ReplicaState.DRAINING, ReplicaState.UNRESPONSIVE)
    starting, draining, silent = (replace(one, state=state) for one, state in zip(alive[:3], states, strict=True))
    missed, told = alive[3:5]
    alive[:5] = starting, draining, silent, missed, told
    history.record(missed, unresponsive=True)
    history.probe_now(told.id)
    in_doubt = {each.id for each in (starting, draining, silent, missed)}
    assert in_doubt | {told.id} <= {due.id for due in history.due(alive)}
    history.record(missed, unresponsive=True)
    clock.at += 0.05
    soon = {due.id for due in history.due(alive)}
    assert {starting.id, draining.id} <= soon
    assert not {silent.id, missed.id, told.id} & soon, "they were probed just now"
    clock.at += PROBE_INTERVAL_SECONDS
    assert in_doubt <= {due.id for due in history.due(alive)}


def test_what_is_told_during_a_probe_has_another_one_made_after_it() -> None:
    clock, (one,) = HandClock(100.0), ready(1)
    history = history_of(clock)
    assert history.due([one]) == [one]
    history.probe_now(one.id)
    assert history.due([one], under_way={one.id}) == []
    assert history.due([one]) == [one]
    assert history.due([one]) == []


def test_one_that_is_gone_is_forgotten() -> None:
    clock, (one, other) = HandClock(100.0), ready(2)
    history = history_of(clock)
    history.due([one, other])
    history.record(one, unresponsive=True)
    history.due([other])
    history.probe_now(one.id)
    history.due([other])
    assert not history.health([one.id])
    assert not history.ages([one.id])
    assert history.due([one, other]) == [one], "it is new"


class TellingLauncher(FakeLauncher):
    """A launcher whose backend hears of changes."""

    tell: Callable[[str], None]

    def on_change(self, changed: Callable[[str], None]) -> None:
        """Keep whom to tell."""
        self.tell = changed


async def test_what_a_backend_says_of_a_replica_has_it_probed_in_the_next_turn(tmp_path: Path) -> None:
    launcher = TellingLauncher()
    stage = Stage(tmp_path, launcher, clock=HandClock(1_800_000_000.0))
    try:
        await stage.lead()
        stage.wish(replicas=1)
        await stage.until(lambda: stage.rests(1, 1))
        (one,) = stage.replicas()
        launcher.kill(one.id)
        await stage.supervisor.take_turn()
        assert stage.replicas() == [one], "it is not due"
        launcher.tell(one.id)
        await stage.supervisor.take_turn()
        assert one not in stage.replicas()
    finally:
        stage.store.close()
