"""The configuration of a replica's container, the files in it, and the reason of its end."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from management.backends.docker.settings import DockerSettings
from management.backends.launcher import Launch, Observation, Phase
from management.backends.replica.environment import device
from management.backends.replica.files import ARBITER, FORWARDER
from management.domain.quantities import shown_memory

FOLDER: Final = "atelier"
"""Folder in the container's root with the replica host and its arguments."""
INSTANCE: Final = "atelier.instance"
"""Label with the id of the control plane."""
REPLICA: Final = "atelier.replica"
"""Label with the replica's id."""
MODEL: Final = "atelier.model"
"""Label with the model's id."""
PORT: Final = 3000
"""Port inside the container."""
MIN_MILLICORES: Final = 10
"""Thousandths of a core: the smallest share that an engine grants."""
LOG_DRIVER: Final = "json-file"
LOG_PARTS: Final = 2
"""Files that a container's log is kept in."""
NOTHING: Final[Mapping[str, bytes]] = MappingProxyType({})
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
        "log_config": {"Type": LOG_DRIVER, "Config": log_options(log_bytes)},
    }


def log_options(log_bytes: int) -> dict[str, str]:
    """Return the options of ``LOG_DRIVER`` by which it keeps so many bytes of a log's end."""
    return {"max-size": str(log_bytes // LOG_PARTS), "max-file": str(LOG_PARTS)}


def arguments(bento: str, stop_seconds: float) -> dict[str, Any]:
    """Return what ``launch.json`` has for the Bento at that path of an image."""
    return {
        "bento": bento,
        "arbiter": f"/{FOLDER}/{ARBITER.name}",
        "forwarder": f"/{FOLDER}/{FORWARDER.name}",
        "port": PORT,
        "stop_seconds": stop_seconds,
    }


def archive(folder: str, files: Mapping[str, bytes], private: Mapping[str, bytes] = NOTHING, owner: int = 0) -> bytes:
    """Return a tar archive of a folder whose files every user may read and only root may change.

    The ``private`` files, only the user of the id ``owner`` may read and change.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        top = tarfile.TarInfo(folder)
        top.type, top.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(top)
        for name, content in files.items():
            _add(tar, f"{folder}/{name}", content, 0o444)
        for name, content in private.items():
            _add(tar, f"{folder}/{name}", content, 0o600, owner)
    return buffer.getvalue()


def _add(tar: tarfile.TarFile, name: str, content: bytes, mode: int, owner: int = 0) -> None:
    file = tarfile.TarInfo(name)
    file.size, file.mode, file.uid = len(content), mode, owner
    tar.addfile(file, io.BytesIO(content))


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
