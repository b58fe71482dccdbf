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
from management.control.replicas.plan import Action, Drain, Start, Stop, is_at_rest, plan
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
from management.domain.strategy import Strategy
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
every_strategy = pytest.mark.parametrize("strategy", Strategy)


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


def wanted(strategy: Strategy) -> Revision:
    return replace(WANTED, config=replace(WANTED.config, strategy=strategy))


def wishes(strategy: Strategy) -> Iterator[Deployment]:
    base = deployment(target=wanted(strategy))
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
    if starts > room:
        return "there is no room for so many"
    if len(set(ended)) < len(ended) or not by_id.keys() >= set(ended):
        return "an id is unknown, or ended twice"
    if wish.deletion or not wish.replicas:
        return "something is started that nobody wants" if starts else ""
    at_once = wish.target.config.strategy is Strategy.RECREATE
    left = ready(crowd) - sum(by_id[replica_id].state is READY for replica_id in ended)
    least = min(wish.replicas, ready(crowd))
    draining = any(replica.state is DRAINING for replica in crowd)
    coming = any(
        replica.state in (STARTING, SILENT) and replica.revision.number == wish.target.number for replica in crowd
    )
    too_early = wish.failed or wish.retry_at is None or wish.retry_at > NOW
    if left < least - (room == 0 and not draining and not coming) and not (at_once and not starts and not too_early):
        return "too few serve"
    if starts and too_early:
        return "it is too early, or too late, to start"
    return too_many(wish, [replica for replica in crowd if replica.id not in ended], starts) if starts else ""


def too_many(wish: Deployment, staying: Sequence[Replica], starts: int) -> str:
    """What is wrong with so many starts beside those that stay."""
    old = [replica for replica in staying if replica.revision.number != wish.target.number]
    new = [replica for replica in staying if replica.state is not DRAINING and replica not in old]
    serves = any(replica.state is READY for replica in staying)
    active_old = [replica for replica in old if replica.state is not DRAINING]
    match wish.target.config.strategy:
        case Strategy.RECREATE if old:
            return "an old one is still there"
        case Strategy.RAMPED_SLOW_ROLLOUT if (
            old
            and serves
            and (starts > 1 or len(old) > len(active_old) or any(each.state is not READY for each in new))
        ):
            return "more than one starts, or the one before is not ready, or an old one is not gone yet"
        case Strategy.BEST_EFFORT if len(new) + starts > wish.replicas:
            return "more than are wanted are started"
        case Strategy.BEST_EFFORT if wish.failures and starts > 1 and not any(each.state is READY for each in new):
            return "more than one is tried after a failure"
        case Strategy.ROLLING_UPDATE | Strategy.RAMPED_SLOW_ROLLOUT if (
            len(new) + len(active_old) + starts > wish.replicas + 1
        ):
            return "too many are started"
    return ""


@every_strategy
def test_in_every_small_state_of_an_update_its_strategy_is_kept_to(strategy: Strategy) -> None:
    started = 0
    for replicas, failures, crowd, room in product(range(1, 4), (0, 1), crowds(), range(3)):
        wish = deployment(target=wanted(strategy), replicas=replicas, last_stable=OLD, failures=failures, retry_at=NOW)
        actions = planned(wish, crowd, room)
        wrong = judge(wish, crowd, room, actions)
        assert not wrong, (wrong, wish, crowd, room)
        started += Start() in actions
    assert started > 100


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
        self._check(actions)
        return actions

    def _check(self, actions: Sequence[Action]) -> None:
        """Whatever is done at once, no promise of the strategy is broken."""
        if Start() not in actions:
            return
        old = [replica for replica in self.crowd if replica.revision.number != self.wish.target.number]
        match self.wish.target.config.strategy:
            case Strategy.RECREATE:
                assert not old, (self.wish, self.crowd)
            case Strategy.RAMPED_SLOW_ROLLOUT if old and any(replica.state is READY for replica in self.crowd):
                active = [replica for replica in self.crowd if replica.state is not DRAINING]
                assert len(active) <= self.wish.replicas + 1, (self.wish, self.crowd)

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
    works: Callable[[Revision], bool],
    spares: Sequence[int],
    served: Sequence[Revision | None],
    stride: int,
    strategy: Strategy,
) -> Iterator[World]:
    base = deployment(target=wanted(strategy))
    states = product(range(4), served, (0, 2, 3), (False, True), crowds(), spares)
    for replicas, last, failures, gave_up, crowd, spare in some(states, stride):
        wish = replace(base, replicas=replicas, last_stable=last, failures=failures, failed=gave_up, retry_at=NOW + 1)
        yield World(wish, crowd, spare, works)


@every_strategy
@every_state
def test_from_every_small_state_the_wish_comes_true(stride: int, strategy: Strategy) -> None:
    for world in worlds(lambda _: True, (0, 2), (None, WANTED, OLD), stride, strategy):
        start = world.wish, world.crowd
        world.settle_down()
        numbers = Counter(replica.revision.number for replica in world.crowd)
        if not world.wish.failed:
            number = world.wish.target.number
            assert numbers == Counter({number: world.wish.replicas} if world.wish.replicas else {}), start
        assert len(world.crowd) <= world.wish.replicas, start


@every_strategy
@pytest.mark.parametrize("replicas", range(4))
def test_where_a_deployment_is_at_rest_there_is_nothing_to_plan_and_nothing_to_record(
    replicas: int, strategy: Strategy
) -> None:
    rested = 0
    wishes = [
        wished(replicas, last_stable=last, failures=failures, retry_at=retry_at, failed=gave_up, deletion=deletion)
        for last, failures, retry_at, gave_up, deletion in product(
            (None, OLD, WANTED), (0, 1), (None, NOW - 100.0), (False, True), (None, Deletion.GRACEFUL)
        )
    ]
    for wish, crowd in product(wishes, crowds()):
        held = replace(wish, target=replace(wish.target, config=replace(wish.target.config, strategy=strategy)))
        if not is_at_rest(held, crowd):
            continue
        rested += 1
        for spare, later in product((0, 9), (0.0, 1e6)):
            assert plan(held, crowd, now=NOW + later, attempts=ATTEMPTS, free_slots=spare) == []
            answers = {each.id: Observation(Phase.READY, each.address) for each in crowd}
            context = EvaluationContext(AT + timedelta(seconds=later), QUICK, {each.id: Health(0, 1) for each in crowd})
            found = evaluate(held, crowd, answers, context)
            assert (found.transitions, found.deployment_update, found.restart) == ((), None, ())
            assert not found.end
            assert not found.waiting
    assert rested, "the test has found such deployments"


@pytest.mark.parametrize("removal", Deletion)
def test_from_every_small_state_a_deletion_ends_with_nothing(removal: Deletion) -> None:
    for crowd in crowds():
        world = World(wished(2, deletion=removal), crowd, 0, lambda _: True)
        world.settle_down()
        assert world.erased
        assert not world.crowd


@every_strategy
@every_state
def test_an_update_that_never_becomes_ready_takes_nothing_away_and_is_rolled_back_or_given_up(
    stride: int, strategy: Strategy
) -> None:
    for world in worlds(lambda target: target.number == OLD.number, (2,), (None, OLD), stride, strategy):
        if any(replica.state in (READY, SILENT) and replica.revision is WANTED for replica in world.crowd):
            continue  # it has become ready
        start = world.wish, list(world.crowd)
        serving = 0 if strategy is Strategy.RECREATE else ready(world.crowd)
        world.settle_down(least=min(world.wish.replicas, serving))
        tried = world.wish.replicas and not start[0].failed
        if tried and world.wish.last_stable is None:
            assert world.wish.failed, start
        elif tried:
            assert (world.wish.target.number, world.wish.rolled_back_from) == (1, WANTED.config.version), start
            assert world.wish.target.config.strategy is strategy
            assert ready(world.crowd) == world.wish.replicas, start
