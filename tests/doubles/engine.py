"""A fake engine, and a stage for a reconciler that uses it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from management.backends.engine import AppliedSpec, Engine, EnginePhase, EngineSpec, EngineStatus
from management.backends.launcher import LaunchRefused
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
    """Observations until the next phase is reached."""


class FakeEngine(Engine):
    """Keeps deployments in a dict; their phases advance with each observation."""

    def __init__(self, looks: int = 1) -> None:
        self.kept: dict[str, Kept] = {}
        self.made: list[str] = []
        """Names of deployments in the order of their creation."""
        self.applied: list[AppliedSpec] = []
        self.looks = looks
        self.away = False
        self.watch: Callable[[str], None] = lambda _: None
        """Called before and after each step; a test may raise in it to end the run."""

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
        for name, kept in list(self.kept.items()):
            self._move_on(name, kept)
        found = {kept.order.deployment_id: self.condition(name) for name, kept in self.kept.items()}
        self.watch("after observe")
        return found

    def _move_on(self, name: str, kept: Kept) -> None:
        kept.looks -= 1
        if kept.looks < 0 and kept.standing is EnginePhase.PENDING:
            kept.standing = self.becomes(kept.order)
        elif kept.looks < 0 and kept.standing is EnginePhase.ENDING:
            kept.standing = EnginePhase.STOPPED

    def condition(self, name: str) -> EngineStatus:
        kept = self.kept[name]
        ready = kept.order.least if kept.standing is EnginePhase.RUNNING else None
        reason = "it broke" if kept.standing is EnginePhase.FAILED else ""
        return EngineStatus(kept.standing, name, kept.order.mark, ready, f"https://{name}.example", reason)

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
        """Return the phase that a pending deployment reaches."""
        return EnginePhase.RUNNING

    def _reached(self, step: str) -> None:
        self.watch(step)
        if self.away:
            raise BackendUnavailable({"reason": "it is away"})


class FailingEngine(FakeEngine):
    """Fails at revision 2."""

    def becomes(self, order: EngineSpec) -> EnginePhase:
        return EnginePhase.FAILED if order.revision.number == 2 else EnginePhase.RUNNING


class PickyEngine(FakeEngine):
    """Refuses revision 2."""

    async def apply(self, order: EngineSpec) -> None:
        if order.revision.number == 2:
            raise LaunchRefused("it is too large")
        await super().apply(order)


class ForgetfulEngine(FakeEngine):
    """Accepts every spec, and reports another one."""

    def condition(self, name: str) -> EngineStatus:
        status = super().condition(name)
        spec = AppliedSpec(self.kept[name].order.deployment_id, 7, 7, 7)
        return EngineStatus(status.phase, name, spec, 1, status.address)


class EngineStage(Stage):
    """A store, an engine, and the current reconciler."""

    def __init__(self, folder: Path, engine: FakeEngine | None = None, **changes: Any) -> None:
        self.engine = engine or FakeEngine()
        super().__init__(folder, **changes)

    def made(self) -> Any:
        journal = Journal(self.store, self.capacity, self.settings.server.lease_seconds, self.clock)
        return Reconciler(journal, self.engine, self.settings.replicas, nobody_listens)

    async def succeed(self) -> None:
        self.engine.watch = lambda _: None
        await self.reconciler._queue.close()
        await super().succeed()

    @property
    def reconciler(self) -> Reconciler:
        reconciler: Any = self.supervisor
        assert isinstance(reconciler, Reconciler)
        return reconciler

    def standing(self, model_id: str = "echo") -> EnginePhase:
        kept = self.engine.kept.get(model_id)
        return EnginePhase.ABSENT if kept is None else kept.standing
