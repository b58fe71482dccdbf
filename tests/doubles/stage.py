"""A supervisor on a stage: a real store, a launcher that is a double, and looks that are made one by one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from management.control.autoscaling.autoscaler import Autoscaler
from management.control.journal import Journal
from management.control.replicas.supervisor import Supervisor
from management.domain.capacity import Capacity
from management.domain.clock import SYSTEM, Clock
from management.domain.records import Deployment, Event, Replica, ReplicaState, Resources
from management.store import Session, Store, tables
from tests.doubles.management import FakeLauncher, deployment, settings

T = TypeVar("T")
MOST_LOOKS = 300
LEAST_MEMORY = 2**30


class Killed(asyncio.CancelledError):
    """What a kill -9 is to whoever is killed."""


class HandClock(Clock):
    """A clock that is moved by hand."""

    def __init__(self, at: float) -> None:
        self.at = at

    def unix(self) -> float:
        return self.at

    def steady(self) -> float:
        return self.at


class Death:
    """Kills at the n-th step, and whatever goes on after it."""

    def __init__(self, steps: int) -> None:
        self.left = steps
        self.came = False

    def __call__(self, step: str) -> None:
        self.left -= 1
        if self.left < 0:
            self.came = True
            raise Killed(step)


class MortalStore(Store):
    """A store that can be watched, and killed, before and after each transaction."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.watch: Callable[[str], None] = lambda _: None

    async def read(self, work: Callable[[Session], T]) -> T:
        self.watch("before read")
        found = await super().read(work)
        self.watch("after read")
        return found

    async def write(self, work: Callable[[Session], T], *, counted: bool = True) -> T:
        self.watch("before write")
        found = await super().write(work, counted=counted)
        self.watch("after write")
        return found


class Stage:
    """The store, the launcher, and the supervisor that acts now."""

    def __init__(self, folder: Path, launcher: FakeLauncher | None = None, *, gpus: int = 0, **changes: Any) -> None:
        self.clock = changes.pop("clock", SYSTEM)
        self.launcher = launcher or FakeLauncher()
        self.store = MortalStore(f"sqlite:///{folder}/db")
        self.store.migrate()
        self.settings = settings(folder, **changes)
        self.free_memory = LEAST_MEMORY
        """Bytes that the machine has left."""
        self.capacity = Capacity(Resources(10**6, 10**15, gpus))
        self.supervisor = self.made()

    def made(self) -> Supervisor:
        ledger = Journal(self.store, self.capacity, self.settings.server.lease_seconds, self.clock)
        autoscaler = Autoscaler(ledger, self.settings.autoscaling, lambda: self.free_memory, LEAST_MEMORY)
        return Supervisor(ledger, self.launcher, autoscaler, self.settings.replicas, nobody_listens)

    async def lead(self) -> None:
        """The lease is the supervisor's."""
        assert await self.supervisor.acquire_lease()
        await self.supervisor.each_step()

    async def succeed(self) -> None:
        """The supervisor is gone without a word; another one begins when its lease has run out."""
        self.launcher.watch = self.store.watch = lambda _: None
        with self.store.writing(counted=False) as session:
            session.connection.execute(tables.leases.update().values(held_until=0.0))
        self.supervisor = self.made()
        await self.lead()

    def wish(self, model_id: str = "echo", **changes: Any) -> Deployment:
        """Somebody wishes something new."""
        with self.store.writing() as session:
            before = session.deployments.get(model_id)
            if before is None:
                made = deployment(model_id, **changes)
                session.deployments.add(made)
                return made
            wanted = changes.get("target", before.target)
            anew = {"failures": 0, "retry_at": None, "failed": False, "reason": "", "rolled_back_from": ""}
            made = replace(
                before, **(anew | {"revision_counter": max(before.revision_counter, wanted.number)} | changes)
            )
            session.deployments.put(made)
            return made

    async def look(self) -> None:
        """One look, and what it set going."""
        await self.supervisor.take_turn()
        for _ in range(3):
            await asyncio.sleep(0)

    async def step(self) -> float:
        """What the supervisor's loop does, and what it set going; seconds until the next time."""
        pause = await self.supervisor.step()
        for _ in range(3):
            await asyncio.sleep(0)
        return pause

    async def dies_after(self, steps: int) -> None:
        """The supervisor works on until a kill at that step, of its own or of what it asks."""
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
        """Looks until it is so, and sees after each look that something else is so."""
        for _ in range(MOST_LOOKS):
            await self.look()
            assert always(), (self.found(), self.replicas())
            if done():
                return
        raise AssertionError((self.found(), self.replicas()))

    def found(self, model_id: str = "echo") -> Deployment | None:
        with self.store.reading() as session:
            return session.deployments.get(model_id)

    def told(self, model_id: str = "echo") -> Deployment:
        """The deployment, which is there."""
        one = self.found(model_id)
        assert one is not None
        return one

    def replicas(self) -> list[Replica]:
        with self.store.reading() as session:
            return session.replicas.all()

    def events(self, model_id: str = "echo") -> list[Event]:
        with self.store.reading() as session:
            return session.events.of(model_id, 100)

    def ready(self, number: int | None = None) -> int:
        """How many are ready, of that revision."""
        return sum(one.state is ReplicaState.READY and number in (None, one.revision.number) for one in self.replicas())

    def rests(self, number: int, revision: int) -> bool:
        """Whether so many of that revision are ready, and there is nothing else alive."""
        alive = [one for one in self.replicas() if one.state.alive]
        return len(alive) == number == self.ready(revision)

    async def honest(self) -> bool:
        """Whether what runs is what is recorded, and nothing was started twice."""
        alive = {one.id for one in self.replicas() if one.state.alive}
        begun = self.launcher.begun
        return set(await self.launcher.list_running()) == alive and len(set(begun)) == len(begun)


async def nobody_listens() -> None:
    """What a supervisor tells after it has written something down."""
