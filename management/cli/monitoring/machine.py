"""How busy this machine is: CPU, memory, disk and GPUs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import psutil

from web.answers import timestamp

GIB: Final = 1024**3
MIB: Final = 1024**2
FIRST_INTERVAL_SECONDS: Final = 1.0
"""Seconds of the first CPU measurement; later ones cover the time since the measurement before."""


class Machine:
    """The machine of this command, which may be another than the server's."""

    def __init__(self) -> None:
        self._measured = False

    def look(self) -> dict[str, Any]:
        """Measure: percentages from 0 to 100, GiB; MiB and degrees Celsius for GPUs."""
        cpu_percent = psutil.cpu_percent(None if self._measured else FIRST_INTERVAL_SECONDS)
        self._measured = True
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
    """Each GPU, with None for values its driver does not report; empty without a driver or without nvidia-ml-py."""
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

    def value(query: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return query(gpu, *arguments)
        except nvml.NVMLError:  # a MIG instance reports no load, and GPUs that share the system's memory no memory
            return None

    name, use, memory = (
        value(query)
        for query in (nvml.nvmlDeviceGetName, nvml.nvmlDeviceGetUtilizationRates, nvml.nvmlDeviceGetMemoryInfo)
    )
    return {
        "id": index,
        "name": name.decode() if isinstance(name, bytes) else name,
        "load": None if use is None else float(use.gpu),
        "memory_used": None if memory is None else round(memory.used / MIB, 1),
        "memory_total": None if memory is None else round(memory.total / MIB, 1),
        "temperature": value(nvml.nvmlDeviceGetTemperature, nvml.NVML_TEMPERATURE_GPU),
    }
