"""What each round of the benchmark asks."""

from __future__ import annotations

import pytest

from benchmarks.serving.comparing import COMPARED_CLIENTS
from benchmarks.serving.contenders import LONG, PICTURES, SUMMARIZE
from benchmarks.serving.rounds import LONG_CLIENTS, Plan


def plan(*clients: int) -> Plan:
    return Plan((*PICTURES, SUMMARIZE), (), clients, 1.0)


@pytest.mark.parametrize("task", [*PICTURES, SUMMARIZE])
def test_the_first_round_asks_everything_and_further_ones_what_the_goals_compare(task: str) -> None:
    asked = plan(1, COMPARED_CLIENTS, 128)
    long = [(LONG, clients) for clients in LONG_CLIENTS] if task == SUMMARIZE else []
    assert asked.loads(task, 0) == [(task, 1), (task, COMPARED_CLIENTS), (task, 128), *long]
    assert asked.loads(task, 1) == asked.loads(task, 2) == [(task, COMPARED_CLIENTS)]


def test_whoever_asks_for_other_numbers_of_callers_gets_them_in_each_round() -> None:
    assert plan(4, 8).loads(PICTURES[0], 1) == [(PICTURES[0], 4), (PICTURES[0], 8)]
