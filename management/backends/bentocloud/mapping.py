"""Translation between BentoCloud and the engine interface: names, marks and statuses."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from management.backends.engine import AppliedSpec, EnginePhase, EngineSpec

MARK: Final = "ATELIER_ORDER"
"""Environment variable of a deployment that holds its control plane, its id and its revision number.

Labels hold the same for people. The client itself reads the environment back before each change, so it is known to
last. A changed environment starts new replicas, as a new revision does anyway.
"""
INSTANCE: Final = "atelier-instance"
"""Label with the id of the control plane."""
DEPLOYMENT: Final = "atelier-deployment"
"""Label with the deployment's id."""
MODEL: Final = "atelier-model"
"""Label with the model's id."""

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
"""Phase of every status of the client; any other status counts as PENDING."""
_NAME: Final = re.compile(r"[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?\Z", re.ASCII)


def name_of(model_id: str) -> str:
    """Return the name of a model's deployment: its id if that is a DNS label, else a label unique to the id."""
    if _NAME.match(model_id):
        return model_id
    digest = hashlib.sha256(model_id.encode()).hexdigest()[:10]
    return f"m-{model_id.replace('_', '-')[:48].strip('-')}-{digest}"


@dataclass(frozen=True)
class CloudDeployment:
    """A deployment on BentoCloud, read from the client's answer."""

    answer: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Name of the deployment on BentoCloud."""
        return str(self.answer["name"])

    @property
    def status(self) -> str:
        """BentoCloud's word for the status."""
        return str(self.answer["status"]["status"])

    @property
    def phase(self) -> EnginePhase:
        """Phase that the status maps to."""
        return STANDINGS.get(self.status, EnginePhase.PENDING)

    @property
    def created_at(self) -> str:
        """Time of creation, which distinguishes two deployments that had the same name."""
        return str(self.answer["created_at"])

    @property
    def urls(self) -> list[str]:
        """URLs of the deployment; empty when the answer has none."""
        return list(self.answer.get("endpoint_urls") or ())

    @property
    def owner(self) -> tuple[str, str]:
        """Id of the control plane that created it and its deployment id there; empty strings for any other."""
        if parts := self._mark():
            return parts[0], parts[1]
        labels = self.answer.get("labels") or {}
        return str(labels.get(INSTANCE, "")), str(labels.get(DEPLOYMENT, ""))

    @property
    def mark(self) -> AppliedSpec | None:
        """The spec that was applied to it; None while it is not configured."""
        parts, scaling = self._mark(), self._scaling()
        if parts is None or scaling is None:
            return None
        return AppliedSpec(parts[1], int(parts[2]), scaling.get("min_replicas") or 0, scaling.get("max_replicas") or 0)

    def _mark(self) -> list[str] | None:
        variables = (self.answer.get("config") or {}).get("envs") or ()
        parts = next((variable["value"] for variable in variables if variable["name"] == MARK), "").split(".")
        return parts if len(parts) == 3 and parts[2].isdecimal() else None

    def _scaling(self) -> Mapping[str, int] | None:
        """Return the scaling of the service whose replicas are counted: the only one with an instance type."""
        services = list(((self.answer.get("config") or {}).get("services") or {}).values())
        typed = [service for service in services if service.get("instance_type")] or services
        return typed[-1].get("scaling") if typed else None


def configured(spec: EngineSpec, instance: str, instance_type: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the arguments of ``bentoml.deployment.create`` and ``update``, beside the name and the Bento.

    A model whose own address is open is so at this server alone: that can be taken back at once, without the cloud.
    """
    mark = f"{instance}.{spec.deployment_id}.{spec.revision.number}"
    labels = {INSTANCE: instance, DEPLOYMENT: spec.deployment_id, MODEL: spec.model_id}
    return {
        "access_authorization": True,
        "scaling_min": spec.least,
        "scaling_max": spec.most,
        "instance_type": instance_type,
        "strategy": spec.revision.config.strategy.value,
        "envs": [{"name": name, "value": value} for name, value in {**environment, MARK: mark}.items()],
        "labels": [{"key": key, "value": value} for key, value in labels.items()],
    }
