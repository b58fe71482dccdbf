"""What a replica's container is made of, and what is to be read from its end."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from typing import Any, Final

from management.backends.base import Launch, Observation, Phase
from management.backends.replica.environment import device
from management.domain.quantities import shown_memory
from management.settings import Settings

PORT: Final = 3000
"""Inside the container."""
LEAST_MILLICORES: Final = 10
"""That an engine gives."""
LOG_PARTS: Final = 2
KILLED: Final = (137, 143)
"""Exit statuses of who was ended by SIGKILL or SIGTERM."""


def limits(launch: Launch, cores: int, settings: Settings) -> dict[str, Any]:
    """The part of its configuration that the host cares about; ``cores`` are the machine's, more cannot be given."""
    resources = launch.resources
    gpus = [{"DeviceIDs": [device(one) for one in launch.gpus], "Capabilities": [["gpu"]]}] if launch.gpus else None
    millicores = max(LEAST_MILLICORES, min(resources.cpu_millicores, cores * 1000))
    return {
        "network_mode": settings.docker_network,
        "port_bindings": {PORT: ("127.0.0.1", None)},
        "nano_cpus": millicores * 1_000_000,
        "mem_limit": resources.memory_bytes,
        "memswap_limit": resources.memory_bytes,
        "pids_limit": settings.docker_pids,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "init": True,  # reaps what a replica leaves, and passes signals on
        "device_requests": gpus,
        "log_config": {
            "Type": "json-file",
            "Config": {"max-size": str(settings.log_bytes // LOG_PARTS), "max-file": str(LOG_PARTS)},
        },
    }


def archive(folder: str, files: Mapping[str, bytes]) -> bytes:
    """A folder of files that anybody in the container may read, and nobody but root may change."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        top = tarfile.TarInfo(folder)
        top.type, top.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(top)
        for name, content in files.items():
            file = tarfile.TarInfo(f"{folder}/{name}")
            file.size, file.mode = len(content), 0o444
            tar.addfile(file, io.BytesIO(content))
    return made.getvalue()


def ended(state: dict[str, Any], memory_bytes: int) -> Observation:
    """A look at one that does not run; ``state`` is the engine's."""
    code = int(state["ExitCode"])
    if state.get("OOMKilled"):
        limit = shown_memory(memory_bytes)
        return Observation(
            Phase.EXITED, reason=f"it was killed for using more than its {limit} of memory", crashed=True
        )
    if code in KILLED:
        return Observation(Phase.EXITED, reason="the container was killed")
    return Observation(Phase.EXITED, reason=f"the container ended with exit status {code}", crashed=True)
