"""Deployments as the client reads them: one revision with one target, which says the configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from management.backends.preparation import Preparation
from management.bentoml_api.states import CloudStatus, cloud_status, codespace_status
from management.bentoml_api.views.resources import MASK, NAMESPACE, cluster, resource, user
from management.bentoml_api.views.stored import StoredItem, with_repository
from management.bentoml_api.views.stored import masked as without_values
from management.control.codespaces.codespaces import Edited
from management.domain.bento import Bento
from management.domain.records import Deployment, ModelConfig, Replica, ReplicaState
from management.urls import own_address

COMPONENT: Final = "yatai.ai/bento-function-component-type"
BUILDER: Final = "yatai.ai/is-bento-image-builder"


@dataclass(frozen=True)
class ShownDeployment:
    """A deployment with all that is told of it."""

    deployment: Deployment
    replicas: Sequence[Replica]
    creator: str
    """Name of the key that created it."""
    item: StoredItem | None = None
    """Its Bento; None where it is not in the store."""
    bento: Bento | None = None
    preparation: Preparation | None = None
    instance: str | None = None
    """Its instance type; None for resources of its own."""
    edited: Edited | None = None
    """Its codespace; None for one that is not edited while it runs."""

    @property
    def status(self) -> CloudStatus:
        """The client's word for its status."""
        status = cloud_status(self.deployment, self.replicas, self.preparation)
        return status if self.edited is None else codespace_status(status, self.replicas, self.edited)


def listed(shown: ShownDeployment, *, masked: bool) -> dict[str, Any]:
    """A deployment in a list."""
    record = shown.deployment
    return {
        **resource(
            "deployment",
            record.model_id,
            uid=record.id,
            created_at=record.created_at,
            updated_at=record.updated_at,
            labels=record.target.config.labels,
        ),
        "status": shown.status.value,
        "kube_namespace": NAMESPACE,
        "creator": user(shown.creator),
        "cluster": cluster(),
        "latest_revision": _revision(shown, masked=masked),
        "manifest": {"dev": shown.edited is not None, "routing": None},
    }


def full(shown: ShownDeployment, url: str, *, masked: bool) -> dict[str, Any]:
    """A deployment, and the URL of its own address on the server at ``url``."""
    return {**listed(shown, masked=masked), "urls": urls(shown, url)}


def urls(shown: ShownDeployment, url: str) -> list[str]:
    """The URL of a deployment's own address on the server at ``url``."""
    return [own_address(url, shown.deployment.model_id).rstrip("/")]


def _revision(shown: ShownDeployment, *, masked: bool) -> dict[str, Any]:
    record = shown.deployment
    number = str(record.target.number)
    common = {
        **resource("deployment_revision", number, uid=f"{record.id}-{number}", created_at=record.updated_at),
        "creator": user(shown.creator),
    }
    target = {
        **resource("deployment_revision", "main", uid=f"{record.id}-{number}-main", created_at=record.updated_at),
        "creator": user(shown.creator),
        "config": _config(shown, masked=masked),
        "bento": _bento(shown, masked=masked),
        "kube_resource_uid": "",
        "kube_resource_version": "",
    }
    return {**common, "status": "active", "targets": [target]}


def _bento(shown: ShownDeployment, *, masked: bool) -> Mapping[str, Any] | None:
    item = shown.item
    if item is None:
        return None
    if shown.edited is not None:  # the client compares the manifest with that of its folder
        item = replace(item, manifest={**shown.edited.manifest, "dev": True})
    return with_repository(without_values(item) if masked else item)


def _config(shown: ShownDeployment, *, masked: bool) -> Mapping[str, Any]:
    config = shown.deployment.target.config
    variables = config.environment_variables.items()
    return {
        "access_authorization": config.access_authorization,
        "envs": [{"name": name, "value": MASK if masked else value} for name, value in variables],
        "labels": [{"key": key, "value": value} for key, value in config.labels.items()],
        "secrets": [reference.name for reference in config.secrets],
        "services": _services(config, shown.bento, shown.instance),
        "canary": None,
    }


def _services(config: ModelConfig, bento: Bento | None, instance: str | None) -> Mapping[str, Any]:
    """Return the settings of a deployment's services as the client reads and sends them back."""
    name = bento.service if bento is not None and bento.service else config.name
    shown = {
        "instance_type": instance,
        "scaling": scaling(config),
        "envs": None,
        "deployment_strategy": config.strategy.value,
        "extras": None,
        "cold_start_timeout": None,
        "config_overrides": {},
    }
    return {name: shown}


def scaling(config: ModelConfig) -> dict[str, Any]:
    """The bounds of the replicas, and what scaling aims at."""
    given = config.scaling
    metrics = [{"type": "cpu", "value": given.target_cpu_utilization}]
    if given.target_concurrency is not None:
        metrics.append({"type": "concurrency", "value": given.target_concurrency})
    return {
        "min_replicas": given.min_replicas,
        "max_replicas": given.max_replicas,
        "policy": {"metrics": metrics},
    }


PHASES: Final[Mapping[ReplicaState, tuple[str, str]]] = {
    ReplicaState.STARTING: ("Pending", "Pending"),
    ReplicaState.READY: ("Running", "Running"),
    ReplicaState.UNRESPONSIVE: ("Running", "Unhealthy"),
    ReplicaState.DRAINING: ("Running", "Terminating"),
    ReplicaState.FAILED: ("Failed", "Failed"),
    ReplicaState.GONE: ("Succeeded", "Terminating"),
}
"""The phase of a replica's pod, and the client's word for its status."""


def pod(replica: Replica, service: str) -> dict[str, Any]:
    """A replica, as a pod."""
    phase, status = PHASES[replica.state]
    return {
        "name": replica.id,
        "namespace": NAMESPACE,
        "labels": {COMPONENT: "api-server"},
        "pod_status": {"status": status, "reason": replica.reason},
        "status": {"phase": phase, "ready": replica.state is ReplicaState.READY},
        "runner_name": service,
    }


def codespace_pod(name: str, service: str) -> dict[str, Any]:
    """A codespace with whatever replica it has, as one pod: the client waits for a pod before it sends any file."""
    return {
        "name": name,
        "namespace": NAMESPACE,
        "labels": {COMPONENT: "api-server"},
        "pod_status": {"status": "Running", "reason": ""},
        "status": {"phase": "Running", "ready": True},
        "runner_name": service,
    }


def builder_pod(name: str) -> dict[str, Any]:
    """What makes the environment of a deployment and loads its Bento, as a pod whose log the client shows."""
    return {
        "name": name,
        "namespace": NAMESPACE,
        "labels": {BUILDER: "true"},
        "pod_status": {"status": "Running", "reason": ""},
        "status": {"phase": "Running", "ready": True},
        "runner_name": "builder",
    }
