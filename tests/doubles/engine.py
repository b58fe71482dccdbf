"""An engine that is a double, and the stage on which a reconciler works with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from management.backends.base import LaunchRefused
from management.backends.engine import AppliedSpec, Engine, EnginePhase, EngineSpec, EngineStatus
from management.control.engines.reconciler import Reconciler
from management.control.journal import Journal
from management.domain.records import Deployment
from management.errors import BackendUnavailable
from tests.doubles.stage import Stage, nobody_listens


@dataclass
class Kept:
    """A deployment on the engine."""

    order: EngineSpec
    standing: EnginePhase = EnginePhase.PENDING
    looks: int = 0
    """Until what is on its way has arrived."""


class FakeEngine(Engine):
    """Deployments that are entries of a dict, and move on with each look."""

    def __init__(self, looks: int = 1) -> None:
        self.kept: dict[str, Kept] = {}
        self.made: list[str] = []
        """The names of deployments in the order in which they were made."""
        self.applied: list[AppliedSpec] = []
        self.looks = looks
        self.away = False
        self.watch: Callable[[str], None] = lambda _: None
        """Called around everything that is done: a test may look, or end it all by raising."""

    async def apply(self, order: EngineSpec) -> None:
        self._reached("before apply")
        before = self.kept.get(order.model_id)
        if before is not None and before.order.deployment_id != order.deployment_id:
            return
        if before is None:
            self.made.append(order.model_id)
        self.applied.append(order.mark)
        self.kept[order.model_id] = Kept(order, looks=self.looks)
        self.watch("after apply")

    async def observe(self) -> dict[str, EngineStatus]:
        self._reached("before observe")
        for name, one in list(self.kept.items()):
            self._move_on(name, one)
        found = {one.order.deployment_id: self.condition(name) for name, one in self.kept.items()}
        self.watch("after observe")
        return found

    def _move_on(self, name: str, one: Kept) -> None:
        one.looks -= 1
        if one.looks < 0 and one.standing is EnginePhase.PENDING:
            one.standing = self.becomes(one.order)
        elif one.looks < 0 and one.standing is EnginePhase.ENDING:
            one.standing = EnginePhase.STOPPED

    def condition(self, name: str) -> EngineStatus:
        one = self.kept[name]
        ready = one.order.least if one.standing is EnginePhase.RUNNING else None
        reason = "it broke" if one.standing is EnginePhase.FAILED else ""
        return EngineStatus(one.standing, name, one.order.mark, ready, f"https://{name}.example", reason)

    async def halt(self, condition: EngineStatus) -> None:
        self._reached("before halt")
        if condition.name in self.kept:
            self.kept[condition.name].standing, self.kept[condition.name].looks = EnginePhase.ENDING, self.looks
        self.watch("after halt")

    async def remove(self, condition: EngineStatus, *, force: bool) -> None:
        self._reached("before remove")
        if force or condition.phase is EnginePhase.STOPPED:
            self.kept.pop(condition.name, None)
        elif condition.phase is not EnginePhase.ENDING:
            await self.halt(condition)
        self.watch("after remove")

    async def log(self, deployment: Deployment, lines: int) -> list[list[str]]:
        return [["a line before", "its last words"][-lines:]]

    def becomes(self, order: EngineSpec) -> EnginePhase:
        """What is on its way in the end."""
        return EnginePhase.RUNNING

    def _reached(self, step: str) -> None:
        self.watch(step)
        if self.away:
            raise BackendUnavailable({"reason": "it is away"})


class FailingEngine(FakeEngine):
    """It fails at one revision."""

    def becomes(self, order: EngineSpec) -> EnginePhase:
        return EnginePhase.FAILED if order.revision.number == 2 else EnginePhase.RUNNING


class PickyEngine(FakeEngine):
    """It refuses one revision."""

    async def apply(self, order: EngineSpec) -> None:
        if order.revision.number == 2:
            raise LaunchRefused("it is too large")
        await super().apply(order)


class ForgetfulEngine(FakeEngine):
    """It takes every order, and shows another one."""

    def condition(self, name: str) -> EngineStatus:
        found = super().condition(name)
        return EngineStatus(
            found.phase, name, AppliedSpec(self.kept[name].order.deployment_id, 7, 7, 7), 1, found.address
        )


class EngineStage(Stage):
    """The store, the engine, and the reconciler that acts now."""

    def __init__(self, folder: Path, engine: FakeEngine | None = None, **changes: Any) -> None:
        self.engine = engine or FakeEngine()
        super().__init__(folder, **changes)

    def made(self) -> Any:
        ledger = Journal(self.store, self.capacity, self.settings.server.lease_seconds, self.clock)
        return Reconciler(ledger, self.engine, self.settings.replicas, nobody_listens)

    async def succeed(self) -> None:
        self.engine.watch = lambda _: None
        await self.reconciler._queue.close()
        await super().succeed()

    @property
    def reconciler(self) -> Reconciler:
        found: Any = self.supervisor
        assert isinstance(found, Reconciler)
        return found

    def standing(self, model_id: str = "echo") -> EnginePhase:
        kept = self.engine.kept.get(model_id)
        return EnginePhase.ABSENT if kept is None else kept.standing
