"""Kubernetes quantities for the resources of a model: ``500m``, ``2``, ``1.5``, ``8Gi``, ``512M``."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

CPU: Final = "cpu"
MEMORY: Final = "memory"
GPU: Final = "nvidia.com/gpu"
MIN_MEMORY: Final = 2**20
"""Minimum memory in bytes; below it the unit must be a mistake (``128m`` is 0.128 bytes)."""

_NUMBER: Final = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?\Z", re.ASCII)
_FACTORS: Final[dict[str | None, Decimal]] = {
    None: Decimal(1),
    "m": Decimal("0.001"),
    **{letter: Decimal(1000) ** power for power, letter in enumerate(("k", "M", "G", "T", "P"), 1)},
    **{f"{letter}i": Decimal(1024) ** power for power, letter in enumerate(("K", "M", "G", "T", "P"), 1)},
}


def cpu_millicores(text: str) -> int:
    """Return thousandths of a core: ``"500m"`` gives 500, ``"2"`` 2000. Raises ValueError if invalid, or 0."""
    return _positive(_value(text) * 1000)


def memory_bytes(text: str) -> int:
    """Return bytes: ``"8Gi"`` gives 8 x 1024 ** 3, ``"8G"`` 8 x 1000 ** 3. Raises ValueError if invalid, or 0."""
    return _positive(_value(text))


def too_little_memory(text: str) -> str | None:
    """Return the quantity that was probably meant, when this is less than any program needs; else None.

    For ``"128m"`` and ``"128"`` it is ``"128Mi"``. Raises ValueError for an invalid text.
    """
    if memory_bytes(text) >= MIN_MEMORY:
        return None
    number = text.rstrip("mkKMGTPi")
    return f"{number}Mi" if Decimal(number) >= 1 else f"{number}Gi"


def gpus(text: str) -> int:
    """Return a whole number of GPUs. Raises ValueError for any other quantity."""
    value = _value(text)
    if value != int(value):
        raise ValueError("the number of GPUs must be whole")
    return int(value)


def shown_cpu(millicores: int) -> str:
    """Return the quantity as Kubernetes writes it, in thousandths of a core."""
    return f"{millicores}m"


def shown_memory(count: int) -> str:
    """Return the quantity as Kubernetes writes it, in MiB rounded up."""
    return f"{-(-count // 2**20)}Mi"


def _value(text: str) -> Decimal:
    match = _NUMBER.match(text)
    if match is None:
        raise ValueError("not a quantity")
    number, unit = match.groups()
    return Decimal(number) * _FACTORS[unit]


def _positive(value: Decimal) -> int:
    rounded = int(value.to_integral_value(rounding="ROUND_CEILING"))
    if rounded <= 0:
        raise ValueError("a quantity must be more than 0")
    return rounded
