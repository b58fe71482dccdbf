"""Records as the API shows them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from management.api import messages
from management.api.messages import Language
from management.domain import quantities
from management.domain.clock import shown
from management.domain.records import Deployment, Event, Replica, ReplicaState, Status, status_of

MASK: Final = "******"


def listed(deployment: Deployment, replicas: Sequence[Replica]) -> dict[str, Any]:
    """An entry of the list."""
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
    """The whole of what is known of a model; ``url`` is where the API is reached."""
    config = deployment.target.config
    alive = [one for one in replicas if one.state.alive]
    models = f"{url.rstrip('/')}/models/{deployment.model_id}"
    return {
        **listed(deployment, replicas),
        "replicas": {
            "desired": 0 if deployment.deletion else deployment.replicas,
            "current": len(alive),
            "ready": sum(one.state is ReplicaState.READY for one in alive),
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
        "replica_details": [_replica(one) for one in replicas],
    }


def usage(replicas: Iterable[Replica]) -> dict[str, str]:
    """What these replicas use together, measured; GPUs are those they have for themselves."""
    found = list(replicas)
    return {
        "cpu": quantities.shown_cpu(sum(one.cpu_millicores for one in found)),
        "memory": quantities.shown_memory(sum(one.memory_bytes for one in found)),
        "gpu": str(sum(len(one.gpus) for one in found)),
    }


def event(one: Event) -> dict[str, Any]:
    """An event."""
    return {
        "timestamp": shown(one.at),
        "actor": one.actor,
        "action": one.action,
        "deployment_id": one.deployment_id,
        "details": dict(one.details),
    }


def _replica(one: Replica) -> dict[str, Any]:
    return {
        "replica_id": one.id,
        "state": one.state.value,
        "revision": one.revision.number,
        "version": one.revision.config.version,
        "created_at": shown(one.created_at),
        "ready_at": None if one.ready_at is None else shown(one.ready_at),
        "gpus": list(one.gpus),
        "resource_usage": usage([one]) if one.state.alive else None,
        "reason": one.reason or None,
    }


def _message(deployment: Deployment, replicas: Sequence[Replica], language: Language) -> str:
    ready = sum(one.state is ReplicaState.READY for one in replicas)
    old = [one for one in replicas if one.state.alive and one.revision.number != deployment.target.number]
    key = {
        Status.STOPPED: "removed" if deployment.deletion else "dormant" if deployment.scaled_to_zero else "stopped",
        Status.FAILED: "gave_up",
        Status.PENDING: "retrying" if deployment.reason else "starting",
        Status.RUNNING: "rolling"
        if old
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
