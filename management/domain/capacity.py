"""What this machine has for replicas, what they asked for, and whether more fits."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import psutil

from management.domain import quantities
from management.domain.records import NOTHING, Deployment, Resources
from management.errors import InsufficientResources
from management.settings import Settings

ENDLESS: Final = 2**62
_CGROUP: Final = Path("/sys/fs/cgroup")
_CGROUP_MEMORY: Final = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
_NVIDIA: Final = Path("/proc/driver/nvidia/gpus")


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


def of_machine(settings: Settings) -> Capacity:
    """The machine's, as far as the settings say nothing else."""
    cores = settings.cpus if settings.cpus is not None else float(_cores())
    memory = quantities.memory_bytes(settings.memory) if settings.memory else _memory()
    return Capacity(
        Resources(
            round(cores * 1000 * settings.overcommit),
            round(memory * settings.overcommit),
            settings.gpus if settings.gpus is not None else _gpus(),
        )
    )


def elsewhere(settings: Settings) -> Capacity:
    """That of a backend which is not this machine: as much as the settings say, else without end."""
    return Capacity(
        Resources(
            ENDLESS if settings.cpus is None else round(settings.cpus * 1000),
            ENDLESS if settings.memory is None else quantities.memory_bytes(settings.memory),
            ENDLESS if settings.gpus is None else settings.gpus,
        )
    )


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
    if deployment.removal or deployment.gave_up:
        return NOTHING
    return deployment.wanted.config.resources * deployment.replicas


def free_memory() -> int:
    """Bytes that this machine, or the container that this runs in, has left; what it could drop at once with them."""
    free = psutil.virtual_memory().available
    try:
        limit, used = (int((_CGROUP / name).read_text()) for name in ("memory.max", "memory.current"))
        cached = next(
            int(line.split()[1]) for line in (_CGROUP / "memory.stat").open() if line.startswith("inactive_file ")
        )
    except (OSError, ValueError, StopIteration):  # no such limit
        return free
    return min(free, limit - used + cached)


def least_memory(settings: Settings) -> int:
    """Bytes that the machine should have left."""
    return quantities.memory_bytes(settings.spare_memory) if settings.spare_memory else _memory() // 20


def _sum(deployments: Iterable[Deployment]) -> Resources:
    return sum((asked(one) for one in deployments), start=NOTHING)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _memory() -> int:
    """Bytes of this machine, or of the container that this runs in."""
    limits = [psutil.virtual_memory().total]
    for file in _CGROUP_MEMORY:
        try:
            limits.append(int(file.read_text()))
        except (OSError, ValueError):  # no such limit, or the word "max"
            continue
    return min(limits)


def _gpus() -> int:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([one for one in visible.split(",") if one.strip()])
    try:
        return sum(1 for _ in _NVIDIA.iterdir())
    except OSError:
        return 0
