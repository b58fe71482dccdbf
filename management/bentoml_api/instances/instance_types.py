"""Instance types: names for the resources of a replica, which are parts of the capacity unless a file lists others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from management.domain import quantities
from management.domain.records import Resources

MIB: Final = 1024**2
GIB: Final = 1024**3
FRACTIONS: Final[Mapping[str, int]] = {"small": 8, "medium": 4, "large": 2, "full": 1}
"""Names of the types, and which part of the capacity each has."""
ELSEWHERE: Final = Resources(16_000, 64 * GIB, 0)
"""What is divided where a backend names no limit."""
MOST: Final = 2**50
"""Bytes of more memory than a machine has: such a capacity is no limit."""
_FLOOR: Final = Resources(100, 256 * MIB, 0)


@dataclass(frozen=True)
class LocalInstanceType:
    """A name, and the resources that each replica gets by it."""

    name: str
    requirements: Mapping[str, str]
    """Kubernetes quantities, as in a deployment's ``resource_requirements``."""
    note: str = ""
    """What the operator says of it."""

    @property
    def description(self) -> str:
        """The operator's words, or its resources in words."""
        if self.note:
            return self.note
        gpus = self.requirements[quantities.GPU]
        with_gpus = f", {gpus} GPU" if gpus != "0" else ""
        return f"{self.requirements[quantities.CPU]} CPU, {self.requirements[quantities.MEMORY]} memory{with_gpus}"


def instance_types(limit: Resources) -> list[LocalInstanceType]:
    """Return the types for a capacity, the smallest first; equal ones once, then those with GPUs."""
    whole = limit if limit.memory_bytes < MOST else Resources(ELSEWHERE.cpu_millicores, ELSEWHERE.memory_bytes, 0)
    found: dict[Resources, str] = {}
    for name, parts in FRACTIONS.items():
        found.setdefault(_part(whole, parts, 0), f"cpu.{name}")
    number = 1
    while number <= whole.gpus:
        found[_part(whole, max(1, whole.gpus // number), number)] = f"gpu.{number}"
        number *= 2
    return [LocalInstanceType(name, requirements_of(resources)) for resources, name in found.items()]


def named(types: Sequence[LocalInstanceType], requirements: Mapping[str, str]) -> str | None:
    """Return the name of the type with these requirements; None where there is none."""
    return next((each.name for each in types if each.requirements == requirements), None)


def _part(whole: Resources, parts: int, gpus: int) -> Resources:
    """A part of the capacity: cores in steps of 100m, memory in steps of 64 MiB."""
    cores = max(_FLOOR.cpu_millicores, whole.cpu_millicores // parts // 100 * 100)
    memory = max(_FLOOR.memory_bytes, whole.memory_bytes // parts // (64 * MIB) * (64 * MIB))
    return Resources(cores, memory, gpus)


def requirements_of(resources: Resources) -> dict[str, str]:
    """Return amounts as Kubernetes quantities, as in a deployment's ``resource_requirements``."""
    return {
        quantities.CPU: quantities.shown_cpu(resources.cpu_millicores),
        quantities.MEMORY: quantities.shown_memory(resources.memory_bytes),
        quantities.GPU: str(resources.gpus),
    }
