"""Request bodies as domain values, for the deployment commands."""

from __future__ import annotations

from typing import Any

from management.api.schemas import ChangedConfigBody, ConfigBody
from management.domain.config_change import ConfigChange, resources_of
from management.domain.records import ModelConfig, Scaling


def config_of(body: ConfigBody) -> ModelConfig:
    """The configuration of a new model."""
    requirements = body.resource_requirements.model_dump(by_alias=True)
    return ModelConfig(
        name=body.name,
        version=body.version,
        model_type=body.model_type,
        framework=body.framework,
        docker_image=body.docker_image,
        resource_requirements=requirements,
        scaling=Scaling(**body.scaling_config.model_dump()),
        environment_variables=dict(body.environment_variables),
        resources=resources_of(requirements),
    )


def change_of(body: ChangedConfigBody) -> ConfigChange:
    """The change of an existing model. A null field counts as omitted."""
    return ConfigChange(
        version=body.version,
        docker_image=body.docker_image,
        resource_requirements=_given(body.resource_requirements),
        scaling=_given(body.scaling_config),
        environment_variables=dict(body.environment_variables),
    )


def _given(body: Any) -> dict[str, Any]:
    given: dict[str, Any] = body.model_dump(by_alias=True, exclude_none=True)
    return given
