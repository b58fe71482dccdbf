"""What this machine has for replicas: cores, memory and GPUs; and what a backend elsewhere has."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

import psutil

from machine.devices import cores, gpus
from management.domain import quantities
from management.domain.capacity import Capacity
from management.domain.records import Resources
from management.settings import Settings

ENDLESS: Final = 2**62
_CGROUP: Final = Path("/sys/fs/cgroup")
_CGROUP_MEMORY: Final = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def capacity(settings: Settings) -> Capacity:
    """The machine's, as far as the settings say nothing else."""
    cpus = settings.cpus if settings.cpus is not None else float(cores())
    memory = quantities.memory_bytes(settings.memory) if settings.memory else _memory()
    return Capacity(
        Resources(
            round(cpus * 1000 * settings.overcommit),
            round(memory * settings.overcommit),
            settings.gpus if settings.gpus is not None else gpus(),
        )
    )


def capacity_elsewhere(settings: Settings) -> Capacity:
    """That of a backend which is not this machine: as much as the settings say, else without end."""
    return Capacity(
        Resources(
            ENDLESS if settings.cpus is None else round(settings.cpus * 1000),
            ENDLESS if settings.memory is None else quantities.memory_bytes(settings.memory),
            ENDLESS if settings.gpus is None else settings.gpus,
        )
    )


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
