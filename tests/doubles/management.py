"""Deployments, replicas and launchers for the tests of the management; none of them needs a process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

from pydantic_settings import BaseSettings

from management.backends.base import (
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
"""The moment at which everything below was made."""

_numbers = count()


def config(version: str = "1.0.0", *, gpus: int = 0, **changes: Any) -> ModelConfig:
    """A model's config."""
    made = ModelConfig(
        name="Echo",
        version=version,
        model_type="multimodal",
        framework="onnx",
        docker_image=f"suoke/echo:{version}",
        resource_requirements={"cpu": "100m", "memory": "64Mi", "nvidia.com/gpu": str(gpus)},
        scaling=Scaling(0, 8),
        resources=Resources(100, 64 * 2**20, gpus),
    )
    return replace(made, **changes)


def revision(number: int = 1, *, gpus: int = 0, **changes: Any) -> Revision:
    """A revision; its version is ``<number>.0.0``."""
    return Revision(number, config(f"{number}.0.0", gpus=gpus, **changes))


def deployment(model_id: str = "echo", **changes: Any) -> Deployment:
    """The wish for one replica of revision 1."""
    wanted = changes.pop("target", None) or revision()
    made = Deployment(f"d{next(_numbers)}", model_id, wanted, 1, AT, AT, revision_counter=wanted.number)
    return replace(made, **changes)


def replica(state: ReplicaState = ReplicaState.READY, number: int = 1, **changes: Any) -> Replica:
    """A replica of that revision."""
    made = changes.pop("revision", None) or revision(number)
    return replace(Replica(f"r{next(_numbers)}", "d", made, state, AT, AT), **changes)


def settings(home: Path, **changes: Any) -> Settings:
    """Settings under which nothing waits: replicas drain at once and are tried again at once."""
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
    """Replicas that are entries of a dict, ready as soon as they are looked at."""

    def __init__(self) -> None:
        self.launches: dict[str, Launch] = {}
        self.phases: dict[str, Phase] = {}
        self.begun: list[str] = []
        """The ids in the order of their starts."""
        self.looks = 0
        """At what they use: a second of CPU time more at each."""
        self.watch: Callable[[str], None] = lambda _: None
        """Called around everything that is done: a test may look, or end it all by raising."""

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
        return {one: ReplicaUsage(float(self.looks), 7) for one in replica_ids if self._lives(one)}

    async def list_running(self) -> list[str]:
        self.watch("running")
        return [one for one in self.phases if self._lives(one)]

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
        """What a starting replica is at the next look."""
        return Phase.READY

    def kill(self, replica_id: str) -> None:
        """It ends, and nobody asked it to."""
        self.phases[replica_id] = Phase.EXITED

    def _lives(self, replica_id: str) -> bool:
        return self.phases.get(replica_id) in (Phase.STARTING, Phase.READY, Phase.UNRESPONSIVE)


class SlowLauncher(FakeLauncher):
    """Its replicas take some looks until they are ready."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self._looks = looks
        self._left: dict[str, int] = {}

    def becomes(self, launch: Launch) -> Phase:
        left = self._left[launch.replica_id] = self._left.get(launch.replica_id, self._looks) - 1
        return Phase.STARTING if left > 0 else Phase.READY


class SlowlyMeasuredLauncher(FakeLauncher):
    """Its backend measures nothing until it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.measures = asyncio.Event()

    async def usage(self, replica_ids: Collection[str]) -> dict[str, ReplicaUsage]:
        await self.measures.wait()
        return await super().usage(replica_ids)


class NeverReadyLauncher(FakeLauncher):
    """Replicas of one image start and start."""

    def __init__(self, image: str) -> None:
        super().__init__()
        self.image = image

    def becomes(self, launch: Launch) -> Phase:
        return Phase.STARTING if launch.docker_image == self.image else Phase.READY


class DyingLauncher(NeverReadyLauncher):
    """Replicas of one image end while they start."""

    def becomes(self, launch: Launch) -> Phase:
        return Phase.EXITED if launch.docker_image == self.image else Phase.READY


class BadLauncher(NeverReadyLauncher):
    """It refuses to start replicas of one image."""

    async def start(self, launch: Launch) -> None:
        if launch.docker_image == self.image:
            raise LaunchRefused("there is no such image")
        await super().start(launch)


class AwayLauncher(FakeLauncher):
    """One whose engine may be away."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        self.watch = self._look_for_it

    def _look_for_it(self, _: str) -> None:
        if self.away:
            raise BackendUnavailable
