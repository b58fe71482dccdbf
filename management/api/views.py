"""Records as JSON objects of the API."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from management.api import messages
from management.api.messages import Language
from management.domain import quantities
from management.domain.clock import shown
from management.domain.records import Deployment, Event, Replica, ReplicaState, Status, status_of

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


def status(deployment: Deployment, replicas: Sequence[Replica], url: str, language: Language) -> dict[str, Any]:
    """Everything known about a model; ``url`` is the API's public URL."""
    config = deployment.target.config
    alive = [replica for replica in replicas if replica.state.alive]
    models = f"{url.rstrip('/')}/models/{deployment.model_id}"
    return {
        **listed(deployment, replicas),
        "replicas": {
            "desired": 0 if deployment.deletion else deployment.replicas,
            "current": len(alive),
            "ready": sum(replica.state is ReplicaState.READY for replica in alive),
        },
        "endpoints": [
            {"type": "inference", "url": f"{models}/inference"},
            {"type": "batch_inference", "url": f"{models}/batch_inference"},
        ],
        "resource_usage": usage(alive),
        "deployment_id": deployment.id,
        "revision": deployment.target.number,
        "message": _message(deployment, replicas, language),
        "config": {
            "framework": config.framework,
            "docker_image": config.docker_image,
            "resource_requirements": dict(config.resource_requirements),
            "scaling_config": vars(config.scaling),
            "environment_variables": dict.fromkeys(config.environment_variables, MASK),
        },
        "replica_details": [_replica(replica) for replica in replicas],
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


def _message(deployment: Deployment, replicas: Sequence[Replica], language: Language) -> str:
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
