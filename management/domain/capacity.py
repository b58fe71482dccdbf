"""Capacity for replicas: the limit of all requests together, and whether a further request fits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from management.domain import quantities
from management.domain.records import NOTHING, Deployment, Resources
from management.errors import InsufficientResources


@dataclass
class Capacity:
    """Limit of the resources that all replicas together request: cores and memory are overcommitted, GPUs are not."""

    limit: Resources
    """It is replaced where a backend's machines come and go."""
    overcommit: float = 1.0
    """Multiple of the machine's cores and memory that the limit is."""

    @property
    def machine(self) -> Resources:
        """What there really is of each resource."""
        limit = self.limit
        return Resources(
            round(limit.cpu_millicores / self.overcommit), round(limit.memory_bytes / self.overcommit), limit.gpus
        )

    def check(self, others: Iterable[Deployment], wanted: Resources, before: Resources = NOTHING) -> None:
        """Raise InsufficientResources when ``wanted`` does not fit beside the other deployments' requests.

        A request of at most ``before`` always fits: it must be possible to reduce the load of an overloaded machine.
        """
        if wanted.within(before):
            return
        if not self.fits(others := list(others), wanted):
            taken = _sum(others)
            available = Resources(
                max(0, self.limit.cpu_millicores - taken.cpu_millicores),
                max(0, self.limit.memory_bytes - taken.memory_bytes),
                max(0, self.limit.gpus - taken.gpus),
            )
            raise InsufficientResources({"requested": shown(wanted), "available": shown(available)})

    def fits(self, others: Iterable[Deployment], wanted: Resources) -> bool:
        """Return whether ``wanted`` fits beside the other deployments' requests."""
        return (_sum(others) + wanted).within(self.limit)


def free_gpus(limit: int, taken: Iterable[int]) -> list[int]:
    """Return the numbers of the GPUs that no replica has."""
    return sorted(set(range(limit)) - set(taken))


def shown(resources: Resources) -> dict[str, Any]:
    """Return the resources as Kubernetes quantities, as in a request."""
    return {
        quantities.CPU: quantities.shown_cpu(resources.cpu_millicores),
        quantities.MEMORY: quantities.shown_memory(resources.memory_bytes),
        quantities.GPU: str(resources.gpus),
    }


def requested_resources(deployment: Deployment) -> Resources:
    """Return the requested resources of all its replicas; none for a deployment that is being deleted or has failed."""
    if deployment.deletion or deployment.failed:
        return NOTHING
    return deployment.target.config.resources * deployment.replicas


def _sum(deployments: Iterable[Deployment]) -> Resources:
    return sum((requested_resources(deployment) for deployment in deployments), start=NOTHING)
