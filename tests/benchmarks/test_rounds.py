"""The loads of each round of the benchmark."""

from __future__ import annotations

import pytest

from benchmarks.serving.contenders import LONG, PICTURES, SUMMARIZE
from benchmarks.serving.evaluation import COMPARED_CLIENTS
from benchmarks.serving.rounds import LONG_CLIENTS, Plan


def plan(*clients: int) -> Plan:
    return Plan((*PICTURES, SUMMARIZE), (), clients, 1.0)


@pytest.mark.parametrize("task", [*PICTURES, SUMMARIZE])
def test_the_first_round_asks_everything_and_further_ones_what_the_goals_compare(task: str) -> None:
    rounds = plan(1, COMPARED_CLIENTS, 128)
    long = [(LONG, clients) for clients in LONG_CLIENTS] if task == SUMMARIZE else []
    assert rounds.loads(task, 0) == [(task, 1), (task, COMPARED_CLIENTS), (task, 128), *long]
    assert rounds.loads(task, 1) == rounds.loads(task, 2) == [(task, COMPARED_CLIENTS)]


def test_every_round_has_the_chosen_clients_where_they_exclude_the_compared_number() -> None:
    assert plan(4, 8).loads(PICTURES[0], 1) == [(PICTURES[0], 4), (PICTURES[0], 8)]
