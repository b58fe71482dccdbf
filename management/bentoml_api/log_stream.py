"""The logs of a deployment as they grow: those of one replica, or all that is written until a revision answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Final

from management.backends.preparation import EnvironmentPreparer
from management.bentoml_api.catalog import Catalog
from management.control.log_lines import fresh
from management.domain.records import Deployment, Replica
from management.errors import ModelNotFound

POLL_SECONDS: Final = 0.5
"""Seconds between two looks at a log."""
LINES: Final = 1000
"""Lines of each log that a look reads: more than is written between two looks."""

ReadLogs = Callable[[Deployment, list[Replica], int], Awaitable[dict[str, list[str]]]]
"""The last lines of each replica's log, by the replica's id."""
Look = tuple[Mapping[str, Sequence[str]], bool]
"""The end of each log by a name, and whether nothing more will come."""


class LogStream:
    """Reads logs again and again, and yields what is new."""

    def __init__(self, catalog: Catalog, read: ReadLogs, environments: EnvironmentPreparer) -> None:
        self._catalog, self._read, self._environments = catalog, read, environments

    async def of_replica(self, name: str, replica_id: str, last: int, *, follow: bool) -> AsyncIterator[list[str]]:
        """Yield the ``last`` lines of a replica's log, then those that follow, until it has ended."""

        async def look() -> Look:
            deployment, replicas, _ = await self._catalog.records(name)
            own = [replica for replica in replicas if replica.id == replica_id]
            return await self._logs(deployment, own), not follow or not any(each.state.alive for each in own)

        async for lines in _new_lines(look, last):
            yield lines

    async def of_start(self, name: str) -> AsyncIterator[list[str]]:
        """Yield what is written while the target's environment is made and its replicas start, until one is ready."""

        async def look() -> Look:
            deployment, replicas, _ = await self._catalog.records(name)
            target = deployment.target
            making = await self._environments.log(target.config.docker_image, LINES)
            own = [replica for replica in replicas if replica.revision.number == target.number]
            logs = {"": making, **await self._logs(deployment, own)}
            ended = deployment.is_stable or deployment.failed or not deployment.replicas or deployment.deletion
            return logs, bool(ended)

        async for lines in _new_lines(look, LINES):
            yield lines

    async def of_codespace(self, name: str, last: int) -> AsyncIterator[list[str]]:
        """Yield the ``last`` lines of each replica's log, and what the environments and replicas of all edits write."""

        async def look() -> Look:
            deployment, replicas, _ = await self._catalog.records(name)
            making = await self._environments.log(deployment.target.config.docker_image, LINES)
            return {"": making, **await self._logs(deployment, replicas)}, bool(deployment.deletion)

        async for lines in _new_lines(look, last):
            yield lines

    async def _logs(self, deployment: Deployment, replicas: list[Replica]) -> dict[str, Sequence[str]]:
        """The ends of the replicas' logs; of those whose files are gone, what was recorded of them."""
        found = await self._read(deployment, replicas, LINES) if replicas else {}
        return {each.id: found.get(each.id) or each.log_tail.splitlines() for each in replicas}


async def _new_lines(look: Callable[[], Awaitable[Look]], last: int) -> AsyncIterator[list[str]]:
    known: dict[str, Sequence[str]] = {}
    while True:
        try:
            logs, ended = await look()
        except ModelNotFound:
            return
        new: list[str] = []
        for name, lines in logs.items():
            before = known.get(name)
            new += fresh(before, lines) if before else lines[-last:] if last else ()
            if lines:
                known[name] = lines
        if new:
            yield new
        if ended:
            return
        await asyncio.sleep(POLL_SECONDS)
