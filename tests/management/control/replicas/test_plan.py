"""The plan: single decisions, then all small states, and where they lead."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import combinations_with_replacement, product
from pathlib import Path
from typing import Any

import pytest

from management.backends.launcher import Observation, Phase
from management.control.evaluation import (
    MarkFailed,
    RemoveRecord,
    RollBack,
    marked_failed,
    rolled_back,
)
from management.control.replicas.plan import Action, Drain, Start, Stop, plan
from management.control.replicas.transitions import (
    EvaluationContext,
    evaluate,
)
from management.domain.records import (
    Deletion,
    Deployment,
    Health,
    Replica,
    ReplicaState,
    Revision,
)
from tests.doubles.management import AT, deployment, replica, revision, settings
from tests.support.running.small_states import every_state, some

NOW = AT.timestamp()
ATTEMPTS = 3
STARTING, READY, DRAINING = ReplicaState.STARTING, ReplicaState.READY, ReplicaState.DRAINING
SILENT = ReplicaState.UNRESPONSIVE
OLD, WANTED = revision(1), revision(2)
KINDS = list(product((STARTING, READY, SILENT, DRAINING), (OLD, WANTED)))
CROWDS = [
    kinds
    for size in range(5)
    for kinds in combinations_with_replacement(KINDS, size)
    if sum(state is SILENT for state, _ in kinds) <= 1  # more would double the time
]
ROUNDS = 40
QUICK = settings(Path("unused")).replicas


def planned(wish: Deployment, replicas: Sequence[Replica] = (), room: int = 9) -> list[Action]:
    return plan(wish, replicas, now=NOW, attempts=ATTEMPTS, free_slots=room)


def wished(replicas: int = 1, **changes: Any) -> Deployment:
    return deployment(target=WANTED, replicas=replicas, **changes)


def test_a_deployment_starts_all_its_replicas_at_once() -> None:
    assert planned(wished(3)) == [Start()] * 3
    assert planned(wished(3), [replica(STARTING, 2)]) == [Start()] * 2


def test_what_is_as_wished_is_left_alone() -> None:
    assert planned(wished(2), [replica(READY, 2), replica(STARTING, 2)]) == []


def test_scaling_down_ends_what_is_starting_first_and_then_the_newest() -> None:
    oldest, newest, starting = replica(READY, 2), replica(READY, 2), replica(STARTING, 2)
    assert planned(wished(1), [starting, oldest, newest]) == [Stop(starting.id), Drain(newest.id)]


def test_none_wished_drains_what_serves_and_stops_what_starts() -> None:
    ready, starting = replica(READY, 2), replica(STARTING, 2)
    assert planned(wished(0), [ready, starting, replica(DRAINING, 2)]) == [Drain(ready.id), Stop(starting.id)]


def test_a_deleted_model_drains_and_is_erased_when_nothing_is_left() -> None:
    ready = replica(READY, 2)
    gone = wished(2, deletion=Deletion.GRACEFUL)
    assert planned(gone, [ready]) == [Drain(ready.id)]
    assert planned(gone, [replica(DRAINING, 2)]) == []
    assert planned(gone, [replica(ReplicaState.FAILED, 2)]) == [RemoveRecord()]


def test_a_forced_deletion_stops_what_drains_too() -> None:
    crowd = [replica(READY, 2), replica(DRAINING, 2), replica(STARTING, 1)]
    assert planned(wished(2, deletion=Deletion.FORCED), crowd) == [Stop(replica.id) for replica in crowd]


def test_an_update_starts_one_new_replica_at_a_time_and_drains_an_old_one_for_each_that_is_ready() -> None:
    first, second = replica(READY, 1), replica(READY, 1)
    new = replica(STARTING, 2)
    wish = wished(2, last_stable=OLD)
    assert planned(wish, [first, second]) == [Start()]
    assert planned(wish, [first, second, new]) == []
    assert planned(wish, [first, second, replace(new, state=READY)]) == [Drain(first.id), Start()]


def test_old_replicas_that_never_served_are_stopped_at_once() -> None:
    waiting = replica(STARTING, 1)
    assert planned(wished(1), [waiting]) == [Stop(waiting.id), Start()]


def test_an_update_that_fails_too_often_goes_back_to_what_served() -> None:
    assert planned(wished(1, last_stable=OLD, failures=ATTEMPTS), [replica(READY, 1)]) == [RollBack()]


def test_a_model_that_was_never_ready_is_given_up_and_then_left_alone() -> None:
    assert planned(wished(1, failures=ATTEMPTS)) == [MarkFailed()]
    assert planned(wished(1, failures=ATTEMPTS, failed=True)) == []


def test_a_model_that_has_served_is_given_up_only_when_nothing_of_it_is_left() -> None:
    tired = wished(2, last_stable=WANTED, failures=50, retry_at=NOW)
    assert planned(tired, [replica(READY, 2)]) == [Start()]
    assert planned(tired, [replica(STARTING, 2)]) == []
    assert planned(tired, [replica(SILENT, 2)]) == [], "it may answer again"
    assert planned(tired, [replica(DRAINING, 2)]) == [MarkFailed()]
    assert planned(tired) == [MarkFailed()]


def test_what_was_never_ready_is_tried_with_few_at_a_time() -> None:
    assert planned(wished(9)) == [Start()] * ATTEMPTS
    assert planned(wished(9), [replica(STARTING, 2)]) == [Start()] * (ATTEMPTS - 1)
    assert planned(wished(9, last_stable=WANTED)) == [Start()] * 9


def test_lost_replicas_are_replaced_together_while_others_serve() -> None:
    assert planned(wished(3, last_stable=WANTED, failures=1, retry_at=NOW), [replica(READY, 2)]) == [Start()] * 2


def test_a_silent_replica_is_kept_and_ends_before_those_that_answer() -> None:
    answers, silent = replica(READY, 2), replica(SILENT, 2)
    assert planned(wished(2), [silent, answers]) == []
    assert planned(wished(1), [silent, answers]) == [Drain(silent.id)]
    assert planned(wished(1, last_stable=OLD), [replica(READY, 1), old := replica(SILENT, 1)]) == [
        Drain(old.id),
        Start(),
    ]


def test_nothing_is_started_before_the_pause_is_over_and_then_one_is() -> None:
    assert planned(wished(3, failures=1, retry_at=NOW + 1)) == []
    assert planned(wished(3, failures=1, retry_at=NOW)) == [Start()]
    assert planned(wished(3, failures=1, retry_at=NOW + 3600)) == [Start()], "the clock was set back since"
    assert planned(wished(3, failures=1, retry_at=NOW), [replica(STARTING, 2)]) == []


def test_only_so_many_are_started_as_there_is_room_for() -> None:
    assert planned(wished(3), room=2) == [Start()] * 2
    assert planned(wished(3), room=0) == []


def test_without_room_for_one_more_a_single_old_replica_makes_place() -> None:
    first, second = replica(READY, 1), replica(READY, 1)
    wish = wished(2, last_stable=OLD)
    assert planned(wish, [first, second], room=0) == [Drain(first.id)]
    assert planned(wish, [replace(first, state=DRAINING), second], room=0) == [], "its place is not free yet"
    assert planned(wish, [second], room=1) == [Start()]


def test_no_old_replica_makes_place_for_one_that_is_not_to_be_started_yet() -> None:
    assert planned(wished(1, last_stable=OLD, failures=1, retry_at=NOW + 9), [replica(READY, 1)], room=0) == []


def wishes() -> Iterator[Deployment]:
    base = deployment(target=WANTED)
    for replicas, removal, served, failures, gave_up, retry_at in product(
        range(4), (None, *Deletion), (None, WANTED, OLD), range(4), (False, True), (NOW - 1, NOW + 1)
    ):
        yield Deployment(
            **vars(base)
            | {"replicas": replicas, "deletion": removal, "last_stable": served, "failures": failures}
            | {"failed": gave_up, "retry_at": retry_at}
        )


def crowds() -> list[list[Replica]]:
    return [[replica(state, target.number, revision=target) for state, target in kinds] for kinds in CROWDS]


def ready(replicas: Sequence[Replica]) -> int:
    return sum(replica.state is READY for replica in replicas)


def judge(wish: Deployment, crowd: Sequence[Replica], room: int, actions: Sequence[Action]) -> str:
    """What is wrong with the actions; nothing when they are right."""
    ended = [action.replica_id for action in actions if isinstance(action, Drain | Stop)]
    starts = sum(isinstance(action, Start) for action in actions)
    by_id = {replica.id: replica for replica in crowd}
    if len(set(ended)) < len(ended) or not by_id.keys() >= set(ended):
        return "an id is unknown, or ended twice"
    if wish.deletion or not wish.replicas:
        return "something is started that nobody wants" if starts else ""
    left = ready(crowd) - sum(by_id[replica_id].state is READY for replica_id in ended)
    least = min(wish.replicas, ready(crowd))
    draining = any(replica.state is DRAINING for replica in crowd)
    if left < least - (room == 0 and not draining):
        return "too few serve"
    if starts and (wish.failed or wish.retry_at is None or wish.retry_at > NOW):
        return "it is too early, or too late, to start"
    staying = sum(replica.state is not DRAINING for replica in crowd) - len(ended)
    if starts and (staying + starts > wish.replicas + 1 or starts > room):
        return "too many are started"
    return ""


@every_state
def test_in_every_small_state_nothing_is_ended_that_is_needed_and_nothing_started_that_is_not(stride: int) -> None:
    for wish, crowd, room in some(product(wishes(), crowds(), range(3)), stride):
        wrong = judge(wish, crowd, room, planned(wish, crowd, room))
        assert not wrong, (wrong, wish, crowd, room)


class World:
    """What becomes of a state, round by round: what starts is ready or ended in the next round, what drains is gone."""

    def __init__(
        self, wish: Deployment, crowd: Sequence[Replica], spare: int, works: Callable[[Revision], bool]
    ) -> None:
        self.wish, self.crowd, self.works = wish, list(crowd), works
        self.erased = False
        self.moment = AT
        self.places = max(wish.replicas, len(crowd) + spare)

    def round(self) -> list[Action]:
        self.moment += timedelta(minutes=2)  # longer than every pause
        seen = {replica.id: Observation(self._phase(replica)) for replica in self.crowd}
        health = {replica.id: Health(successes_in_a_row=2) for replica in self.crowd}
        settled = evaluate(self.wish, self.crowd, seen, EvaluationContext(self.moment, QUICK, health))
        states = {transition.replica.id: transition.state for transition in settled.transitions}
        moved = [
            replace(replica, state=states[replica.id]) if replica.id in states else replica for replica in self.crowd
        ]
        self.crowd = [replica for replica in moved if replica.state.alive]
        if settled.deployment_update:
            self.wish = settled.deployment_update(self.wish)
        room = self.places - len(self.crowd)
        actions = plan(self.wish, self.crowd, now=self.moment.timestamp(), attempts=ATTEMPTS, free_slots=room)
        for action in actions:
            self._apply(action)
        return actions

    def _phase(self, replica: Replica) -> Phase:
        if replica.state is DRAINING:
            return Phase.ABSENT
        return Phase.READY if replica.state in (READY, SILENT) or self.works(replica.revision) else Phase.EXITED

    def _apply(self, action: Action) -> None:
        match action:
            case Start():
                self.crowd.append(
                    replica(STARTING, revision=self.wish.target, created_at=self.moment, changed_at=self.moment)
                )
            case Drain(replica_id) | Stop(replica_id):
                self.crowd = [
                    replace(replica, state=DRAINING) if replica.id == replica_id else replica for replica in self.crowd
                ]
            case RollBack():
                self.wish = rolled_back(self.wish)
            case MarkFailed():
                self.wish = marked_failed(self.wish)
            case RemoveRecord():
                self.erased = True

    def settle_down(self, least: int = 0) -> None:
        """Until nothing is planned and nothing is on its way; so many serve all the time."""
        for _ in range(ROUNDS):
            planned_nothing = not self.round()
            assert ready(self.crowd) >= least, (self.wish, self.crowd)
            paused = (self.wish.retry_at or 0) > self.moment.timestamp()
            if self.erased or (
                planned_nothing and not paused and all(replica.state is READY for replica in self.crowd)
            ):
                return
        raise AssertionError(f"it never comes to rest: {self.wish} {self.crowd}")


def worlds(
    works: Callable[[Revision], bool], spares: Sequence[int], served: Sequence[Revision | None], stride: int
) -> Iterator[World]:
    base = deployment(target=WANTED)
    states = product(range(4), served, (0, 2, 3), (False, True), crowds(), spares)
    for replicas, last, failures, gave_up, crowd, spare in some(states, stride):
        wish = replace(base, replicas=replicas, last_stable=last, failures=failures, failed=gave_up, retry_at=NOW + 1)
        yield World(wish, crowd, spare, works)


@every_state
def test_from_every_small_state_the_wish_comes_true(stride: int) -> None:
    for world in worlds(lambda _: True, (0, 2), (None, WANTED, OLD), stride):
        start = world.wish, world.crowd
        world.settle_down()
        numbers = Counter(replica.revision.number for replica in world.crowd)
        if not world.wish.failed:
            wanted = world.wish.target.number
            assert numbers == Counter({wanted: world.wish.replicas} if world.wish.replicas else {}), start
        assert len(world.crowd) <= world.wish.replicas, start


@pytest.mark.parametrize("removal", Deletion)
def test_from_every_small_state_a_deletion_ends_with_nothing(removal: Deletion) -> None:
    for crowd in crowds():
        world = World(wished(2, deletion=removal), crowd, 0, lambda _: True)
        world.settle_down()
        assert world.erased
        assert not world.crowd


@every_state
def test_an_update_that_never_becomes_ready_takes_nothing_away_and_is_rolled_back_or_given_up(stride: int) -> None:
    for world in worlds(lambda target: target.number == OLD.number, (2,), (None, OLD), stride):
        if any(replica.state in (READY, SILENT) and replica.revision is WANTED for replica in world.crowd):
            continue  # it has become ready
        start = world.wish, list(world.crowd)
        world.settle_down(least=min(world.wish.replicas, ready(world.crowd)))
        tried = world.wish.replicas and not start[0].failed
        if tried and world.wish.last_stable is None:
            assert world.wish.failed, start
        elif tried:
            assert (world.wish.target, world.wish.rolled_back_from) == (OLD, WANTED.config.version), start
            assert ready(world.crowd) == world.wish.replicas, start
