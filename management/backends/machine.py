"""Capacity for replicas: cores, memory and GPUs of this machine, or of a backend elsewhere."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

import psutil

from machine.devices import cores, gpus
from management.domain import quantities
from management.domain.capacity import Capacity
from management.domain.records import Resources
from management.settings import CapacitySettings

UNLIMITED: Final = 2**62
"""Capacity that no deployment reaches, in any unit."""
_CGROUP: Final = Path("/sys/fs/cgroup")
_CGROUP_MEMORY: Final = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def capacity(settings: CapacitySettings) -> Capacity:
    """Return the machine's capacity; settings take precedence over what is detected."""
    cpus = settings.cpus if settings.cpus is not None else float(cores())
    memory = quantities.memory_bytes(settings.memory) if settings.memory else _memory()
    return Capacity(
        Resources(
            round(cpus * 1000 * settings.overcommit),
            round(memory * settings.overcommit),
            settings.gpus if settings.gpus is not None else gpus(),
        ),
        settings.overcommit,
    )


def capacity_elsewhere(settings: CapacitySettings) -> Capacity:
    """Return the capacity of a backend outside this machine: that of the settings, otherwise unlimited."""
    return Capacity(
        Resources(
            UNLIMITED if settings.cpus is None else round(settings.cpus * 1000),
            UNLIMITED if settings.memory is None else quantities.memory_bytes(settings.memory),
            UNLIMITED if settings.gpus is None else settings.gpus,
        )
    )


def free_memory() -> int:
    """Return the free bytes of this machine or container, caches that can be dropped at once included."""
    free = psutil.virtual_memory().available
    try:
        limit, used = (int((_CGROUP / name).read_text()) for name in ("memory.max", "memory.current"))
        cached = next(
            int(line.split()[1]) for line in (_CGROUP / "memory.stat").open() if line.startswith("inactive_file ")
        )
    except (OSError, ValueError, StopIteration):  # there is no such limit
        return free
    return min(free, limit - used + cached)


def least_memory(settings: CapacitySettings) -> int:
    """Return the bytes that should stay free: the setting, or a twentieth of the memory."""
    return quantities.memory_bytes(settings.spare_memory) if settings.spare_memory else _memory() // 20


@cache
def _memory() -> int:
    """Return the bytes of memory of this machine, or of the container that this process runs in."""
    limits = [psutil.virtual_memory().total]
    for file in _CGROUP_MEMORY:
        try:
            limits.append(int(file.read_text()))
        except (OSError, ValueError):  # there is no such limit, or it is "max"
            continue
    return min(limits)
