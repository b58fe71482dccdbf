"""Steering a deployment that an engine keeps: some stories, and every small state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations_with_replacement, product
from typing import Any

import pytest

from management.backends.engine import NOTHING_THERE, Condition, Mark, Standing
from management.control.engines.engine_plan import (
    ELSEWHERE,
    Apply,
    Erase,
    Follow,
    GiveUp,
    Halt,
    Move,
    Open,
    Prove,
    Remove,
    RollBack,
    Sight,
    Step,
    order_of,
    steer,
)
from management.control.replicas import transitions
from management.domain.records import MOVES, Deployment, Removal, Replica, ReplicaState, Scaling
from tests.doubles.management import deployment, replica, revision
from tests.support.small_states import every_state, some

HERE = "https://echo.example"
NOW = 1000.0
STARTING, READY, SILENT, DRAINING = (
    ReplicaState.STARTING,
    ReplicaState.READY,
    ReplicaState.SILENT,
    ReplicaState.DRAINING,
)
TOLD = (Apply, Halt, Remove, Erase)
"""What leaves the records: one of them at most in a look."""


def wish(replicas: int = 1, number: int = 2, *, scaling: Scaling | None = None, **changes: Any) -> Deployment:
    wanted = revision(number)
    wanted = replace(wanted, config=replace(wanted.config, scaling=scaling or Scaling(1, 4)))
    return replace(deployment(wanted=wanted, replicas=replicas), **changes)


def row(state: ReplicaState, number: int = 2) -> Replica:
    return replica(state, number, address="" if state is STARTING else HERE)


def sight(one: Deployment, standing: Standing, *, applied: bool | None = True, **told: Any) -> Sight:
    order = order_of(one, NOW)
    mark = None if applied is None else order.mark if applied else Mark(one.id, 1, 9, 9)
    own = {"idle", "lasting"} & told.keys()
    others = {name: told[name] for name in told.keys() - own}
    return Sight(Condition(standing, "echo", mark, address=HERE, **others), order, **{name: told[name] for name in own})


def moved(rows: Sequence[Replica], state: ReplicaState, reason: str = "") -> Move:
    return Move(tuple(one.id for one in rows), state, reason)


def test_what_is_not_there_is_ordered_and_awaited() -> None:
    one = wish(scaling=Scaling(2, 4))
    assert steer(one, [], replace(sight(one, Standing.PENDING), condition=NOTHING_THERE)) == [Apply(), Open(2)]


def test_an_order_that_is_held_is_not_given_again() -> None:
    one = wish()
    assert steer(one, [row(STARTING)], sight(one, Standing.PENDING)) == []


def test_a_number_that_somebody_chose_is_kept_for_a_while_and_then_the_limits() -> None:
    one = wish(3, held_until=NOW + 1)
    assert (order_of(one, NOW).least, order_of(one, NOW).most) == (3, 3)
    assert (order_of(one, NOW + 2).least, order_of(one, NOW + 2).most) == (1, 4)


def test_while_an_update_rolls_out_the_old_rows_serve_on_and_then_they_go() -> None:
    one, old = wish(served=revision(1)), row(READY, 1)
    assert steer(one, [old], sight(one, Standing.RUNNING, applied=False, ready=1)) == [Apply(), Open(1)]
    new = row(STARTING)
    assert steer(one, [old, new], sight(one, Standing.PENDING, ready=1)) == []
    steps = steer(one, [old, new], sight(one, Standing.RUNNING, ready=1))
    assert steps == [moved([old], ReplicaState.GONE), moved([new], READY), Prove()]


def test_a_failed_update_goes_back_and_a_failed_first_start_is_given_up() -> None:
    update, first = wish(served=revision(1)), wish()
    why = "image-build-failed"
    assert steer(update, [row(READY, 1), row(STARTING)], sight(update, Standing.FAILED, reason=why)) == [
        RollBack("image-build-failed")
    ]
    assert steer(first, [row(STARTING)], sight(first, Standing.FAILED, reason=why)) == [GiveUp("image-build-failed")]


def test_what_was_given_up_is_ordered_anew_when_the_wish_is_and_taken_up_when_it_serves_after_all() -> None:
    anew, given_up = wish(), wish(gave_up=True)
    assert steer(anew, [], sight(anew, Standing.FAILED)) == [Apply(), Open(1)]
    assert steer(given_up, [], sight(given_up, Standing.FAILED)) == []
    assert steer(given_up, [], sight(given_up, Standing.RUNNING, ready=1)) == [Prove()]


@pytest.mark.parametrize("standing", [Standing.ENDING, Standing.STOPPED])
def test_what_somebody_else_ends_is_not_started_against_them(standing: Standing) -> None:
    one = wish(served=revision(2))
    assert steer(one, [row(READY)], sight(one, standing)) == [GiveUp(ELSEWHERE)]


def test_what_somebody_else_deleted_is_made_again() -> None:
    one, lost = wish(served=revision(2)), row(READY)
    seen = replace(sight(one, Standing.PENDING), condition=NOTHING_THERE)
    assert [type(step) for step in steer(one, [lost], seen)] == [Move, Apply, Open]


def test_replicas_that_do_not_answer_get_no_requests_until_they_do() -> None:
    one, rows = wish(2, served=revision(2)), [row(READY), row(READY)]
    assert steer(one, rows, sight(one, Standing.UNHEALTHY, ready=1)) == [moved(rows[1:], SILENT)]
    rows = [rows[0], replace(rows[1], state=SILENT)]
    assert steer(one, rows, sight(one, Standing.RUNNING, ready=2))[0] == moved(rows[1:], READY)
    assert steer(one, rows[1:], sight(one, Standing.UNHEALTHY, ready=0, lasting=True)) == [GiveUp("")]


def test_an_update_that_stays_unhealthy_goes_back_though_what_served_before_answers() -> None:
    one, rows = wish(served=revision(1)), [row(READY, 1), row(STARTING)]
    assert steer(one, rows, sight(one, Standing.UNHEALTHY, ready=1)) == []
    assert steer(one, rows, sight(one, Standing.UNHEALTHY, ready=1, lasting=True)) == [RollBack("")]


def test_the_engine_s_own_number_is_followed() -> None:
    one = wish(served=revision(2))
    assert steer(one, [row(READY)], sight(one, Standing.RUNNING, ready=3)) == [Open(2), Follow(3)]


def test_what_was_scaled_to_zero_there_can_be_asked() -> None:
    one, rows = wish(2, scaling=Scaling(0, 4), served=revision(2)), [row(READY), row(READY)]
    assert steer(one, rows, sight(one, Standing.RUNNING, ready=0)) == [moved(rows[1:], ReplicaState.GONE)]


def test_a_model_is_stopped_when_its_requests_are_answered() -> None:
    one, serving = wish(0), row(READY)
    assert steer(one, [serving], sight(one, Standing.RUNNING)) == [moved([serving], DRAINING)]
    drains = replace(serving, state=DRAINING)
    assert steer(one, [drains], sight(one, Standing.RUNNING, idle=False)) == []
    assert steer(one, [drains], sight(one, Standing.RUNNING)) == [Halt()]
    assert steer(one, [drains], sight(one, Standing.ENDING)) == [moved([drains], ReplicaState.GONE)]


def test_a_deletion_is_forgotten_when_nothing_is_there() -> None:
    one, serving = wish(removal=Removal.FORCE), row(READY)
    assert steer(one, [serving], sight(one, Standing.RUNNING)) == [
        moved([serving], ReplicaState.GONE),
        Remove(force=True),
    ]
    assert steer(one, [], sight(one, Standing.ENDING)) == [Remove(force=True)]
    assert steer(one, [], replace(sight(one, Standing.PENDING), condition=NOTHING_THERE)) == [Erase()]


# Every small state


@dataclass
class World:
    """The records, changed as the steps say, under a look that stays what it is."""

    deployment: Deployment
    rows: list[Replica]
    condition: Condition
    idle: bool
    lasting: bool
    erased: bool = False
    steps: list[Step] = field(default_factory=list)

    def look(self) -> None:
        seen = Sight(self.condition, order_of(self.deployment, NOW), self.idle, self.lasting)
        self.steps = steer(self.deployment, self.rows, seen)
        self.check(seen)
        for step in self.steps:
            self.follow(step)
        self.rows = [one for one in self.rows if one.state.alive]

    def follow(self, step: Step) -> None:
        one = self.deployment
        match step:
            case Move(ids, state):
                self.rows = [replace(row, state=state) if row.id in ids else row for row in self.rows]
            case Open(number):
                self.rows += [replica(STARTING, one.wanted.number) for _ in range(number)]
            case Prove():
                self.deployment = replace(one, served=one.wanted, gave_up=False, reason="")
            case GiveUp():
                self.deployment = transitions.given_up(one)
            case RollBack():
                self.deployment = transitions.rolled_back(one)
            case Follow(number):
                self.deployment = replace(one, replicas=number)
            case Erase():
                self.erased = True

    def check(self, seen: Sight) -> None:
        """What must hold of every single look."""
        one, standing = self.deployment, seen.condition.standing
        told = [step for step in self.steps if isinstance(step, TOLD)]
        moves = [
            (replica_id, step.state) for step in self.steps if isinstance(step, Move) for replica_id in step.replica_ids
        ]
        states = {row.id: row.state for row in self.rows}
        assert len(told) <= 1
        assert len(moves) == len(dict(moves)), "each row is moved once"
        assert all(state in MOVES[states[replica_id]] for replica_id, state in moves)
        after = {**states, **dict(moves)}
        for step in told:
            wanted = not one.removal and one.replicas > 0
            assert isinstance(step, Apply) == (wanted and not one.gave_up), step
            assert isinstance(step, Remove | Erase) == bool(one.removal)
            if isinstance(step, Halt) or (isinstance(step, Remove) and not step.force):
                assert not any(state.wanted for state in after.values())
                assert seen.idle or not standing.serves or DRAINING not in after.values()
            if isinstance(step, Erase):
                assert standing is Standing.ABSENT
                assert not self.rows
        promoted = [state for replica_id, state in moves if state is READY]
        assert not promoted or (seen.applied and (standing is Standing.RUNNING or one.proven))


def worlds() -> Iterator[World]:
    states = [
        (STARTING, 1),
        (READY, 1),
        (SILENT, 1),
        (DRAINING, 1),
        (STARTING, 2),
        (READY, 2),
        (SILENT, 2),
        (DRAINING, 2),
    ]
    rows = [every for size in range(3) for every in combinations_with_replacement(states, size)]
    kept = product((0, 2), (None,), (False, True), (None, 1, 2), (None, NOW + 1))
    deleted = product((2,), Removal, (False,), (None,), (None,))
    for (count, removal, gave_up, served, held), states_of in product((*kept, *deleted), rows):
        told = None if served is None else revision(served)
        one = wish(count, removal=removal, gave_up=gave_up, served=told, held_until=held)
        order = order_of(one, NOW)
        for standing, ready in product(Standing, (None, 0, 2)):
            marks = (None,) if standing is Standing.ABSENT else (None, order.mark, Mark(one.id, 1, 9, 9))
            for mark in marks:
                condition = Condition(standing, "echo", mark, ready, HERE)
                for lasting in (False, True) if standing is Standing.UNHEALTHY else (False,):
                    yield World(one, [row(*each) for each in states_of], condition, True, lasting)
        yield World(
            one, [row(*each) for each in states_of], Condition(Standing.RUNNING, "echo", order.mark), False, False
        )


@every_state
def test_from_every_small_state_the_records_come_to_rest_as_the_engine_says(stride: int) -> None:
    for world in some(worlds(), stride):
        before = (world.deployment, [(one.state, one.revision.number) for one in world.rows], world.condition)
        for _ in range(6):
            world.look()
            if world.erased or not [one for one in world.steps if not isinstance(one, TOLD)]:
                break
        else:
            raise AssertionError((before, world.steps))
        at_rest(world, before)


def at_rest(world: World, before: object) -> None:
    one, condition = world.deployment, world.condition
    applied = condition.mark == order_of(one, NOW).mark
    ready = [row for row in world.rows if row.state is READY]
    if not condition.standing.serves:
        assert not ready, before
    if one.removal:
        assert world.erased == (condition.standing is Standing.ABSENT), before
        assert not ready, before
    elif one.replicas and condition.standing is Standing.RUNNING and applied:
        assert one.proven, before
        assert not one.gave_up, before
        assert {row.revision.number for row in ready} == {one.wanted.number}, before
        least = order_of(one, NOW).least
        assert len(ready) == max(1, least if condition.ready is None else condition.ready), before
        assert len(world.rows) == max(len(ready), least), before
    elif one.replicas and condition.standing is Standing.FAILED and applied:
        assert one.gave_up or any(isinstance(step, Apply) for step in world.steps), before
    elif one.replicas and not one.gave_up and condition.mark is not None and condition.standing is not Standing.ENDING:
        assert applied or any(isinstance(step, Apply) for step in world.steps), before
