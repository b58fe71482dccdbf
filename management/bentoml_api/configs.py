"""Deployments in the client's words as those of this server. What has no meaning here is refused, never ignored."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from management.bentoml_api.instances.instance_types import LocalInstanceType
from management.bentoml_api.schemas import DeploymentBody, PolicyBody, ReplicasBody, ServiceBody
from management.domain import quantities
from management.domain.bento import Bento
from management.domain.config_change import ConfigChange
from management.domain.model_types import OTHER_FRAMEWORK, OTHER_TYPE, label_or
from management.domain.records import ModelConfig, Scaling
from management.domain.strategy import Strategy
from management.errors import InvalidModelConfig, Problem
from management.forms import fields
from management.forms.bodies import ChangedConfigBody, ConfigBody
from management.forms.configs import change_of, config_of
from management.forms.validation import MAX_PROBLEMS, printable, validated

REPOSITORY: Final = "bentos"
"""First part of the names of images that are Bentos of the store."""
METRICS: Final = {"cpu": "target_cpu_utilization", "concurrency": "target_concurrency"}
"""What scaling can aim at, by the client's words."""
MAX_DIGITS: Final = 18
"""Digits of the longest number in a text: Python refuses to read those of thousands."""
_NO_AIMS: Final = {"target_cpu_utilization": Scaling.target_cpu_utilization, "target_concurrency": 0}
"""What scaling aims at where the client names no metric, as a change: 0 removes an aim."""
_SINGLE: Final = (None, ReplicasBody(), ReplicasBody(min_replicas=1, max_replicas=1))
"""Scalings of a service that runs in the replica of another one; the client sends the last one by itself."""


@dataclass(frozen=True)
class Translator:
    """Translates for one server."""

    types: Sequence[LocalInstanceType]
    allowed_environment: Collection[str]
    """Patterns of environment names that the operator allows."""

    def new(
        self, body: DeploymentBody, model_id: str, bento: Bento, resources: Mapping[str, str] | None = None
    ) -> ModelConfig:
        """Return the configuration of a new deployment. Raises InvalidModelConfig.

        Without an instance type it has these resources, and for the others those that the Bento asks for.
        """
        requirements = self._requirements(body, bento)
        if requirements is None:
            asked = {"cpu": quantities.CPU, "memory": quantities.MEMORY, "gpu": quantities.GPU}
            requirements = {asked[name]: value for name, value in bento.resources.items()} | dict(resources or {})
        variables = self._variables(body, bento)
        given = {
            "model_id": model_id,
            "name": bento.service or bento.tag.name,
            "model_type": label_or(bento.labels.get("model_type"), OTHER_TYPE),
            "framework": label_or(bento.labels.get("framework"), OTHER_FRAMEWORK),
            "environment_variables": variables,
            "resource_requirements": requirements,
            **self._shared(body, bento),
        }
        return config_of(self._validated(given, ConfigBody))

    def change(
        self, body: DeploymentBody, before: ModelConfig, bento: Bento, resources: Mapping[str, str] | None = None
    ) -> ConfigChange:
        """Return the change to what the body describes as a whole. Raises InvalidModelConfig.

        Without an instance type the deployment gets these resources, and keeps the others.
        """
        removed: dict[str, str | None] = dict.fromkeys(before.environment_variables)
        shared = self._shared(body, bento)
        given = {
            "environment_variables": removed | self._variables(body, bento),
            "resource_requirements": self._requirements(body, bento) or dict(resources or {}),
            **shared,
            "scaling_config": _NO_AIMS | shared["scaling_config"],
        }
        return change_of(self._validated(given, ChangedConfigBody))

    def _shared(self, body: DeploymentBody, bento: Bento) -> dict[str, Any]:
        """The fields that new and changed deployments have in common."""
        if problems := list(islice(_meaningless(body, bento), MAX_PROBLEMS)):
            raise InvalidModelConfig(*problems)
        service = _entry(body, bento)
        return {
            "version": bento.tag.version,
            "docker_image": f"{REPOSITORY}/{bento.tag}",
            "scaling_config": _scaling(service.scaling),
            "secrets": list(dict.fromkeys(body.secrets or ())),
            "access_authorization": body.access_authorization,
            "strategy": service.deployment_strategy or Strategy.ROLLING_UPDATE.value,
            "labels": {label.key: label.value for label in body.labels or ()},
        }

    def _variables(self, body: DeploymentBody, bento: Bento) -> dict[str, str]:
        """The variables of the deployment, then those of the entry service, which count if both name one."""
        own = _entry(body, bento).envs or ()
        return {variable.name: variable.value for variable in (*(body.envs or ()), *own)}

    def _requirements(self, body: DeploymentBody, bento: Bento) -> dict[str, str] | None:
        wanted = _entry(body, bento).instance_type
        if not wanted:
            return None
        found = next((each for each in self.types if each.name == wanted), None)
        if found is None:
            expected = ", ".join(each.name for each in self.types)
            raise InvalidModelConfig(Problem("instance_type", "choice", {"expected": expected}))
        return dict(found.requirements)

    def _validated(self, given: dict[str, Any], model: type[Any]) -> Any:
        return validated(given, model, InvalidModelConfig, {fields.ALLOWED: self.allowed_environment})


def _entry(body: DeploymentBody, bento: Bento) -> ServiceBody:
    """The settings of the service that answers; those of the only one, whatever the client calls it."""
    if bento.service in body.services:
        return body.services[bento.service]
    others = [service for name, service in body.services.items() if name not in bento.services]
    return others[0] if len(others) == 1 and len(body.services) == 1 else ServiceBody()


def _meaningless(body: DeploymentBody, bento: Bento) -> Iterator[Problem]:
    """The fields that this server gives no meaning to."""
    if body.canary:
        yield Problem("canary", "not_here")
    entry = _entry(body, bento)
    for name, service in body.services.items():
        path = printable(f"services.{name}")
        if service is not entry:
            yield from _of_companion(path, service, bento.service)
            continue
        for field in ("cold_start_timeout", "config_overrides", "extras"):
            if getattr(service, field):
                yield Problem(f"{path}.{field}", "not_here")
        if service.scaling is not None and service.scaling.policy is not None:
            yield from problems_of_policy(f"{path}.scaling.policy", service.scaling.policy)


def _of_companion(path: str, service: ServiceBody, entry: str) -> Iterator[Problem]:
    """Problems of a service that runs in the replica of the entry service: it has no resources or number of its own."""
    given = {
        "scaling": service.scaling not in _SINGLE,
        "instance_type": service.instance_type,
        "envs": service.envs,
        "deployment_strategy": service.deployment_strategy,
        "extras": service.extras,
        "cold_start_timeout": service.cold_start_timeout,
        "config_overrides": service.config_overrides,
    }
    for field, value in given.items():
        if value:
            yield Problem(f"{path}.{field}", "companion_service", {"expected": entry})


def problems_of_policy(path: str, policy: PolicyBody) -> Iterator[Problem]:
    """The fields and metrics of a policy that this server gives no meaning to."""
    for field in PolicyBody.model_fields:
        if field != "metrics" and getattr(policy, field) is not None:
            yield Problem(f"{path}.{field}", "not_here")
    for metric in policy.metrics or ():
        if metric.type not in METRICS:
            yield Problem(f"{path}.metrics.type", "choice", {"expected": ", ".join(METRICS)})


def _scaling(given: ReplicasBody | None) -> dict[str, Any]:
    """The bounds; the client sends both, and one replica where it sends none."""
    scaling = given or ReplicasBody()
    least = 1 if scaling.min_replicas is None else scaling.min_replicas
    bounds: dict[str, Any] = {"min_replicas": least, "max_replicas": scaling.max_replicas or max(1, least)}
    metrics = (scaling.policy.metrics if scaling.policy else None) or ()
    return bounds | {METRICS[metric.type]: _whole(metric.value) for metric in metrics}


def _whole(value: Any) -> Any:
    """A number that the client may have written as a text."""
    is_number = isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= MAX_DIGITS
    return int(value) if is_number else value
