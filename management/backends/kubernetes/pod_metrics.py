"""What Pods use, by the cluster's metrics server, where there is one.

The metrics server tells how many cores a container used on average over a window, and a launcher tells CPU seconds
since a start: each window adds what it stands for.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from management.backends.kubernetes.client import KubernetesApi, KubernetesRefused
from management.backends.kubernetes.manifest import REPLICA
from management.backends.launcher import ReplicaUsage
from management.domain import quantities

WINDOW_SECONDS: Final = 20.0
"""Seconds between two questions: a metrics server measures every 15 s, unless it is configured otherwise."""
ABSENT_SECONDS: Final = 60.0
"""Seconds after which a metrics server that was not there is asked for again."""
_FINE: Final = {"n": Decimal("1e-9"), "u": Decimal("1e-6")}
"""Units of CPU that a metrics server uses beside those of a deployment."""


@dataclass(frozen=True)
class _Counted:
    """CPU seconds of a replica up to the end of a window."""

    ended_at: datetime
    cpu_seconds: float


class PodMetrics:
    """The measurements of one control plane's Pods."""

    def __init__(self, api: KubernetesApi, selector: str) -> None:
        self._api, self._selector = api, selector
        self._counted: dict[str, _Counted] = {}
        self._absent_until = 0.0

    async def usage(self, replica_ids: Collection[str]) -> dict[str, ReplicaUsage]:
        """Return the usage of these replicas by id; those that were not measured yet are left out."""
        now = time.monotonic()
        if now < self._absent_until:
            return {}
        try:
            measured = await self._api.metrics(self._selector)
        except KubernetesRefused:  # there is no metrics server, or this control plane may not ask it
            self._absent_until = now + ABSENT_SECONDS
            return {}
        by_id = {item["metadata"]["labels"].get(REPLICA): item for item in measured if item.get("containers")}
        self._counted = {key: value for key, value in self._counted.items() if key in by_id}
        return {
            replica_id: self._usage(replica_id, by_id[replica_id]) for replica_id in replica_ids if replica_id in by_id
        }

    def _usage(self, replica_id: str, item: dict[str, Any]) -> ReplicaUsage:
        used = [container["usage"] for container in item["containers"]]
        cores = sum(_cores(container["cpu"]) for container in used)
        ended_at = datetime.fromisoformat(item["timestamp"])
        before = self._counted.get(replica_id)
        if before is None:
            counted = _Counted(ended_at, 0.0)
        else:
            seconds = max(0.0, (ended_at - before.ended_at).total_seconds())
            counted = _Counted(max(ended_at, before.ended_at), before.cpu_seconds + cores * seconds)
        self._counted[replica_id] = counted
        memory = sum(_bytes(container["memory"]) for container in used)
        return ReplicaUsage(counted.cpu_seconds, memory, counted.ended_at.timestamp())


def _cores(text: str) -> float:
    if text[-1:] in _FINE:
        return float(Decimal(text[:-1]) * _FINE[text[-1]])
    return quantities.cpu_millicores(text) / 1000 if text.strip("0") else 0.0


def _bytes(text: str) -> int:
    return quantities.memory_bytes(text) if text.strip("0") else 0
