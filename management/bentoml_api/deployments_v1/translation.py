"""Deployments in the words of version 1 as those of version 2. What has no meaning here is refused, never ignored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from management.bentoml_api.configs import problems_of_policy
from management.bentoml_api.deployments_v1.bodies import (
    AmountsBody,
    NamedTargetsBody,
    TargetBody,
    TargetConfigBody,
    TargetsBody,
)
from management.bentoml_api.schemas import DeploymentBody, ServiceBody, VariableBody
from management.bentoml_api.views.resources import NAMESPACE
from management.domain import quantities
from management.errors import InvalidModelConfig, Problem
from management.forms.validation import MAX_PROBLEMS

PUBLIC: Final = "public"
"""Access to a model whose own address wants no key."""
PROTECTED: Final = "protected"
"""Access to a model whose own address wants a key."""
MEANINGLESS: Final = (
    *("kube_resource_uid", "kube_resource_version", "runners", "enable_stealing_traffic_debug_mode"),
    *("enable_debug_mode", "enable_debug_pod_receive_production_traffic", "bento_deployment_overrides"),
    *("bento_request_overrides", "bento_function_overrides", "traffic_control", "deployment_cold_start_wait_timeout"),
)
"""Fields of a configuration that this server gives no meaning to; false, or empty, they say nothing."""
AMOUNTS: Final[Mapping[str, tuple[str, Callable[[str], int]]]] = {
    "cpu": (quantities.CPU, quantities.cpu_millicores),
    "memory": (quantities.MEMORY, quantities.memory_bytes),
    "gpu": (quantities.GPU, quantities.gpus),
}
"""The client's names of resources: this server's name, and what reads an amount."""
_CONFIG: Final = "targets.0.config"


@dataclass(frozen=True)
class TranslatedTarget:
    """A deployment in the words of version 2, and what these have no words for."""

    body: DeploymentBody
    resources: Mapping[str, str]
    """Resources that the target names, as Kubernetes quantities."""
    kept: frozenset[str]
    """Fields that an update leaves as they are: version 1 has no word for secrets, and null means no change."""


def translated(given: TargetsBody) -> TranslatedTarget:
    """Return the deployment in the words of version 2. Raises InvalidModelConfig."""
    if problems := list(islice(_problems(given), MAX_PROBLEMS)):
        raise InvalidModelConfig(*problems)
    target, config = given.targets[0], given.targets[0].config
    service = ServiceBody(
        instance_type=config.resource_instance,
        scaling=config.hpa_conf,
        deployment_strategy=config.deployment_strategy,
    )
    body = DeploymentBody(
        bento=f"{target.bento_repository}:{target.bento}",
        name=given.name if isinstance(given, NamedTargetsBody) else None,
        access_authorization=config.access_control != PUBLIC,
        envs=[VariableBody(name=each.key, value=each.value) for each in config.envs or ()],
        labels=given.labels,
        services={"": service},
    )
    said = {"secrets": None, "labels": given.labels, "access_authorization": config.access_control}
    return TranslatedTarget(body, _resources(config), frozenset(name for name, value in said.items() if value is None))


def _resources(config: TargetConfigBody) -> Mapping[str, str]:
    """The resources of each replica: the requests, which are the limits where only those are named."""
    if config.resources is None:
        return {}
    named = _amounts(config.resources.limits) | _amounts(config.resources.requests)
    return {AMOUNTS[name][0]: amount for name, amount in named.items()}


def _amounts(given: AmountsBody | None) -> dict[str, str]:
    found = {} if given is None else {name: getattr(given, name) for name in AMOUNTS}
    return {name: amount for name, amount in found.items() if amount is not None}


def _problems(given: TargetsBody) -> Iterator[Problem]:
    """The fields that this server gives no meaning to."""
    for field in ("description", "do_not_deploy"):
        if getattr(given, field):
            yield Problem(field, "not_here")
    if isinstance(given, NamedTargetsBody) and given.kube_namespace != NAMESPACE:
        yield Problem("kube_namespace", "choice", {"expected": NAMESPACE})
    yield from _of_target(given.targets[0])
    for number in range(1, len(given.targets)):
        yield Problem(f"targets.{number}", "not_here")


def _of_target(target: TargetBody) -> Iterator[Problem]:
    config = target.config
    if target.canary_rules:
        yield Problem("targets.0.canary_rules", "not_here")
    for field in MEANINGLESS:
        if _says_something(getattr(config, field)):
            yield Problem(f"{_CONFIG}.{TargetConfigBody.model_fields[field].alias or field}", "not_here")
    if config.enable_ingress is False:  # each model has an address
        yield Problem(f"{_CONFIG}.enable_ingress", "not_here")
    if config.access_control not in (None, PUBLIC, PROTECTED):
        yield Problem(f"{_CONFIG}.access_control", "choice", {"expected": f"{PUBLIC}, {PROTECTED}"})
    if config.hpa_conf is not None and config.hpa_conf.policy is not None:
        yield from problems_of_policy(f"{_CONFIG}.hpa_conf.policy", config.hpa_conf.policy)
    yield from _of_resources(config)


def _of_resources(config: TargetConfigBody) -> Iterator[Problem]:
    """Problems of resources: a replica is given what it may take, and by an instance type all of it."""
    given = config.resources
    if given is None:
        return
    for name, part in (("requests", given.requests), ("limits", given.limits)):
        if part is not None and part.custom:
            yield Problem(f"{_CONFIG}.resources.{name}.custom", "not_here")
    requests, limits = _amounts(given.requests), _amounts(given.limits)
    if config.resource_instance and requests | limits:
        yield Problem(f"{_CONFIG}.resources", "not_here")
        return
    for name, (_, parse) in AMOUNTS.items():
        if name in requests and name in limits and parse(requests[name]) != parse(limits[name]):
            yield Problem(f"{_CONFIG}.resources.limits.{name}", "not_here")


def _says_something(value: Any) -> bool:
    """Return whether a value asks for anything: the client sends each field, most of them null or false."""
    return any(map(_says_something, value.values())) if isinstance(value, dict) else bool(value)
