"""The environments that deployments wait for, as one supervisor sees them, and the events of their making."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from management.backends.preparation import (
    READY_AT_ONCE,
    EnvironmentPreparer,
    EnvironmentState,
    ImageIsEnvironment,
    Preparation,
)
from management.control.journal import Journal
from management.control.replicas.plan import needs_start
from management.domain.records import Deployment, Replica, Revision


class Preparations:
    """Asks for environments before replicas start in them."""

    def __init__(self, preparer: EnvironmentPreparer | None, journal: Journal) -> None:
        """Without a preparer, every image is its environment."""
        self._preparer, self._journal = preparer or ImageIsEnvironment(), journal
        self._awaited: dict[str, str] = {}
        """Digest of the environment that each deployment waits for, by the deployment's id."""

    async def for_starts(self, deployment: Deployment, replicas: Sequence[Replica], attempts: int) -> Preparation:
        """The preparation of the target revision's environment, which begins unless it has an outcome.

        READY where no replica is about to start. ``attempts`` is as in ``plan``. Raises StoreUnavailable.
        """
        if not needs_start(deployment, replicas, now=self._journal.clock.unix(), attempts=attempts):
            return READY_AT_ONCE
        since = max(deployment.updated_at.timestamp(), deployment.retry_at or 0.0)
        preparation = await self._preparer.prepare(deployment.target.config.docker_image, since)
        await self._record(deployment, preparation)
        return preparation

    async def is_ready(self, revision: Revision) -> bool:
        """Whether replicas of a revision that served before can start."""
        preparation = await self._preparer.prepare(revision.config.docker_image, 0.0)
        return preparation.state is EnvironmentState.READY

    async def retain(self, deployments: Sequence[Deployment], replicas: Sequence[Replica]) -> None:
        """Has environments that none of these uses removed, as far as their space is needed."""
        revisions = [
            *(deployment.target for deployment in deployments),
            *(deployment.last_stable for deployment in deployments if deployment.last_stable),
            *(replica.revision for replica in replicas if replica.state.alive),
        ]
        await self._preparer.retain({revision.config.docker_image for revision in revisions})

    async def close(self) -> None:
        """Ends what is being made."""
        await self._preparer.close()

    async def _record(self, deployment: Deployment, preparation: Preparation) -> None:
        """Records the begin of a making, and its success; a failure is recorded with the change of the deployment."""
        awaited = self._awaited.get(deployment.id)
        if preparation.state is EnvironmentState.PREPARING:
            if awaited != preparation.digest:
                self._awaited[deployment.id] = preparation.digest
                await self._journal.add_event(deployment, "environment_preparing", _details(deployment, preparation))
            return
        self._awaited.pop(deployment.id, None)
        if awaited == preparation.digest and preparation.state is EnvironmentState.READY:
            outcome = {"seconds": preparation.seconds, "bytes": preparation.size_bytes}
            await self._journal.add_event(
                deployment, "environment_ready", {**_details(deployment, preparation), **outcome}
            )


def _details(deployment: Deployment, preparation: Preparation) -> Mapping[str, Any]:
    version = deployment.target.config.version
    return {"version": version, "digest": preparation.digest, "python": preparation.python}
