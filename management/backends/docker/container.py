"""The configuration of a replica's container, the files in it, and the reason of its end."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from typing import Any, Final

from management.backends.docker.settings import DockerSettings
from management.backends.launcher import Launch, Observation, Phase
from management.backends.replica.environment import device
from management.domain.quantities import shown_memory

PORT: Final = 3000
"""Port inside the container."""
MIN_MILLICORES: Final = 10
"""Thousandths of a core: the smallest share that an engine grants."""
LOG_PARTS: Final = 2
"""Files that a container's log is kept in."""
KILLED_STATUSES: Final = (137, 143)
"""Exit statuses of a process that SIGKILL or SIGTERM ended."""


def limits(launch: Launch, cores: int, settings: DockerSettings, log_bytes: int) -> dict[str, Any]:
    """Return the container's limits on the host; its CPU limit is at most the machine's ``cores``."""
    resources = launch.resources
    gpus = [{"DeviceIDs": [device(gpu) for gpu in launch.gpus], "Capabilities": [["gpu"]]}] if launch.gpus else None
    millicores = max(MIN_MILLICORES, min(resources.cpu_millicores, cores * 1000))
    return {
        "network_mode": settings.network,
        "port_bindings": {PORT: ("127.0.0.1", None)},
        "nano_cpus": millicores * 1_000_000,
        "mem_limit": resources.memory_bytes,
        "memswap_limit": resources.memory_bytes,
        "pids_limit": settings.pids,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "init": True,  # reaps orphaned processes and forwards signals
        "device_requests": gpus,
        "log_config": {
            "Type": "json-file",
            "Config": {"max-size": str(log_bytes // LOG_PARTS), "max-file": str(LOG_PARTS)},
        },
    }


def archive(folder: str, files: Mapping[str, bytes]) -> bytes:
    """Return a tar archive of a folder whose files every user may read and only root may change."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        top = tarfile.TarInfo(folder)
        top.type, top.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(top)
        for name, content in files.items():
            file = tarfile.TarInfo(f"{folder}/{name}")
            file.size, file.mode = len(content), 0o444
            tar.addfile(file, io.BytesIO(content))
    return buffer.getvalue()


def ended(state: dict[str, Any], memory_bytes: int) -> Observation:
    """Return the observation of a container that does not run; ``state`` is the engine's description."""
    code = int(state["ExitCode"])
    if state.get("OOMKilled"):
        limit = shown_memory(memory_bytes)
        return Observation(
            Phase.EXITED, reason=f"it was killed for using more than its {limit} of memory", crashed=True
        )
    if code in KILLED_STATUSES:
        return Observation(Phase.EXITED, reason="the container was killed")
    return Observation(Phase.EXITED, reason=f"the container ended with exit status {code}", crashed=True)
