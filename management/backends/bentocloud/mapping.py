"""What BentoCloud calls things, and what they are here: names, marks, the words for a status."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from management.backends.engine import AppliedSpec, EnginePhase, EngineSpec

MARK: Final = "ATELIER_ORDER"
"""The variable of a deployment's environment that says whose it is, which, and of which revision.

Labels say the same to people. The environment is what the client itself reads back before each change, so that it is
known to last; to send another one starts new replicas, as a new revision does anyway.
"""
INSTANCE: Final = "atelier-instance"
DEPLOYMENT: Final = "atelier-deployment"
MODEL: Final = "atelier-model"

STANDINGS: Final[Mapping[str, EnginePhase]] = MappingProxyType(
    {
        "running": EnginePhase.RUNNING,
        "scaled-to-zero": EnginePhase.RUNNING,
        "unhealthy": EnginePhase.UNHEALTHY,
        "failed": EnginePhase.FAILED,
        "image-build-failed": EnginePhase.FAILED,
        "terminating": EnginePhase.ENDING,
        "terminated": EnginePhase.STOPPED,
        "non-deployed": EnginePhase.STOPPED,
        "deploying": EnginePhase.PENDING,
        "image-building": EnginePhase.PENDING,
        "image-build-succeeded": EnginePhase.PENDING,
        "unknown": EnginePhase.PENDING,
    }
)
"""Every word of the client; one that it does not know either is waited out."""
_NAME: Final = re.compile(r"[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?\Z", re.ASCII)


def name_of(model_id: str) -> str:
    """A model's deployment: a DNS label, which is the model's own id if that is one, else one that no other id has."""
    if _NAME.match(model_id):
        return model_id
    digest = hashlib.sha256(model_id.encode()).hexdigest()[:10]
    return f"m-{model_id.replace('_', '-')[:48].strip('-')}-{digest}"


@dataclass(frozen=True)
class Found:
    """A deployment as the client told of it."""

    told: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Its name there."""
        return str(self.told["name"])

    @property
    def status(self) -> str:
        """The word for how it stands."""
        return str(self.told["status"]["status"])

    @property
    def standing(self) -> EnginePhase:
        """How it stands."""
        return STANDINGS.get(self.status, EnginePhase.PENDING)

    @property
    def made(self) -> str:
        """When it was made: two of one name are told apart by it."""
        return str(self.told["created_at"])

    @property
    def urls(self) -> list[str]:
        """Where it is reached, as far as that was told."""
        return list(self.told.get("endpoint_urls") or ())

    @property
    def owner(self) -> tuple[str, str]:
        """The control plane that made it, and the deployment's id there; empty of what nobody here made."""
        if parts := self._mark():
            return parts[0], parts[1]
        labels = self.told.get("labels") or {}
        return str(labels.get(INSTANCE, "")), str(labels.get(DEPLOYMENT, ""))

    @property
    def mark(self) -> AppliedSpec | None:
        """The order that it holds; None where it is not configured yet."""
        parts, scaling = self._mark(), self._scaling()
        if parts is None or scaling is None:
            return None
        return AppliedSpec(parts[1], int(parts[2]), scaling.get("min_replicas") or 0, scaling.get("max_replicas") or 0)

    def _mark(self) -> list[str] | None:
        variables = (self.told.get("config") or {}).get("envs") or ()
        parts = next((one["value"] for one in variables if one["name"] == MARK), "").split(".")
        return parts if len(parts) == 3 and parts[2].isdecimal() else None

    def _scaling(self) -> Mapping[str, int] | None:
        """That of the service whose replicas are counted: the only one that is given an instance type."""
        services = list(((self.told.get("config") or {}).get("services") or {}).values())
        of_type = [one for one in services if one.get("instance_type")] or services
        return of_type[-1].get("scaling") if of_type else None


def configured(order: EngineSpec, instance: str, instance_type: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """What ``bentoml.deployment.create`` and ``update`` are told of an order, beside its name and its Bento."""
    mark = f"{instance}.{order.deployment_id}.{order.revision.number}"
    labels = {INSTANCE: instance, DEPLOYMENT: order.deployment_id, MODEL: order.model_id}
    return {
        "access_authorization": True,
        "scaling_min": order.least,
        "scaling_max": order.most,
        "instance_type": instance_type,
        "strategy": "RollingUpdate",
        "envs": [{"name": name, "value": value} for name, value in {**environment, MARK: mark}.items()],
        "labels": [{"key": key, "value": value} for key, value in labels.items()],
    }
