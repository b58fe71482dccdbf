"""What an engine says of a replica beside its state: that it ends it soon, and what it waits for."""

from __future__ import annotations

import pytest

from management.backends.launcher import Observation, Phase
from management.domain.records import ReplicaState
from tests.doubles.management import replica
from tests.management.control.replicas.test_transitions import context, moved, settled


@pytest.mark.parametrize("state", [ReplicaState.STARTING, ReplicaState.READY, ReplicaState.UNRESPONSIVE])
def test_a_replica_that_its_engine_ends_is_drained_so_that_another_one_starts(state: ReplicaState) -> None:
    assert moved(state, Observation(Phase.UNRESPONSIVE, leaving=True)) is ReplicaState.DRAINING
    assert moved(ReplicaState.DRAINING, Observation(Phase.UNRESPONSIVE, leaving=True)) is None


def test_a_replica_that_was_not_ready_in_time_says_what_it_waited_for() -> None:
    waiting = Observation(Phase.STARTING, reason="no suitable node")
    (failed,) = settled(replica(ReplicaState.STARTING), waiting, context(181)).transitions
    assert failed.reason == "it was not ready within 180 s: no suitable node"
