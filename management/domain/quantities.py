"""Kubernetes quantities, as far as resources of a model need them: ``500m``, ``2``, ``1.5``, ``8Gi``, ``512M``."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

CPU: Final = "cpu"
MEMORY: Final = "memory"
GPU: Final = "nvidia.com/gpu"
LEAST_MEMORY: Final = 2**20
"""Bytes: less is a slip of the unit (``128m`` is a thousandth of 128 bytes), for no program runs in it."""

_NUMBER: Final = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?\Z", re.ASCII)
_FACTORS: Final[dict[str | None, Decimal]] = {
    None: Decimal(1),
    "m": Decimal("0.001"),
    **{letter: Decimal(1000) ** power for power, letter in enumerate(("k", "M", "G", "T", "P"), 1)},
    **{f"{letter}i": Decimal(1024) ** power for power, letter in enumerate(("K", "M", "G", "T", "P"), 1)},
}


def cpu_millicores(text: str) -> int:
    """``"500m"`` is 500, ``"2"`` is 2000. Raises ValueError for what is no quantity, or is none at all."""
    return _positive(_value(text) * 1000)


def memory_bytes(text: str) -> int:
    """``"8Gi"`` is 8 x 1024 ** 3, ``"8G"`` 8 x 1000 ** 3. Raises ValueError for what is no quantity, or is none."""
    return _positive(_value(text))


def too_little_memory(text: str) -> str | None:
    """What was probably meant, where a quantity of memory is less than any program needs; else None.

    ``"128m"`` and ``"128"`` are ``"128Mi"``. Raises ValueError for what is no quantity.
    """
    if memory_bytes(text) >= LEAST_MEMORY:
        return None
    number = text.rstrip("mkKMGTPi")
    return f"{number}Mi" if Decimal(number) >= 1 else f"{number}Gi"


def gpus(text: str) -> int:
    """A whole number of GPUs. Raises ValueError."""
    value = _value(text)
    if value != int(value):
        raise ValueError("GPUs are whole")
    return int(value)


def shown_cpu(millicores: int) -> str:
    """As Kubernetes writes it."""
    return f"{millicores}m"


def shown_memory(count: int) -> str:
    """In whole MiB, as Kubernetes writes it."""
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
