"""Changes of a deployment's configuration, and the resources that its requirements amount to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

from management.domain import quantities
from management.domain.records import ModelConfig, Resources
from management.domain.secrets import SecretReference
from management.domain.strategy import Strategy

T = TypeVar("T")

OF_THE_MODEL: Final = ("scaling", "access_authorization", "strategy", "labels")
"""Fields of the model rather than of a revision: a change of them starts no replicas, and a rollback keeps it."""


@dataclass(frozen=True)
class ConfigChange:
    """The fields of a configuration that change; the others stay."""

    version: str | None = None
    docker_image: str | None = None
    resource_requirements: Mapping[str, str] = field(default_factory=dict)
    scaling: Mapping[str, int | None] = field(default_factory=dict)
    """Fields of ``Scaling`` by name; only ``target_concurrency`` may be None, which removes the aim."""
    environment_variables: Mapping[str, str | None] = field(default_factory=dict)
    """Variables to set by name; one that is None is removed."""
    default_api: str | None = None
    """API that a request means when it names none; empty to remove the choice."""
    secrets: tuple[str, ...] | None = None
    """Names of all its secrets, in place of the earlier ones; None keeps those with their versions."""
    access_authorization: bool | None = None
    strategy: Strategy | None = None
    labels: Mapping[str, str] | None = None
    """All its labels, in place of the earlier ones."""

    def applied_to(self, config: ModelConfig) -> ModelConfig:
        """Return the configuration with this change. The caller checks that its scaling is consistent."""
        requirements = {**config.resource_requirements, **self.resource_requirements}
        variables = {**config.environment_variables, **self.environment_variables}
        return replace(
            config,
            version=self.version or config.version,
            docker_image=self.docker_image or config.docker_image,
            resource_requirements=requirements,
            resources=resources_of(requirements),
            scaling=replace(config.scaling, **self.scaling),  # type: ignore[arg-type]
            environment_variables={name: value for name, value in variables.items() if value is not None},
            default_api=config.default_api if self.default_api is None else self.default_api,
            secrets=config.secrets if self.secrets is None else tuple(map(SecretReference, self.secrets)),
            access_authorization=_changed(config.access_authorization, self.access_authorization),
            strategy=_changed(config.strategy, self.strategy),
            labels=_changed(config.labels, self.labels),
        )


def with_fields_of_the_model(config: ModelConfig, source: ModelConfig) -> ModelConfig:
    """Return the configuration with the fields ``OF_THE_MODEL`` of another one."""
    return replace(config, **{name: getattr(source, name) for name in OF_THE_MODEL})


def resources_of(requirements: Mapping[str, str]) -> Resources:
    """Return the resources of Kubernetes quantities. Raises ValueError for malformed ones."""
    return Resources(
        quantities.cpu_millicores(requirements[quantities.CPU]),
        quantities.memory_bytes(requirements[quantities.MEMORY]),
        quantities.gpus(requirements[quantities.GPU]),
    )


def _changed(before: T, change: T | None) -> T:
    return before if change is None else change
