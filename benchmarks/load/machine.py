"""The machine on which figures are measured, and figures as valid JSON."""

from __future__ import annotations

import math
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import psutil

from machine.devices import cores

PACKAGES: Final = ("torch", "bentoml", "fastapi", "uvicorn", "litserve", "mosec", "ray", "flask")


def describe() -> str:
    """Return a line about the machine and the compared versions."""
    versions = ", ".join(f"{name} {_version(name)}" for name in PACKAGES)
    return f"{cores()} cores of {_processor()}, Python {platform.python_version()}, {versions}"


def busy_seconds() -> float:
    """Return the CPU seconds of all processes of this machine so far, and those taken by its hypervisor."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0))


def finite(content: Any) -> Any:
    """Return the content with None for NaN and infinity, which JSON does not have."""
    if isinstance(content, dict):
        return {name: finite(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "(not installed)"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
