"""What this machine is busy with: CPU, memory, disk and GPUs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import psutil

from web.answers import timestamp

GIB: Final = 1024**3
MIB: Final = 1024**2
FIRST_SECONDS: Final = 1.0
"""Over which the CPU is measured at the first look; later ones say what it did since the last."""


class Machine:
    """This one, which need not be the one that serves."""

    def __init__(self) -> None:
        self._looked = False

    def look(self) -> dict[str, Any]:
        """Percentages from 0 to 100, GiB, for GPUs MiB and degrees Celsius."""
        cpu_percent = psutil.cpu_percent(None if self._looked else FIRST_SECONDS)
        self._looked = True
        memory, disk = psutil.virtual_memory(), psutil.disk_usage("/")
        return {
            "timestamp": timestamp(),
            "cpu_percent": cpu_percent,
            "memory_percent": memory.percent,
            "memory_used_gb": round(memory.used / GIB, 3),
            "memory_total_gb": round(memory.total / GIB, 3),
            "disk_percent": disk.percent,
            "disk_used_gb": round(disk.used / GIB, 3),
            "gpu_metrics": gpus(),
        }


def gpus() -> list[dict[str, Any]]:
    """Each GPU, with None for what its driver does not tell; no GPU where there is no driver, or no nvidia-ml-py."""
    try:
        import pynvml
    except ImportError:
        return []
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        return [_gpu(pynvml, index) for index in range(pynvml.nvmlDeviceGetCount())]
    finally:
        pynvml.nvmlShutdown()


def _gpu(nvml: Any, index: int) -> dict[str, Any]:
    gpu = nvml.nvmlDeviceGetHandleByIndex(index)

    def told(ask: Callable[..., Any], *more: Any) -> Any:
        try:
            return ask(gpu, *more)
        except nvml.NVMLError:  # a part of a GPU has no load of its own, some have no memory of their own
            return None

    name, use, memory = (
        told(ask) for ask in (nvml.nvmlDeviceGetName, nvml.nvmlDeviceGetUtilizationRates, nvml.nvmlDeviceGetMemoryInfo)
    )
    return {
        "id": index,
        "name": name.decode() if isinstance(name, bytes) else name,
        "load": None if use is None else float(use.gpu),
        "memory_used": None if memory is None else round(memory.used / MIB, 1),
        "memory_total": None if memory is None else round(memory.total / MIB, 1),
        "temperature": told(nvml.nvmlDeviceGetTemperature, nvml.NVML_TEMPERATURE_GPU),
    }
