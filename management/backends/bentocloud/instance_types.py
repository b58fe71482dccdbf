"""Choice of a cloud's instance type for a replica: the cheapest one with the resources that its model requests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf

from management.domain import quantities
from management.domain.records import Resources


@dataclass(frozen=True)
class InstanceType:
    """An instance type that BentoCloud offers."""

    name: str
    has: Resources
    price: float
    """Price in the cloud's own unit; infinite when the cloud states none."""

    @property
    def cost(self) -> tuple[int, float, int, int]:
        """Sort key: fewest GPUs first, so that models without GPUs get none, then the price, then the size."""
        return self.has.gpus, self.price, self.has.cpu_millicores, self.has.memory_bytes


def of_told(description: Mapping[str, str]) -> InstanceType | None:
    """Return the instance type in the cloud's description; None when its resources cannot be parsed."""
    try:
        has = Resources(
            quantities.cpu_millicores(description["cpu"]),
            quantities.memory_bytes(description["memory"]),
            quantities.gpus(description.get("gpu") or "0"),
        )
        return InstanceType(description["name"], has, _price(description.get("price") or ""))
    except (KeyError, ValueError, TypeError):
        return None


def cheapest(types: Iterable[InstanceType], wanted: Resources) -> InstanceType | None:
    """Return the cheapest sufficient instance type; None when none has enough."""
    sufficient = [instance_type for instance_type in types if wanted.within(instance_type.has)]
    return min(sufficient, key=lambda instance_type: (instance_type.cost, instance_type.name), default=None)


def _price(text: str) -> float:
    try:
        return float(text.lstrip("$"))
    except ValueError:
        return inf
