"""How many replicas a load asks for: single looks, recorded curves, and models whose load depends on their number."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from management.control.autoscaling.policy import (
    LoadSample,
    Recommendation,
    RecommendationHistory,
    decide,
    idle,
    recommend,
)
from management.domain.records import Scaling
from tests.doubles.management import config, deployment, revision

QUIET = 60.0
ONE_TO_TEN = Scaling(1, 10, 70)


def load(ready: int = 2, utilization: float | None = 50.0, *, in_flight: int = 0, waiting: int = 0) -> LoadSample:
    return LoadSample(0.0, ready, utilization, in_flight, waiting, slots=ready * 10)


@pytest.mark.parametrize(
    ("look", "replicas"),
    [
        (load(2, 70), 2),
        (load(2, 76), 2),  # within a tenth of the target
        (load(2, 80), 3),
        (load(2, 64), 2),
        (load(4, 35), 2),
        (load(2, 140), 4),
        (load(2, 700), 4),  # no more than twice as many at a time
        (load(8, 700), 10),
        (load(2, 0), 1),
        (load(2, None), 2),
        (load(2, 10, in_flight=20), 2),  # all places are taken, and nobody waits
        (load(4, 10, in_flight=12), 2),
        (load(2, 10, in_flight=20, waiting=1), 3),
        (load(2, 10, in_flight=20, waiting=100), 4),
        (load(3, 10, in_flight=3, waiting=1), 4),  # the places of one worker may be taken
    ],
)
def test_a_look_asks_for_so_many(look: LoadSample, replicas: int) -> None:
    assert recommend(look, look.ready, ONE_TO_TEN).replicas == replicas


def test_a_wish_that_has_not_come_true_yet_is_not_taken_back() -> None:
    assert recommend(load(1, 700), 6, ONE_TO_TEN).replicas == 6
    assert recommend(load(1, 20), 6, ONE_TO_TEN).replicas == 1


def test_the_reason_is_what_asks_for_most() -> None:
    assert recommend(load(2, 140), 2, ONE_TO_TEN).reason == "CPU at 140 % of what was asked for, target 70 %, 2 ready"
    assert recommend(load(2, 10, in_flight=20, waiting=5), 2, ONE_TO_TEN).reason == "5 requests wait, 2 ready"
    assert recommend(load(2, 10, in_flight=11), 2, ONE_TO_TEN).reason == "11 of 20 places taken, 2 ready"


@pytest.mark.parametrize(
    ("look", "replicas"),
    [
        (load(2, 70, in_flight=8), 2),
        (load(2, 70, in_flight=9), 3),  # 4.5 for each, beyond a tenth of the target
        (load(10, 70, in_flight=44), 10),  # within a tenth
        (load(10, 70, in_flight=45), 10),  # the limit
        (load(4, 70, in_flight=5, waiting=16), 6),
        (load(2, 70, in_flight=40), 4),  # no more than twice as many at a time
        (load(2, 140, in_flight=1), 4),  # the CPU asks for more
        (load(4, 10, in_flight=1), 1),
        (load(4, None, in_flight=1), 4),
    ],
)
def test_a_target_concurrency_is_a_number_of_its_own(look: LoadSample, replicas: int) -> None:
    assert recommend(look, look.ready, Scaling(1, 10, 70, target_concurrency=4)).replicas == replicas


def test_the_reason_names_the_concurrency() -> None:
    found = recommend(load(2, 10, in_flight=9, waiting=3), 2, Scaling(1, 10, 70, 2))
    assert found.reason == "12 requests in flight or waiting, target 2 for each replica, 2 ready"


loads = st.builds(
    LoadSample,
    at=st.just(0.0),
    ready=st.integers(1, 64),
    utilization=st.none() | st.floats(0, 6400),
    in_flight=st.integers(0, 3000),
    waiting=st.integers(0, 3000),
    slots=st.integers(0, 3000),
)
scalings = st.builds(
    lambda low, more, target, concurrency: Scaling(low, low + more, target, concurrency),
    st.integers(0, 10),
    st.integers(0, 54),
    st.integers(1, 100),
    st.none() | st.integers(1, 10_000),
)


@given(loads, scalings)
def test_no_look_asks_for_more_or_less_than_is_allowed(look: LoadSample, scaling: Scaling) -> None:
    found = recommend(look, scaling.clamped(look.ready), scaling).replicas
    assert max(1, scaling.min_replicas) <= found <= max(1, scaling.max_replicas)


def changes(curve: Iterable[int], wish: int = 1) -> list[tuple[float, int]]:
    """When the wish changed, and to what, where a look a second advised the numbers of ``curve``."""
    history, made = RecommendationHistory(), []
    for at, number in enumerate(curve):
        history.add(Recommendation(float(at), number, ""), QUIET)
        change = decide(wish, history.advice, QUIET)
        if change is not None:
            wish = change.replicas
            made.append((float(at), wish))
    return made


CURVES: dict[str, tuple[list[int], list[tuple[float, int]]]] = {
    "a step up is followed at once": ([1] * 10 + [4] * 20, [(11, 4)]),
    "a step down is followed after a quiet time": ([4] * 10 + [1] * 100, [(1, 4), (70, 1)]),
    "an instant is no step": (([1] * 9 + [5]) * 20, []),
    "two looks are": ([1, 1, 5, 5] + [1] * 70, [(3, 5), (64, 1)]),
    "a saw is followed by its teeth's height": ([1, 2, 3, 4, 4, 3, 2, 1] * 30, [(2, 2), (3, 3), (4, 4)]),
    "a long slope down goes by what a quiet time needed at most": (
        [6] * 2 + [5] * 61 + [3] * 61 + [1] * 61,
        [(1, 6), (62, 5), (123, 3), (184, 1)],
    ),
    "a slow wave goes up and down with it": (([1] * 100 + [3] * 100) * 2, [(101, 3), (260, 1), (301, 3)]),
}


@pytest.mark.parametrize("name", CURVES)
def test_a_curve_is_followed(name: str) -> None:
    curve, expected = CURVES[name]
    assert changes(curve) == expected


def test_after_a_gap_nothing_is_known_of_a_quiet_time() -> None:
    history = RecommendationHistory()
    for at in (0.0, 1.0, 2.0, 100.0, 101.0):
        history.add(Recommendation(at, 1, ""), QUIET)
        assert decide(3, history.advice, QUIET) is None


@given(st.lists(st.integers(1, 8), max_size=400))
def test_nothing_is_ended_that_was_needed_in_the_last_quiet_time(curve: list[int]) -> None:
    made = changes(curve)
    for (_, before), (at, after) in pairwise([(0.0, 1), *made]):
        needed = curve[max(0, int(at - QUIET)) : int(at) + 1]
        assert after in needed
        assert after > before or (max(needed) == after and at >= QUIET)


class Plant:
    """A model whose replicas share its work evenly, and take a while to start."""

    def __init__(self, scaling: Scaling, start_seconds: int = 4) -> None:
        self.scaling, self.start_seconds = scaling, start_seconds
        self.wish, self.starting, self.ready = scaling.clamped(1), [0], 0
        self.wishes: list[int] = []
        self.history = RecommendationHistory()

    def second(self, at: int, millicores: float, asked: float = 1000.0) -> None:
        self.ready += sum(ready_at <= at for ready_at in self.starting)
        self.starting = [ready_at for ready_at in self.starting if ready_at > at]
        if self.ready:
            used = 100 * millicores / self.ready / asked
            look = LoadSample(float(at), self.ready, used, in_flight=1, waiting=0, slots=self.ready * 32)
            self.history.add(recommend(look, self.wish, self.scaling), QUIET)
            change = decide(self.wish, self.history.advice, QUIET)
            if change is not None:
                self._follow(at, change.replicas)
        self.wishes.append(self.wish)

    def _follow(self, at: int, wish: int) -> None:
        there = self.ready + len(self.starting)
        self.starting += [at + self.start_seconds] * (wish - there)
        self.ready -= max(0, there - wish)
        self.wish = wish


def run(curve: Sequence[float], scaling: Scaling = ONE_TO_TEN) -> Plant:
    plant = Plant(scaling)
    for at, millicores in enumerate(curve):
        plant.second(at, millicores)
    return plant


def turns(wishes: Sequence[int]) -> int:
    """How often it went up and then down, or down and then up."""
    steps = [after > before for before, after in pairwise(wishes) if after != before]
    return sum(first != second for first, second in pairwise(steps))


@given(st.floats(1, 20_000), st.integers(1, 100), st.floats(0, 0.09))
def test_a_steady_load_is_met_and_then_nothing_changes_any_more(work: float, target: int, noise: float) -> None:
    plant = run([work * (1 + noise * (-1) ** at) for at in range(300)], Scaling(1, 10, target))
    assert turns(plant.wishes) == 0, plant.wishes
    assert len(set(plant.wishes[-150:])) == 1
    enough = min(10, ceil(work * (1 - noise) * 100 / target / 1000 / 1.1 - 1e-6))
    assert plant.wish >= max(1, enough)


@pytest.mark.parametrize(
    ("curve", "most_turns", "highest"),
    [
        (lambda at: 300 + 5000 * max(0.0, min(1.0, (at - 60) / 30, (600 - at) / 30)), 1, 8),
        (lambda at: 6000 if at % 60 < 10 else 100, 0, 8),
        (lambda at: 6000 if at % 180 < 10 else 100, 8, 4),
    ],
    ids=["a working day", "ten seconds each minute", "ten seconds each three minutes"],
)
def test_a_day_is_followed_without_flapping(curve: Callable[[int], float], most_turns: int, highest: int) -> None:
    plant = run([curve(at) for at in range(720)])
    assert turns(plant.wishes) <= most_turns, plant.wishes
    assert max(plant.wishes) == highest


@pytest.mark.parametrize(("low", "seconds", "expected"), [(0, 300.0, True), (0, 299.0, False), (1, 1e9, False)])
def test_only_a_model_on_demand_sleeps_when_nobody_asks(low: int, seconds: float, *, expected: bool) -> None:
    model = deployment(target=revision(1, scaling=Scaling(low, 3)))
    assert idle(model, 1000.0, 1000.0 + seconds, 300.0) is expected
    assert config().scaling.min_replicas == 0, "the doubles are on demand"
