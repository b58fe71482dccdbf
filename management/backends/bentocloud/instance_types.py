"""Which of a cloud's instance types a replica is put on: the cheapest that has what its model asks for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf

from management.domain import quantities
from management.domain.records import Resources


@dataclass(frozen=True)
class InstanceType:
    """One that can be ordered."""

    name: str
    has: Resources
    price: float
    """In whatever the cloud counts; infinite where it does not say."""

    @property
    def cost(self) -> tuple[int, float, int, int]:
        """What it is chosen by: never one with GPUs for a model without, then the price, then the size."""
        return self.has.gpus, self.price, self.has.cpu_millicores, self.has.memory_bytes


def of_told(told: Mapping[str, str]) -> InstanceType | None:
    """One as the cloud tells of it; None where what it has cannot be read."""
    try:
        has = Resources(
            quantities.cpu_millicores(told["cpu"]),
            quantities.memory_bytes(told["memory"]),
            quantities.gpus(told.get("gpu") or "0"),
        )
        return InstanceType(told["name"], has, _price(told.get("price") or ""))
    except (KeyError, ValueError, TypeError):
        return None


def cheapest(types: Iterable[InstanceType], wanted: Resources) -> InstanceType | None:
    """The one to order; None where none has enough."""
    enough = [one for one in types if wanted.within(one.has)]
    return min(enough, key=lambda one: (one.cost, one.name), default=None)


def _price(text: str) -> float:
    try:
        return float(text.lstrip("$"))
    except ValueError:
        return inf
