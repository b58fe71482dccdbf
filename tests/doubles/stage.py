"""A supervisor with a real store and a fake launcher, whose turns a test takes one at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from management.backends.preparation import EnvironmentPreparer
from management.control.autoscaling.autoscaler import Autoscaler
from management.control.journal import Journal
from management.control.replicas.supervisor import Supervisor, SupervisorHooks
from management.control.secrets import Secrets
from management.domain.capacity import Capacity
from management.domain.clock import SYSTEM, Clock
from management.domain.records import Deployment, Event, Replica, ReplicaState, Resources
from management.encryption.key_file import KeyFile
from management.store import Session, Store, tables
from tests.doubles.management import FakeLauncher, deployment, settings

T = TypeVar("T")
MAX_TURNS = 300
MIN_FREE_MEMORY = 2**30


class Killed(asyncio.CancelledError):
    """Simulates a kill -9."""


class HandClock(Clock):
    """A clock whose time a test sets."""

    def __init__(self, at: float) -> None:
        self.at = at

    def unix(self) -> float:
        return self.at

    def steady(self) -> float:
        return self.at


class Death:
    """Kills the n-th step and all later ones."""

    def __init__(self, steps: int) -> None:
        self.left = steps
        self.came = False

    def __call__(self, step: str) -> None:
        self.left -= 1
        if self.left < 0:
            self.came = True
            raise Killed(step)


class MortalStore(Store):
    """A store whose transactions can be watched, and killed before and after."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.watch: Callable[[str], None] = lambda _: None

    async def read(self, work: Callable[[Session], T]) -> T:
        self.watch("before read")
        result = await super().read(work)
        self.watch("after read")
        return result

    async def write(self, work: Callable[[Session], T], *, counted: bool = True) -> T:
        self.watch("before write")
        result = await super().write(work, counted=counted)
        self.watch("after write")
        return result


class Stage:
    """A store, a launcher, and the current supervisor."""

    def __init__(self, folder: Path, launcher: FakeLauncher | None = None, *, gpus: int = 0, **changes: Any) -> None:
        self.clock = changes.pop("clock", SYSTEM)
        self.environments: EnvironmentPreparer | None = changes.pop("environments", None)
        self.launcher = launcher or FakeLauncher()
        self.store = MortalStore(f"sqlite:///{folder}/db")
        self.store.migrate()
        self.settings = settings(folder, **changes)
        self.free_memory = MIN_FREE_MEMORY
        """Free memory of the machine, in bytes."""
        self.capacity = Capacity(Resources(10**6, 10**15, gpus))
        self.supervisor = self.made()

    def made(self) -> Supervisor:
        journal = Journal(self.store, self.capacity, self.settings.server.lease_seconds, self.clock)
        autoscaler = Autoscaler(journal, self.settings.autoscaling, lambda: self.free_memory, MIN_FREE_MEMORY)
        secrets = Secrets(self.store, KeyFile(self.settings.storage.secrets_key), self.clock)
        hooks = SupervisorHooks(nobody_listens, secrets.contents)
        return Supervisor(journal, self.launcher, autoscaler, self.settings.replicas, hooks, self.environments)

    async def lead(self) -> None:
        """Give the supervisor the lease."""
        assert await self.supervisor.acquire_lease()
        await self.supervisor.each_step()

    async def succeed(self) -> None:
        """Replace the supervisor, as after its death and the end of its lease."""
        self.launcher.watch = self.store.watch = lambda _: None
        with self.store.writing(counted=False) as session:
            session.connection.execute(tables.leases.update().values(held_until=0.0))
        self.supervisor = self.made()
        await self.lead()

    def wish(self, model_id: str = "echo", **changes: Any) -> Deployment:
        """Set a deployment's desired state."""
        with self.store.writing() as session:
            before = session.deployments.get(model_id)
            if before is None:
                added = deployment(model_id, **changes)
                session.deployments.add(added)
                return added
            target = changes.get("target", before.target)
            reset = {"failures": 0, "retry_at": None, "failed": False, "reason": "", "rolled_back_from": ""}
            counter = max(before.revision_counter, target.number)
            changed = replace(before, **(reset | {"revision_counter": counter} | changes))
            session.deployments.put(changed)
            return changed

    async def look(self) -> None:
        """Take a turn, and let the tasks that it started run."""
        await self.supervisor.take_turn()
        for _ in range(3):
            await asyncio.sleep(0)

    async def step(self) -> float:
        """Run a step of the supervisor's loop and its tasks, and return the seconds until the next one."""
        pause = await self.supervisor.step()
        for _ in range(3):
            await asyncio.sleep(0)
        return pause

    async def dies_after(self, steps: int) -> None:
        """Run the supervisor until it is killed at that step of its own, the launcher or the store."""
        self.launcher.watch = self.store.watch = Death(steps)
        try:
            for _ in range(steps):
                self.supervisor.wake()
                await self.step()
        except asyncio.CancelledError:
            pass
        finally:
            await asyncio.sleep(0)
            self.launcher.watch = self.store.watch = lambda _: None

    async def until(self, done: Callable[[], bool], always: Callable[[], bool] = lambda: True) -> None:
        """Take turns until ``done`` holds; ``always`` must hold after each turn."""
        for _ in range(MAX_TURNS):
            await self.look()
            assert always(), (self.found(), self.replicas())
            if done():
                return
        raise AssertionError((self.found(), self.replicas()))

    def found(self, model_id: str = "echo") -> Deployment | None:
        with self.store.reading() as session:
            return session.deployments.get(model_id)

    def told(self, model_id: str = "echo") -> Deployment:
        """Return the deployment, which must exist."""
        deployment = self.found(model_id)
        assert deployment is not None
        return deployment

    def replicas(self) -> list[Replica]:
        with self.store.reading() as session:
            return session.replicas.all()

    def events(self, model_id: str = "echo") -> list[Event]:
        with self.store.reading() as session:
            return session.events.of(model_id, 100)

    def ready(self, number: int | None = None) -> int:
        """Return the number of ready replicas, optionally of a revision."""
        return sum(
            replica.state is ReplicaState.READY and number in (None, replica.revision.number)
            for replica in self.replicas()
        )

    def rests(self, number: int, revision: int) -> bool:
        """Return whether exactly that number of replicas is alive, all ready and of that revision."""
        alive = [replica for replica in self.replicas() if replica.state.alive]
        return len(alive) == number == self.ready(revision)

    async def honest(self) -> bool:
        """Return whether the running replicas are the recorded ones, and none was started twice."""
        alive = {replica.id for replica in self.replicas() if replica.state.alive}
        begun = self.launcher.begun
        return set(await self.launcher.list_running()) == alive and len(set(begun)) == len(begun)


async def nobody_listens() -> None:
    """Callback of a supervisor after a write; it does nothing."""
