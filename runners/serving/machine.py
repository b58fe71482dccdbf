"""What this machine has; asked without loading torch, which the front door's process never does."""

from __future__ import annotations

import os
from pathlib import Path


def cores() -> int:
    """CPU cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def gpus() -> int:
    """NVIDIA GPUs that the kernel's driver shows, if this process may use any."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "all").strip() in {"", "-1"}:
        return 0
    return len(list(Path("/proc/driver/nvidia/gpus").glob("*")))
