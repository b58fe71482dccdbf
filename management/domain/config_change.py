"""Changes of a deployment's configuration, and the resources that its requirements amount to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from management.domain import quantities
from management.domain.records import ModelConfig, Resources


@dataclass(frozen=True)
class ConfigChange:
    """The fields of a configuration that change; the others stay."""

    version: str | None = None
    docker_image: str | None = None
    resource_requirements: Mapping[str, str] = field(default_factory=dict)
    scaling: Mapping[str, int] = field(default_factory=dict)
    """Fields of ``Scaling`` by name."""
    environment_variables: Mapping[str, str | None] = field(default_factory=dict)
    """Variables to set by name; one that is None is removed."""

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
            scaling=replace(config.scaling, **self.scaling),
            environment_variables={name: value for name, value in variables.items() if value is not None},
        )


def resources_of(requirements: Mapping[str, str]) -> Resources:
    """Return the resources of Kubernetes quantities. Raises ValueError for malformed ones."""
    return Resources(
        quantities.cpu_millicores(requirements[quantities.CPU]),
        quantities.memory_bytes(requirements[quantities.MEMORY]),
        quantities.gpus(requirements[quantities.GPU]),
    )
