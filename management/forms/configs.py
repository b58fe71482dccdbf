"""Request bodies as domain values, for the deployment commands."""

from __future__ import annotations

from base64 import b64decode
from typing import Any

from management.domain.config_change import ConfigChange, resources_of
from management.domain.records import ModelConfig, Scaling
from management.domain.secrets import SecretContent, SecretReference
from management.forms.bodies import ChangedConfigBody, ConfigBody, SecretBody


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
        default_api=body.default_api or "",
        secrets=tuple(map(SecretReference, body.secrets)),
        access_authorization=body.access_authorization,
        strategy=body.strategy,
        labels=dict(body.labels),
    )


def change_of(body: ChangedConfigBody) -> ConfigChange:
    """The change of an existing model. A null field counts as omitted."""
    scaling = _given(body.scaling_config)
    return ConfigChange(
        version=body.version,
        docker_image=body.docker_image,
        resource_requirements=_given(body.resource_requirements),
        scaling={name: value if name != "target_concurrency" else value or None for name, value in scaling.items()},
        environment_variables=dict(body.environment_variables),
        default_api=body.default_api,
        secrets=None if body.secrets is None else tuple(body.secrets),
        access_authorization=body.access_authorization,
        strategy=body.strategy,
        labels=body.labels,
    )


def content_of(body: SecretBody) -> SecretContent:
    """The values of a secret."""
    return SecretContent(
        variables={name: value.get_secret_value() for name, value in body.variables.items()},
        files={path: b64decode(value.get_secret_value()) for path, value in body.files.items()},
        paths=dict(body.paths),
    )


def _given(body: Any) -> dict[str, Any]:
    given: dict[str, Any] = body.model_dump(by_alias=True, exclude_none=True)
    return given
