"""Deployments, replicas and launchers for the tests of the management, without processes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

from pydantic_settings import BaseSettings

from management.backends.launcher import (
    Launch,
    Launcher,
    LaunchRefused,
    Observation,
    Phase,
    ReplicaUsage,
)
from management.configuration import Settings
from management.domain.records import Deployment, ModelConfig, Replica, ReplicaState, Resources, Revision, Scaling
from management.errors import BackendUnavailable

AT = datetime(2026, 1, 1, tzinfo=UTC)
"""Creation time of all records."""

_numbers = count()


def config(version: str = "1.0.0", *, gpus: int = 0, **changes: Any) -> ModelConfig:
    """Return a model's config."""
    usual = ModelConfig(
        name="Echo",
        version=version,
        model_type="multimodal",
        framework="onnx",
        docker_image=f"suoke/echo:{version}",
        resource_requirements={"cpu": "100m", "memory": "64Mi", "nvidia.com/gpu": str(gpus)},
        scaling=Scaling(0, 8),
        resources=Resources(100, 64 * 2**20, gpus),
    )
    return replace(usual, **changes)


def revision(number: int = 1, *, gpus: int = 0, **changes: Any) -> Revision:
    """Return a revision with the version ``<number>.0.0``."""
    return Revision(number, config(f"{number}.0.0", gpus=gpus, **changes))


def deployment(model_id: str = "echo", **changes: Any) -> Deployment:
    """Return a deployment with one desired replica of revision 1."""
    target = changes.pop("target", None) or revision()
    usual = Deployment(f"d{next(_numbers)}", model_id, target, 1, AT, AT, revision_counter=target.number)
    return replace(usual, **changes)


def replica(state: ReplicaState = ReplicaState.READY, number: int = 1, **changes: Any) -> Replica:
    """Return a replica of that revision."""
    of = changes.pop("revision", None) or revision(number)
    return replace(Replica(f"r{next(_numbers)}", "d", of, state, AT, AT), **changes)


def settings(home: Path, **changes: Any) -> Settings:
    """Return settings without waits: replicas drain and are retried at once."""
    quick: dict[str, Any] = {
        "home": home,
        "retry_seconds": 1e-6,
        "steady_seconds": 1e-6,
        "drain_seconds": 0,
        "stop_seconds": 2,
        "lease_seconds": 3600,
        "idle_seconds": 1e12,
        "gpus": 0,
    }
    return settings_of(**(quick | changes))


def settings_of(**values: Any) -> Settings:
    """The settings with these values, each named as its variable is."""
    groups = _grouped(Settings, values)
    assert not values, f"there is no such setting: {values}"
    return Settings(**groups)


def _grouped(kind: Any, values: dict[str, Any]) -> dict[str, Any]:
    """Takes the values of these groups out of all values."""
    fields: dict[str, Any] = kind.model_fields
    if not issubclass(kind, BaseSettings):
        return {name: _grouped(field.annotation, values) for name, field in fields.items()}
    prefix = str(kind.model_config["env_prefix"]).lower().removeprefix("atelier_")
    return {name: values.pop(f"{prefix}{name}") for name in fields if f"{prefix}{name}" in values}


class FakeLauncher(Launcher):
    """Keeps replicas in a dict; they are ready at the first observation."""

    def __init__(self) -> None:
        self.launches: dict[str, Launch] = {}
        self.phases: dict[str, Phase] = {}
        self.begun: list[str] = []
        """Ids in the order of their starts."""
        self.looks = 0
        """Number of usage samples; each adds a second of CPU time."""
        self.watch: Callable[[str], None] = lambda _: None
        """Called before and after each step; a test may raise in it to end the run."""

    async def start(self, launch: Launch) -> None:
        self.watch("before start")
        if self._lives(launch.replica_id):
            return
        self.launches[launch.replica_id] = launch
        self.phases[launch.replica_id] = Phase.STARTING
        self.begun.append(launch.replica_id)
        self.watch("after start")

    async def observe(self, replica_id: str) -> Observation:
        self.watch("observe")
        if self.phases.get(replica_id) is Phase.STARTING:
            self.phases[replica_id] = self.becomes(self.launches[replica_id])
        phase = self.phases.get(replica_id, Phase.ABSENT)
        reason = "it was killed" if phase is Phase.EXITED else ""
        return Observation(phase, f"unix:/{replica_id}" if phase is Phase.READY else "", reason=reason)

    async def stop(self, replica_id: str, grace_seconds: float) -> None:
        self.watch("before stop")
        if self._lives(replica_id):
            self.phases[replica_id] = Phase.EXITED
        self.watch("after stop")

    async def usage(self, replica_ids: Collection[str]) -> dict[str, ReplicaUsage]:
        self.watch("usage")
        self.looks += 1
        return {replica_id: ReplicaUsage(float(self.looks), 7) for replica_id in replica_ids if self._lives(replica_id)}

    async def list_running(self) -> list[str]:
        self.watch("running")
        return [replica_id for replica_id in self.phases if self._lives(replica_id)]

    async def list_leftovers(self) -> list[str]:
        self.watch("left")
        return list(self.phases)

    async def log(self, replica_id: str, lines: int) -> list[str]:
        self.watch("log")
        return ["a line before", "its last words"][-lines:] if replica_id in self.phases else []

    async def remove_files(self, replica_id: str) -> None:
        self.watch("clean")
        self.phases.pop(replica_id, None)

    def becomes(self, launch: Launch) -> Phase:
        """Return the phase of a starting replica at the next observation."""
        return Phase.READY

    def kill(self, replica_id: str) -> None:
        """End a replica without a request of the control plane."""
        self.phases[replica_id] = Phase.EXITED

    def _lives(self, replica_id: str) -> bool:
        return self.phases.get(replica_id) in (Phase.STARTING, Phase.READY, Phase.UNRESPONSIVE)


class SlowLauncher(FakeLauncher):
    """Replicas need several observations until they are ready."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self._looks = looks
        self._left: dict[str, int] = {}

    def becomes(self, launch: Launch) -> Phase:
        left = self._left[launch.replica_id] = self._left.get(launch.replica_id, self._looks) - 1
        return Phase.STARTING if left > 0 else Phase.READY


class SlowlyMeasuredLauncher(FakeLauncher):
    """Usage is measured only after ``measures`` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.measures = asyncio.Event()

    async def usage(self, replica_ids: Collection[str]) -> dict[str, ReplicaUsage]:
        await self.measures.wait()
        return await super().usage(replica_ids)


class NeverReadyLauncher(FakeLauncher):
    """Replicas of one image never become ready."""

    def __init__(self, image: str) -> None:
        super().__init__()
        self.image = image

    def becomes(self, launch: Launch) -> Phase:
        return Phase.STARTING if launch.docker_image == self.image else Phase.READY


class DyingLauncher(NeverReadyLauncher):
    """Replicas of one image exit while they start."""

    def becomes(self, launch: Launch) -> Phase:
        return Phase.EXITED if launch.docker_image == self.image else Phase.READY


class BadLauncher(NeverReadyLauncher):
    """Refuses to start replicas of one image."""

    async def start(self, launch: Launch) -> None:
        if launch.docker_image == self.image:
            raise LaunchRefused("there is no such image")
        await super().start(launch)


class AwayLauncher(FakeLauncher):
    """A launcher whose engine is unavailable while ``away`` is true."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        self.watch = self._look_for_it

    def _look_for_it(self, _: str) -> None:
        if self.away:
            raise BackendUnavailable
