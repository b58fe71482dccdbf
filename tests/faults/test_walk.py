"""A random walk: wishes change, replicas die, control planes are killed. Soon after, everything is as it was wished.

Over the real store, ledger and supervisor; the launcher is a double, and time passes only where the walk says so.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Coroutine
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from management.backends.launcher import (
    Phase,
    ReplicaUsage,
)
from management.control.commands import DeploymentCommands
from management.domain.records import Deployment, ReplicaState, Status, status_of
from management.errors import ManagementError
from management.forms.bodies import ChangedConfigBody, ConfigBody, ScalingBody
from management.forms.configs import change_of, config_of
from management.store import Session, Store
from tests.doubles.management import AT, DyingLauncher
from tests.doubles.stage import HandClock, Stage
from tests.support.running.effort import effort

T = TypeVar("T")

WALKS: Final = effort(300, 60)
CONVERGED_SECONDS: Final = 10.0
MODELS: Final = ("first", "second")
BAD: Final = "tests/echo:9.0.0"
SOMEBODY: Final = "somebody"
SERVED: Final = (ReplicaState.READY, ReplicaState.UNRESPONSIVE)

models = st.sampled_from(MODELS)
versions = st.sampled_from(["1.0.0", "2.0.0", "3.0.0", "9.0.0"])


class SlowOrDyingLauncher(DyingLauncher):
    """Replicas take two looks to become ready; those of one image end instead."""

    def __init__(self) -> None:
        super().__init__(BAD)
        self._looks: Counter[str] = Counter()

    def becomes(self, launch: Any) -> Phase:
        self._looks[launch.replica_id] += 1
        return Phase.STARTING if self._looks[launch.replica_id] < 2 else super().becomes(launch)

    async def usage(self, replica_ids: Collection[str]) -> dict[str, ReplicaUsage]:
        # No load: it would change the desired state.
        return {replica_id: ReplicaUsage(0.0, 7) for replica_id in replica_ids}


@cache
def empty_database() -> bytes:
    """A database with its tables: to make them anew for each walk would take most of the time."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(f"sqlite:///{folder}/db")
        store.migrate()
        store.close()
        return (Path(folder) / "db").read_bytes()


class Walk(RuleBasedStateMachine):
    """One control plane after the other, and whoever uses and torments them."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="at-walk-"))
        (self.folder / "db").write_bytes(empty_database())
        self.loop = asyncio.new_event_loop()
        self.clock = HandClock(AT.timestamp())
        kept: dict[str, Any] = {
            "drain_seconds": 5,
            "retry_seconds": 0.2,
            "steady_seconds": 30,
            "lease_seconds": 3,
            "silence_seconds": 1,
            "start_seconds": 3,
        }
        self.stage = Stage(self.folder, SlowOrDyingLauncher(), clock=self.clock, **kept)
        self.wishes = DeploymentCommands(self.stage.capacity, hold_seconds=1e9, clock=self.clock)
        self.acknowledged: dict[str, Deployment | None] = {}
        self.pass_by(1.0)

    def teardown(self) -> None:
        if not hasattr(self, "loop"):
            return
        try:
            self.all_is_as_wished()
        finally:
            self.run(self.stage.supervisor.close(stop_replicas=False))
            self.stage.store.close()
            self.loop.close()
            shutil.rmtree(self.folder)

    # What users do

    @rule(model_id=models, replicas=st.integers(1, 3), version=versions)
    def deploy(self, model_id: str, replicas: int, version: str) -> None:
        body = ConfigBody(
            model_id=model_id,
            name="Echo",
            version=version,
            model_type="multimodal",
            framework="onnx",
            docker_image=f"tests/echo:{version}",
            scaling_config=ScalingBody(min_replicas=replicas, max_replicas=4),
        )
        self.change(model_id, lambda session: self.wishes.deploy(session, model_id, config_of(body), SOMEBODY))

    @rule(model_id=models, version=versions)
    def update(self, model_id: str, version: str) -> None:
        body = ChangedConfigBody(version=version, docker_image=f"tests/echo:{version}")
        self.change(model_id, lambda session: self.wishes.update(session, model_id, change_of(body), SOMEBODY))

    @rule(model_id=models, replicas=st.sampled_from([0, 3, 4]))
    def scale(self, model_id: str, replicas: int) -> None:
        self.change(model_id, lambda session: self.wishes.scale(session, model_id, replicas, SOMEBODY))

    @rule(model_id=models, force=st.booleans())
    def delete(self, model_id: str, force: bool) -> None:
        self.change(model_id, lambda session: self.wishes.delete(session, model_id, force=force, actor=SOMEBODY))

    def change(self, model_id: str, work: Callable[[Session], Deployment]) -> None:
        """A change is made whole or refused."""
        try:
            with self.stage.store.writing() as session:
                deployment = work(session)
        except ManagementError:
            return
        self.acknowledged[model_id] = None if deployment.deletion else deployment

    # What happens to them

    @precondition(lambda self: self.alive())
    @rule(chance=st.randoms(use_true_random=False))
    def kill_a_replica(self, chance: Any) -> None:
        self.stage.launcher.kill(chance.choice(self.alive()))

    @precondition(lambda self: self.alive())
    @rule(chance=st.randoms(use_true_random=False))
    def hang_a_replica(self, chance: Any) -> None:
        self.stage.launcher.phases[chance.choice(self.alive())] = Phase.UNRESPONSIVE

    @rule()
    def kill_the_control_plane(self) -> None:
        """Another one takes over, when the lease of the first has run out."""
        self.run(self.stage.supervisor._prober.close())
        self.stage.supervisor = self.stage.made()

    @rule(steps=st.integers(0, 40))
    def kill_it_in_the_middle(self, steps: int) -> None:
        """It goes on for so many steps, and no further."""
        try:
            self.run(self.stage.dies_after(steps))
        finally:
            self.kill_the_control_plane()

    @rule(seconds=st.sampled_from([0.1, 1.0, 4.0]))
    def pass_by(self, seconds: float) -> None:
        end = self.clock.at + seconds
        while self.clock.at < end:
            self.clock.at += self.run(self.stage.step())

    # What must be true

    @invariant()
    def nothing_is_started_twice(self) -> None:
        if hasattr(self, "stage"):
            begun = self.stage.launcher.begun
            assert len(set(begun)) == len(begun)

    @invariant()
    def nothing_that_was_acknowledged_is_lost(self) -> None:
        if not hasattr(self, "stage"):
            return
        for model_id, wish in self.acknowledged.items():
            found = self.stage.found(model_id)
            if wish is None:
                assert found is None or found.deletion
            else:
                assert found is not None
                assert (found.id, found.replicas, found.revision_counter) == (
                    wish.id,
                    wish.replicas,
                    wish.revision_counter,
                )

    @invariant()
    def no_more_run_than_are_recorded_and_wished(self) -> None:
        if not hasattr(self, "stage"):
            return
        alive = Counter(replica.deployment_id for replica in self.stage.replicas() if replica.state.active)
        for deployment_id, number in alive.items():
            (wish,) = [found for model in MODELS if (found := self.stage.found(model)) and found.id == deployment_id]
            most = max(wish.replicas, self.most_wished(deployment_id)) + 1
            assert number <= most

    def most_wished(self, _: str) -> int:
        return 4  # a wish for fewer may not have been followed yet

    @rule()
    def all_is_as_wished(self) -> None:
        """Some seconds after the last that happened."""
        self.pass_by(CONVERGED_SECONDS)
        running = set(self.run(self.stage.launcher.list_running()))
        replicas = self.stage.replicas()
        assert running == {replica.id for replica in replicas if replica.state.alive}, (
            "an orphan, or a record of nothing"
        )
        for model_id in MODELS:
            wish = self.stage.found(model_id)
            if wish is None:
                continue
            own = [replica for replica in replicas if replica.deployment_id == wish.id]
            serving = [replica for replica in own if replica.state in SERVED]
            assert not wish.deletion, "it is deleted by now"
            if status_of(wish, own) is Status.FAILED:
                assert wish.reason
                assert not serving
                continue
            assert len(serving) == wish.replicas == sum(replica.state.active for replica in own), (wish, own)
            assert {replica.revision.number for replica in serving} <= {wish.target.number}

    def alive(self) -> list[str]:
        found: list[str] = self.run(self.stage.launcher.list_running())
        return sorted(found)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)


@pytest.mark.slow
def test_whatever_happens_the_wishes_come_true_within_ten_seconds(figure: Any) -> None:
    walks = settings(max_examples=WALKS, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(Walk, settings=walks)
    figure(f"{WALKS} walks, 0 violations", goal="300 walks, as wished within 10 s of virtual time, 0 violations")
