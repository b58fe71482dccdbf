"""What a look at the replicas means: each phase in each state, failures and pauses, and what the deployment learns."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from management.backends.launcher import (
    Observation,
    Phase,
    ReplicaUsage,
)
from management.control.evaluation import (
    Evaluation,
    marked_failed,
    rolled_back,
)
from management.control.replicas.plan import MAX_PAUSE_SECONDS
from management.control.replicas.prober import (
    is_unresponsive,
)
from management.control.replicas.transitions import (
    EvaluationContext,
    evaluate,
    evaluate_refusal,
)
from management.control.replicas.usage import (
    UsageSample,
    rates,
)
from management.domain.records import (
    Deployment,
    Health,
    Replica,
    ReplicaState,
)
from tests.doubles.management import AT, deployment, replica, revision, settings

STARTING, READY, DRAINING = ReplicaState.STARTING, ReplicaState.READY, ReplicaState.DRAINING
SILENT, FAILED, GONE = ReplicaState.UNRESPONSIVE, ReplicaState.FAILED, ReplicaState.GONE
SETTINGS = settings(
    Path("unused"),
    start_seconds=180,
    silence_seconds=30,
    drain_seconds=60,
    stop_seconds=5,
    retry_seconds=1,
    steady_seconds=30,
).replicas


def context(seconds: float = 0.5, **changes: Any) -> EvaluationContext:
    """So many seconds after everything was made."""
    return EvaluationContext(AT + timedelta(seconds=seconds), SETTINGS, **changes)


def settled(
    recorded: Replica, look: Observation, when: EvaluationContext | None = None, wish: Deployment | None = None
) -> Evaluation:
    return evaluate(wish or deployment(), [recorded], {recorded.id: look}, when or context())


def moved(state: ReplicaState, look: Observation, when: EvaluationContext | None = None) -> ReplicaState | None:
    """The state that a replica comes into."""
    news = settled(replica(state), look, when).transitions
    return news[0].state if news else None


MOVES = {
    (STARTING, Phase.READY): READY,
    (STARTING, Phase.EXITED): FAILED,
    (READY, Phase.ABSENT): FAILED,
    (READY, Phase.EXITED): FAILED,
    (SILENT, Phase.ABSENT): FAILED,
    (SILENT, Phase.EXITED): FAILED,
    (DRAINING, Phase.ABSENT): GONE,
    (DRAINING, Phase.EXITED): GONE,
}
"""Every phase in every state that means a move at once; all others mean none."""


@pytest.mark.parametrize(("state", "phase"), list(product((STARTING, READY, SILENT, DRAINING), Phase)))
def test_each_phase_in_each_state_means_what_the_table_says(state: ReplicaState, phase: Phase) -> None:
    assert moved(state, Observation(phase)) is MOVES.get((state, phase))


def test_a_replica_that_nobody_looked_at_stays_what_it_is() -> None:
    assert evaluate(deployment(last_stable=revision(1)), [replica()], {}, context()) == Evaluation()


@pytest.mark.parametrize("phase", [Phase.STARTING, Phase.ABSENT, Phase.UNRESPONSIVE])
def test_what_is_not_ready_in_time_has_failed(phase: Phase) -> None:
    assert moved(STARTING, Observation(phase), context(180)) is None
    found = settled(replica(STARTING), Observation(phase), context(180.1))
    assert [(transition.state, transition.reason) for transition in found.transitions] == [
        (FAILED, "it was not ready within 180 s")
    ]


def test_what_a_replica_waits_for_is_recorded_once_and_is_why_it_was_not_ready_in_time() -> None:
    look = Observation(Phase.STARTING, reason="no node takes it: all are full")
    recorded = replica(STARTING)
    assert settled(recorded, look).waiting == {recorded.id: look.reason}
    told = replace(recorded, reason=look.reason)
    assert settled(told, look).waiting == {}
    assert settled(told, Observation(Phase.STARTING)).waiting == {recorded.id: ""}
    (failure,) = settled(told, look, context(180.1)).transitions
    assert failure.reason == "it was not ready within 180 s: no node takes it: all are full"
    (ready,) = settled(told, Observation(Phase.READY)).transitions
    assert ready.more({})["reason"] == ""


@pytest.mark.parametrize("state", [STARTING, READY, SILENT])
def test_what_its_engine_is_about_to_end_is_drained_and_counts_as_no_failure(state: ReplicaState) -> None:
    found = settled(replica(state), Observation(Phase.UNRESPONSIVE, leaving=True))
    assert [transition.state for transition in found.transitions] == [DRAINING]
    assert found.deployment_update is None
    assert moved(DRAINING, Observation(Phase.READY, leaving=True)) is None


def test_a_replica_that_is_silent_for_too_long_has_failed() -> None:
    recorded = replica(READY)
    for seconds, reasons in ((30.0, []), (30.1, ["it did not answer for 30 s"])):
        found = settled(recorded, Observation(Phase.UNRESPONSIVE), context(health={recorded.id: Health(9, 0, seconds)}))
        assert [news.reason for news in found.transitions] == reasons


@pytest.mark.parametrize("state", [STARTING, READY, SILENT])
def test_one_that_could_not_be_looked_at_stays_what_it_is_however_long(state: ReplicaState) -> None:
    recorded = replica(state)
    long = context(1e6, health={recorded.id: Health(9, 0, 1e6)})
    found = settled(recorded, Observation(Phase.UNKNOWN), long)
    assert (found.transitions, found.restart, found.end) == ((), (), {})


@pytest.mark.parametrize(
    ("misses", "others", "ejected"), [(1, 0, False), (2, 0, True), (5, 0, True), (2, 1, False), (2, None, False)]
)
def test_one_that_misses_two_probes_gets_no_more_requests_if_another_one_answers(
    misses: int, others: int | None, *, ejected: bool
) -> None:
    bad, good = replica(READY), replica(READY)
    crowd = [bad] if others is None else [bad, good]
    health = {bad.id: Health(misses, 0, 2.0), good.id: Health(others or 0)}
    found = evaluate(
        deployment(last_stable=revision(1)), crowd, {bad.id: Observation(Phase.UNRESPONSIVE)}, context(health=health)
    )
    assert [transition.state for transition in found.transitions] == [SILENT] * ejected
    assert found.deployment_update is None, "it has not failed"


@pytest.mark.parametrize(("answers", "back"), [(1, False), (2, True)])
def test_a_silent_one_that_answers_twice_is_in_use_again_and_was_ready_since_before(
    answers: int, *, back: bool
) -> None:
    recorded = replica(SILENT, address="unix:/here", ready_at=AT)
    wish = deployment(last_stable=revision(1))
    found = settled(
        recorded, Observation(Phase.READY), context(9, health={recorded.id: Health(successes_in_a_row=answers)}), wish
    )
    back_again = {"address": "unix:/here", "ready_at": AT, "reason": ""}
    assert [news.more({}) for news in found.transitions] == [back_again] * back
    assert found.deployment_update is None


def test_only_a_replica_that_should_serve_can_be_silent() -> None:
    looks = {phase for phase in Phase if is_unresponsive(replica(READY), Observation(phase))}
    assert looks == {Phase.UNRESPONSIVE, Phase.STARTING}
    assert is_unresponsive(replica(SILENT), Observation(Phase.UNRESPONSIVE))
    assert not any(is_unresponsive(replica(state), Observation(Phase.UNRESPONSIVE)) for state in (STARTING, DRAINING))


def test_a_recorded_replica_that_was_never_begun_is_begun() -> None:
    recorded = replica(STARTING)
    assert settled(recorded, Observation(Phase.ABSENT)).restart == (recorded,)
    assert settled(recorded, Observation(Phase.STARTING)).restart == ()
    assert settled(replica(READY), Observation(Phase.ABSENT)).restart == ()


@pytest.mark.parametrize(
    ("seconds", "phase", "in_flight", "ends"),
    [
        (1.0, Phase.READY, 0, False),
        (1.1, Phase.READY, 0, True),
        (1.1, Phase.READY, 1, False),
        (1.1, Phase.UNRESPONSIVE, 0, False),
        (1.1, Phase.UNKNOWN, 0, False),
        (60.1, Phase.UNKNOWN, 0, True),
        (60.0, Phase.READY, 1, False),
        (60.1, Phase.READY, 1, True),
        (60.1, Phase.UNRESPONSIVE, 0, True),
    ],
)
def test_a_draining_replica_ends_when_it_is_idle_or_out_of_time(
    seconds: float, phase: Phase, in_flight: int, *, ends: bool
) -> None:
    recorded = replica(DRAINING)
    found = settled(recorded, Observation(phase, in_flight=in_flight), context(seconds))
    assert found.end == ({recorded.id: 5} if ends else {})


def test_what_is_being_ended_is_not_ended_again() -> None:
    recorded = replica(DRAINING)
    assert settled(recorded, Observation(Phase.READY), context(90, stopping=frozenset({recorded.id}))).end == {}


def test_news_carry_what_the_record_needs() -> None:
    recorded = replica(STARTING)
    [ready] = settled(recorded, Observation(Phase.READY, "unix:/here")).transitions
    assert ready.more({}) == {"address": "unix:/here", "ready_at": ready.at, "reason": ""}
    [failed] = settled(recorded, Observation(Phase.EXITED, reason="it broke")).transitions
    assert failed.more({recorded.id: ["first", "last"]}) == {"reason": "it broke", "log_tail": "first\nlast"}
    [gone] = settled(replica(DRAINING), Observation(Phase.EXITED)).transitions
    assert gone.more({}) == {}


def test_news_become_events() -> None:
    recorded = replica(STARTING)
    [event] = settled(recorded, Observation(Phase.EXITED, reason="it broke")).events("echo", "supervisor")
    assert (event.action, event.model_id, event.actor) == ("replica_failed", "echo", "supervisor")
    assert event.details == {"replica_id": recorded.id, "revision": 1, "reason": "it broke"}


def learnt(
    wish: Deployment, state: ReplicaState, look: Observation, when: EvaluationContext | None = None
) -> Deployment:
    """The wish after a replica of its revision was looked at."""
    change = settled(replica(state), look, when, wish).deployment_update
    return change(wish) if change else wish


def test_the_first_ready_replica_proves_its_revision() -> None:
    after = learnt(deployment(), STARTING, Observation(Phase.READY))
    assert after.last_stable == revision(1)
    assert after.is_stable


def test_what_an_older_revision_does_teaches_nothing() -> None:
    wish = deployment(target=revision(2))
    assert settled(replica(READY, 1), Observation(Phase.EXITED), wish=wish).deployment_update is None


@pytest.mark.parametrize(("failures", "pause"), [(0, 1), (1, 2), (2, 4), (5, 32), (6, MAX_PAUSE_SECONDS), (5000, 60)])
def test_the_pause_doubles_with_each_failure_up_to_a_minute(failures: int, pause: float) -> None:
    after = learnt(deployment(failures=failures), STARTING, Observation(Phase.EXITED, reason="it broke"))
    assert (after.failures, after.reason) == (failures + 1, "it broke")
    assert after.retry_at == pytest.approx(context().at.timestamp() + pause)


def test_the_successor_of_one_that_served_starts_at_once_and_only_the_first_time() -> None:
    proven = deployment(last_stable=revision(1))
    at = context().at.timestamp()
    assert learnt(proven, READY, Observation(Phase.EXITED)).retry_at == at
    assert learnt(replace(proven, failures=1), READY, Observation(Phase.EXITED)).retry_at == at + 1


@pytest.mark.parametrize(("served", "pause"), [(2.0, 0.0), (1.9, 1.0)])
def test_one_of_several_that_is_lost_is_replaced_at_once_unless_it_had_only_just_begun(
    served: float, pause: float
) -> None:
    wish, lost = deployment(replicas=2, last_stable=revision(1), failures=3), replica(READY)
    found = evaluate(wish, [lost, replica(READY)], {lost.id: Observation(Phase.EXITED)}, context(served))
    assert found.deployment_update is not None
    after = found.deployment_update(wish)
    assert (after.failures, after.retry_at) == (3, AT.timestamp() + served + pause)


def test_the_last_one_that_served_for_long_is_no_crash_loop() -> None:
    before = deployment(last_stable=revision(1), failures=4)
    after = learnt(before, READY, Observation(Phase.EXITED), context(31))
    assert (after.failures, after.retry_at) == (1, AT.timestamp() + 31)


def test_what_was_started_before_a_failure_and_fails_too_says_nothing_new() -> None:
    wish, both = deployment(replicas=2), [replica(STARTING), replica(STARTING)]
    found = evaluate(wish, both, {each.id: Observation(Phase.EXITED) for each in both}, context())
    assert found.deployment_update is not None
    after = found.deployment_update(wish)
    assert (after.failures, after.retry_at) == (1, context().at.timestamp() + 1)
    again = replica(STARTING, created_at=AT + timedelta(seconds=1.5))
    assert learnt_of(after, again, context(3)).failures == 2


def learnt_of(wish: Deployment, recorded: Replica, when: EvaluationContext) -> Deployment:
    """The wish after this replica has ended."""
    change = settled(recorded, Observation(Phase.EXITED), when, wish).deployment_update
    return change(wish) if change else wish


def test_one_that_crashes_by_itself_is_a_failure_also_where_others_serve_and_no_pause_grows_shorter() -> None:
    wish, bad = deployment(replicas=2, last_stable=revision(1), failures=2), replica(READY)
    crash = {bad.id: Observation(Phase.EXITED, crashed=True)}
    found = evaluate(wish, [bad, replica(READY)], crash, context(9))
    assert found.deployment_update is not None
    after = found.deployment_update(wish)
    assert (after.failures, after.retry_at) == (3, AT.timestamp() + 9 + 2)
    killed = evaluate(after, [bad, replica(READY)], {bad.id: Observation(Phase.EXITED)}, context(10))
    assert killed.deployment_update is not None
    assert killed.deployment_update(after).retry_at == after.retry_at
    late = evaluate(wish, [bad, replica(READY)], crash, context(31))
    assert late.deployment_update is not None
    assert late.deployment_update(wish).failures == 2, "it served for long"


def test_an_update_is_proven_when_nothing_is_left_to_go_back_to() -> None:
    wish = deployment(target=revision(2), last_stable=revision(1))
    new, old = replica(READY, 2), replica(READY, 1)
    seen = {each.id: Observation(Phase.READY) for each in (new, old)}
    assert evaluate(wish, [new, old], seen, context()).deployment_update is None
    found = evaluate(wish, [new, replace(old, state=DRAINING)], seen, context())
    assert found.deployment_update is not None
    assert found.deployment_update(wish).last_stable == revision(2)


def test_a_refused_start_is_a_failure_like_any_other() -> None:
    wish = deployment()
    found = evaluate_refusal(wish, replica(STARTING), "there is no such image", context())
    assert [transition.state for transition in found.transitions] == [FAILED]
    assert found.deployment_update is not None
    after = found.deployment_update(wish)
    assert (after.failures, after.reason) == (1, "there is no such image")


def test_failures_are_forgotten_after_a_calm_while_with_something_ready() -> None:
    tired = deployment(last_stable=revision(1), failures=2, retry_at=AT.timestamp())
    look = Observation(Phase.READY)
    assert learnt(tired, READY, look, context(30)) == tired
    assert learnt(tired, READY, look, context(30.1)) == replace(tired, failures=0, retry_at=None)
    assert learnt(tired, DRAINING, look, context(30.1)) == tired, "nothing is ready"


def test_a_failure_in_a_calm_while_is_not_forgotten_with_the_others() -> None:
    tired = deployment(replicas=2, last_stable=revision(1), failures=2, retry_at=AT.timestamp())
    good, bad = replica(READY), replica(READY)
    seen = {good.id: Observation(Phase.READY), bad.id: Observation(Phase.EXITED)}
    found = evaluate(tired, [good, bad], seen, context(31))
    assert found.deployment_update is not None
    assert found.deployment_update(tired).failures == 2


def test_a_wish_that_came_between_look_and_record_is_not_overwritten() -> None:
    change = settled(replica(STARTING), Observation(Phase.EXITED)).deployment_update
    assert change is not None
    newer = deployment(target=revision(2), replicas=5)
    assert change(newer) is newer
    scaled = deployment(replicas=5)
    assert change(scaled).replicas == 5
    assert change(scaled).failures == 1


def test_a_failure_and_a_success_in_one_look_are_both_learnt() -> None:
    wish = deployment(replicas=2)
    good, bad = replica(STARTING), replica(STARTING)
    seen = {good.id: Observation(Phase.READY), bad.id: Observation(Phase.EXITED)}
    found = evaluate(wish, [good, bad], seen, context())
    assert found.deployment_update is not None
    after = found.deployment_update(wish)
    assert after.is_stable
    assert after.failures == 1


def test_rolled_back_wants_what_served_and_says_what_was_abandoned() -> None:
    wish = deployment(target=revision(2), last_stable=revision(1), failures=3, retry_at=1.0, reason="it broke")
    after = rolled_back(wish)
    assert (after.target, after.rolled_back_from, after.failures, after.retry_at) == (revision(1), "2.0.0", 0, None)
    assert (after.rollback_reason, after.reason) == ("it broke", "")
    assert after.revision_counter == 2, "the number of the failed revision is never given again"


def test_given_up_waits_for_nothing() -> None:
    after = marked_failed(deployment(failures=3, retry_at=1.0, reason="it broke"))
    assert (after.failed, after.retry_at, after.reason) == (True, None, "it broke")


def test_what_is_used_is_the_rate_between_two_measurements() -> None:
    before = {"a": UsageSample(10.0, ReplicaUsage(1.0, 5)), "gone": UsageSample(10.0, ReplicaUsage(1.0, 5))}
    now = {"a": UsageSample(12.0, ReplicaUsage(2.0, 7)), "new": UsageSample(12.0, ReplicaUsage(2.0, 7))}
    assert rates(before, now) == {"a": (500, 7)}
    assert rates({}, now) == {}


def test_what_a_backend_measures_by_itself_is_the_rate_between_its_own_measurements() -> None:
    first, second = ReplicaUsage(1.0, 5, 100.0), ReplicaUsage(4.0, 7, 115.0)
    assert rates({"a": UsageSample(100.0, first)}, {"a": UsageSample(115.0, second)}) == {"a": (200, 7)}
    assert rates({"a": UsageSample(100.0, first)}, {"a": UsageSample(100.0, first)}) == {}, "it is the same one"


def test_what_is_used_is_never_negative_nor_divided_by_nothing() -> None:
    before = {"a": UsageSample(10.0, ReplicaUsage(5.0, 5))}
    assert rates(before, {"a": UsageSample(12.0, ReplicaUsage(0.0, 7))}) == {"a": (0, 7)}
    assert rates(before, {"a": UsageSample(10.0, ReplicaUsage(5.0, 7))}) == {"a": (0, 7)}


def test_a_revision_that_serves_only_after_the_next_one_was_wanted_is_what_an_update_goes_back_to() -> None:
    wish = deployment(target=revision(2))
    found = settled(replica(STARTING), Observation(Phase.READY, address="unix:/a"), wish=wish)
    assert found.deployment_update is not None
    learnt = found.deployment_update(wish)
    assert learnt.last_stable == revision(1)
    assert not learnt.is_stable
    assert rolled_back(replace(learnt, failures=3)).target.number == 1
    again = settled(replica(READY), Observation(Phase.READY, address="unix:/a"), wish=learnt)
    assert again.deployment_update is None, "it is learnt once"
