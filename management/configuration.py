"""The configuration of a server: every group of settings, read once from the environment.

All groups are read together, so that one error names every wrong variable.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, model_validator

from management.backends.backend import BackendSettings
from management.backends.registry import Backends
from management.faults import failpoints
from management.settings import (
    READ,
    AccessSettings,
    AddressSettings,
    ApiSettings,
    AutoscalingSettings,
    BentoSettings,
    CapacitySettings,
    Count,
    QueueSettings,
    ReplicaSettings,
    Seconds,
    SettingsGroup,
    StorageSettings,
)
from web.download.settings import DownloadSettings

if TYPE_CHECKING:
    BackendName = str  # type checkers do not accept computed literals
else:
    BackendName = Literal[tuple(Backends.model_fields)]


def _known(text: str | None) -> str | None:
    if text:
        failpoints.check(text)
    return text or None


class ServerSettings(SettingsGroup):
    """The server and its workers."""

    backend: BackendName = "process"
    """Where replicas run: in processes of this machine, in containers of its Docker Engine, as services of a
    Docker Swarm, in Pods of a Kubernetes cluster, or on BentoCloud."""

    keep_replicas: bool = False
    """Whether replicas run on when the server is stopped normally. They always outlive a crash of it."""

    lease_seconds: Seconds = 3.0
    """Seconds after its last renewal at which a worker loses the right to start and stop replicas."""

    refresh_seconds: Seconds = 0.2
    """Seconds between checks for changes by other workers."""

    workers: Count = 1
    """Workers of the server, which share the concurrency that a Bento declares. ``serve --workers`` sets it."""

    control_planes: Count = 1
    """Control planes of one database, which share the concurrency that a Bento declares."""

    failpoint: Annotated[str | None, AfterValidator(_known)] = None
    """Failpoint at which this process ends, for tests: a name in ``failpoints.py`` with ``:exit``."""


class Settings(BaseModel):
    """All settings. A part receives its group only."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=True)

    storage: StorageSettings = READ
    bentos: BentoSettings = READ
    access: AccessSettings = READ
    api: ApiSettings = READ
    server: ServerSettings = READ
    backends: Backends = READ
    capacity: CapacitySettings = READ
    replicas: ReplicaSettings = READ
    autoscaling: AutoscalingSettings = READ
    queue: QueueSettings = READ
    addresses: AddressSettings = READ
    downloads: DownloadSettings = READ

    @model_validator(mode="after")
    def _complete(self) -> Settings:
        self.backend.check()
        return self

    @property
    def backend(self) -> BackendSettings:
        """The settings of the chosen backend."""
        chosen: BackendSettings = getattr(self.backends, self.server.backend)
        return chosen


@cache
def settings() -> Settings:
    """Return the settings of this process."""
    return Settings()
