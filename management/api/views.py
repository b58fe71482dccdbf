"""Records as JSON objects of the API."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from management.api import PREFIX
from management.backends.preparation import EnvironmentState, Preparation
from management.control.secrets import StoredSecret
from management.domain import quantities
from management.domain.bento import Bento, BentoApi
from management.domain.clock import shown
from management.domain.records import Deployment, Event, ModelConfig, Replica, ReplicaState, Status, status_of
from management.domain.strategy import Strategy
from management.urls import host_address, own_address
from management.wording import messages
from management.wording.messages import Language

MASK: Final = "******"
"""Shown instead of the values of environment variables."""


def listed(deployment: Deployment, replicas: Sequence[Replica]) -> dict[str, Any]:
    """A model as an entry of the list."""
    config = deployment.target.config
    return {
        "model_id": deployment.model_id,
        "name": config.name,
        "version": config.version,
        "status": status_of(deployment, replicas).value,
        "model_type": config.model_type,
        "created_at": shown(deployment.created_at),
        "updated_at": shown(deployment.updated_at),
    }


@dataclass(frozen=True)
class ShownModel:
    """A model with all that its status tells of it."""

    deployment: Deployment
    replicas: Sequence[Replica]
    bento: Bento | None = None
    """Its Bento; None where its files are not known."""
    preparation: Preparation | None = None
    """The preparation of its environment; None where its image is the environment."""


def status(model: ShownModel, url: str, language: Language) -> dict[str, Any]:
    """Everything known about a model; ``url`` is the server's public URL."""
    deployment, replicas, bento, preparation = model.deployment, model.replicas, model.bento, model.preparation
    config = deployment.target.config
    alive = [replica for replica in replicas if replica.state.alive]
    return {
        **listed(deployment, replicas),
        "replicas": {
            "desired": 0 if deployment.deletion else deployment.replicas,
            "current": len(alive),
            "ready": sum(replica.state is ReplicaState.READY for replica in alive),
        },
        "endpoints": _endpoints(deployment.model_id, url),
        "resource_usage": usage(alive),
        "deployment_id": deployment.id,
        "revision": deployment.target.number,
        "message": _message(deployment, replicas, language, preparation),
        "environment": environment(preparation),
        "config": {
            "framework": config.framework,
            "docker_image": config.docker_image,
            "resource_requirements": dict(config.resource_requirements),
            "scaling_config": {name: value for name, value in vars(config.scaling).items() if value is not None},
            "environment_variables": dict.fromkeys(config.environment_variables, MASK),
            "secrets": [reference.name for reference in config.secrets],
            **_chosen(config),
        },
        "replica_details": [_replica(replica) for replica in replicas],
        "apis": [] if bento is None else [api(each) for each in bento.apis],
    }


def _chosen(config: ModelConfig) -> dict[str, Any]:
    """The optional fields that are not as they are by default."""
    return {
        **({"default_api": config.default_api} if config.default_api else {}),
        **({} if config.access_authorization else {"access_authorization": False}),
        **({} if config.strategy is Strategy.ROLLING_UPDATE else {"strategy": config.strategy.value}),
        **({"labels": dict(config.labels)} if config.labels else {}),
    }


def _endpoints(model_id: str, url: str) -> list[dict[str, str]]:
    """The documented URLs of a model, and those of its own root."""
    models = f"{url.rstrip('/')}{PREFIX}/models/{model_id}"
    endpoints = {
        "inference": f"{models}/inference",
        "batch_inference": f"{models}/batch_inference",
        "own": own_address(url, model_id),
        "host": host_address(url, model_id),
    }
    return [{"type": kind, "url": address} for kind, address in endpoints.items() if address is not None]


def api(described: BentoApi) -> dict[str, Any]:
    """An API of a Bento, with the JSON schemas of its body and its answer."""
    definitions = {"$defs": dict(described.definitions)} if described.definitions else {}
    named = {"type": "object", "properties": dict(described.arguments), "required": sorted(described.required)}
    return {
        "name": described.name,
        "route": described.route,
        "description": described.description,
        "input": {**(named if described.root is None else described.root), **definitions},
        "output": dict(described.output),
        "batchable": described.batchable,
        "streams": described.streams,
        "task": described.is_task,
    }


def environment(preparation: Preparation | None) -> dict[str, Any] | None:
    """The environment of a model's replicas; None where their image is the environment."""
    if preparation is None:
        return None
    own = preparation.is_own
    return {
        "state": preparation.state.name.lower() if own else "server",
        "digest": preparation.digest or None,
        "python": preparation.python,
        "size": quantities.shown_memory(preparation.size_bytes) if preparation.size_bytes else None,
        "reason": preparation.reason or None,
    }


def usage(replicas: Iterable[Replica]) -> dict[str, str]:
    """The measured usage of these replicas together; GPUs are the ones reserved for them."""
    measured = list(replicas)
    return {
        "cpu": quantities.shown_cpu(sum(replica.cpu_millicores for replica in measured)),
        "memory": quantities.shown_memory(sum(replica.memory_bytes for replica in measured)),
        "gpu": str(sum(len(replica.gpus) for replica in measured)),
    }


def event(record: Event) -> dict[str, Any]:
    """An event as an entry of a model's history."""
    return {
        "timestamp": shown(record.at),
        "actor": record.actor,
        "action": record.action,
        "deployment_id": record.deployment_id,
        "details": dict(record.details),
    }


def secret(stored: StoredSecret) -> dict[str, Any]:
    """A secret without its values."""
    record = stored.secret
    return {
        "name": record.name,
        "description": record.description,
        "variables": list(record.variables),
        "files": list(record.files),
        "paths": dict(record.paths),
        "version": record.version,
        "created_at": shown(record.created_at),
        "updated_at": shown(record.updated_at),
        "model_ids": list(stored.model_ids),
    }


def _replica(replica: Replica) -> dict[str, Any]:
    return {
        "replica_id": replica.id,
        "state": replica.state.value,
        "revision": replica.revision.number,
        "version": replica.revision.config.version,
        "created_at": shown(replica.created_at),
        "ready_at": None if replica.ready_at is None else shown(replica.ready_at),
        "gpus": list(replica.gpus),
        "resource_usage": usage([replica]) if replica.state.alive else None,
        "reason": replica.reason or None,
    }


def _message(
    deployment: Deployment, replicas: Sequence[Replica], language: Language, preparation: Preparation | None
) -> str:
    ready = sum(replica.state is ReplicaState.READY for replica in replicas)
    target = deployment.target.number
    outdated = [replica for replica in replicas if replica.state.alive and replica.revision.number != target]
    key = {
        Status.STOPPED: "removed" if deployment.deletion else "dormant" if deployment.scaled_to_zero else "stopped",
        Status.FAILED: "gave_up",
        Status.PENDING: "retrying" if deployment.reason else "starting",
        Status.RUNNING: "rolling"
        if outdated
        else "retrying"
        if ready < deployment.replicas and deployment.reason
        else "ready",
    }[status_of(deployment, replicas)]
    is_preparing = preparation is not None and preparation.state is EnvironmentState.PREPARING
    if is_preparing and key in ("starting", "retrying", "rolling"):
        key = "preparing"
    if key == "ready" and deployment.rolled_back_from:
        key = "rolled_back"
    return messages.text(
        messages.STATES,
        key,
        language,
        ready=ready,
        wanted=deployment.replicas,
        version=deployment.target.config.version,
        abandoned=deployment.rolled_back_from,
        reason=deployment.rollback_reason if key == "rolled_back" else deployment.reason,
    )
