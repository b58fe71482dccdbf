"""What replicas may ask for together, what they asked for, and whether more fits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from management.domain import quantities
from management.domain.records import NOTHING, Deployment, Resources
from management.errors import InsufficientResources


@dataclass(frozen=True)
class Capacity:
    """What all replicas together may ask for: cores and memory several times over, GPUs once."""

    limit: Resources

    def check(self, others: Iterable[Deployment], wanted: Resources, before: Resources = NOTHING) -> None:
        """Raises InsufficientResources when ``wanted`` does not fit beside what the other deployments ask for.

        What is no more than ``before`` fits always: a machine that is over-full must be able to get rid of something.
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
        """Whether ``wanted`` fits beside what the other deployments ask for."""
        return (_sum(others) + wanted).within(self.limit)


def free_gpus(limit: int, taken: Iterable[int]) -> list[int]:
    """The numbers of the GPUs that no replica has."""
    return sorted(set(range(limit)) - set(taken))


def shown(resources: Resources) -> dict[str, Any]:
    """As a request writes it."""
    return {
        quantities.CPU: quantities.shown_cpu(resources.cpu_millicores),
        quantities.MEMORY: quantities.shown_memory(resources.memory_bytes),
        quantities.GPU: str(resources.gpus),
    }


def asked(deployment: Deployment) -> Resources:
    """All that its replicas ask for; a model that is being deleted, or was given up, gives back what it has."""
    if deployment.deletion or deployment.failed:
        return NOTHING
    return deployment.target.config.resources * deployment.replicas


def _sum(deployments: Iterable[Deployment]) -> Resources:
    return sum((asked(one) for one in deployments), start=NOTHING)
