"""What a container uses, by the measurements of its engine."""

from __future__ import annotations

from management.backends.docker.client import DockerEngine, DockerRefused
from management.backends.launcher import ReplicaUsage
from management.errors import BackendUnavailable


async def container_usage(engine: DockerEngine, container: str) -> ReplicaUsage | None:
    """Return what the container uses; None where it has ended or the engine does not answer."""
    try:
        stats = await engine.call(lambda client: client.stats(container, stream=False, one_shot=True))
    except (DockerRefused, BackendUnavailable):
        return None
    memory = stats.get("memory_stats") or {}
    if "usage" not in memory:  # the container ended
        return None
    details = memory.get("stats") or {}
    cached = details.get("total_inactive_file", details.get("inactive_file", 0))
    return ReplicaUsage(stats["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9, max(0, memory["usage"] - cached))
