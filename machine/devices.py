"""Cores and GPUs that this process may use, found without loading torch."""

from __future__ import annotations

import os
from itertools import takewhile
from pathlib import Path
from typing import Final

VISIBLE_DEVICES: Final = "CUDA_VISIBLE_DEVICES"
"""Environment variable that lists the GPUs of a process: by number, or by UUID."""
DRIVER_GPUS: Final = Path("/proc/driver/nvidia/gpus")
"""Folder in which the NVIDIA driver of the kernel shows an entry for each GPU."""


def cores() -> int:
    """CPU cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def gpus() -> int:
    """NVIDIA GPUs that this process may use: all that the driver shows, unless the environment lists some of them."""
    shown = len(list(DRIVER_GPUS.glob("*")))
    listed = listed_gpus()
    if listed is None:
        return shown
    valid = takewhile(lambda name: not name.isdigit() or int(name) < shown, listed)
    return min(shown, len(list(valid)))


def listed_gpus() -> list[str] | None:
    """CUDA's names of the GPUs that the environment lists, in order; None where it lists nothing.

    A -1 ends the list, as it does for CUDA, which ignores every entry after an invalid one.
    """
    listed = os.environ.get(VISIBLE_DEVICES)
    if listed is None:
        return None
    names = (name.strip() for name in listed.split(","))
    return list(takewhile(lambda name: name != "-1", filter(None, names)))
