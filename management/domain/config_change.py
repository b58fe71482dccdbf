"""Changes of a deployment's configuration, and what its resource requirements come to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from management.domain import quantities
from management.domain.records import ModelConfig, Resources


@dataclass(frozen=True)
class ConfigChange:
    """The fields of a configuration that change; what is left out stays."""

    version: str | None = None
    docker_image: str | None = None
    resource_requirements: Mapping[str, str] = field(default_factory=dict)
    scaling: Mapping[str, int] = field(default_factory=dict)
    """Fields of ``Scaling`` by name."""
    environment_variables: Mapping[str, str | None] = field(default_factory=dict)
    """A variable that is None is removed."""

    def applied_to(self, config: ModelConfig) -> ModelConfig:
        """The configuration with this change. Whether its scaling makes sense is for the caller to check."""
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
    """The resources that Kubernetes quantities name. Raises ValueError for malformed quantities."""
    return Resources(
        quantities.cpu_millicores(requirements[quantities.CPU]),
        quantities.memory_bytes(requirements[quantities.MEMORY]),
        quantities.gpus(requirements[quantities.GPU]),
    )
