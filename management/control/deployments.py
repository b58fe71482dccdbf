"""What the API calls: checks what may be deployed, commits changes, and waits for their outcome."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final, TypeVar

from management.backends.launcher import ImageRefused, Images
from management.backends.preparation import EnvironmentPreparer, ImageIsEnvironment
from management.control.change_feed import ChangeFeed
from management.domain.bento import Bento
from management.domain.records import Deployment, Replica, ReplicaState
from management.errors import BackendUnavailable, DeploymentFailed, InvalidModelConfig, Problem, StoreUnavailable
from management.faults import failpoints
from management.store import Session, Store

IMAGE_FIELD: Final = "config.docker_image"
"""The field of a problem with an image."""
API_FIELD: Final = "config.default_api"
"""The field of a problem with the API that requests mean."""
MAKING_LINES: Final = 20
"""Last lines of the log of an environment that could not be made, in the error."""

T = TypeVar("T")
MakeSpace = Callable[[str], AsyncIterator[None]]
"""Frees space on a full disk to delete a model: yields after each step that freed some."""


class Deployments:
    """Checks images, commits changes of the desired state, and waits for their outcome."""

    def __init__(  # noqa: PLR0913, PLR0917 - its parts
        self,
        store: Store,
        images: Images,
        feed: ChangeFeed,
        wake: Callable[[], None],
        make_space: MakeSpace,
        environments: EnvironmentPreparer | None = None,
    ) -> None:
        """``wake`` starts the leader's next turn."""
        self._environments = environments or ImageIsEnvironment()
        self._store, self._images, self._feed = store, images, feed
        self._wake, self._make_space = wake, make_space

    async def check_image(self, image: str) -> None:
        """Raises InvalidModelConfig for an image that the backend cannot run, and BackendUnavailable."""
        try:
            await self._images.check(image)
            await self._environments.check(image)
        except ImageRefused as refused:
            error = InvalidModelConfig(Problem(IMAGE_FIELD, refused.kind, refused.values))
            if refused.log:
                error.details["log"] = list(refused.log)
            raise error from None

    async def check_api(self, image: str, api: str | None) -> None:
        """Raises InvalidModelConfig, which lists the APIs, where the image's Bento has none of this name."""
        bento = await self._images.describe(image) if api else None
        if bento is not None and bento.api(api or "") is None:
            raise InvalidModelConfig(Problem(API_FIELD, "api_unknown", {"expected": bento.signatures}))

    async def check_api_for(self, model_id: str, image: str | None, api: str | None) -> None:
        """Raises InvalidModelConfig where a change leaves a model with an API that its Bento does not have."""
        deployment = await self._store.read(lambda session: session.deployments.get(model_id))
        if deployment is not None and (image is not None or api):
            config = deployment.target.config
            await self.check_api(image or config.docker_image, config.default_api if api is None else api)

    async def bento(self, image: str) -> Bento | None:
        """Returns the Bento in an image; None where its files are not known now."""
        with suppress(BackendUnavailable):
            return await self._images.describe(image)
        return None

    async def check_image_for(self, model_id: str, image: str) -> None:
        """Also raises InvalidModelConfig where the image holds another type of model than the one deployed."""
        await self.check_image(image)
        deployment = await self._store.read(lambda session: session.deployments.get(model_id))
        if deployment is None or deployment.target.config.docker_image == image:
            return
        given = await self._images.model_type(image)
        deployed = await self._images.model_type(deployment.target.config.docker_image) if given else None
        if deployed and given != deployed:
            raise InvalidModelConfig(Problem(IMAGE_FIELD, "bento_kind", {"found": given, "wanted": deployed}))

    async def commit(self, change: Callable[[Session], T], *, deleting: str | None = None) -> T:
        """Runs the change in one transaction, then wakes the leader.

        Where a full disk refuses the deletion of the model ``deleting``, tries again after each step that freed space.
        """
        result = await self._write(change, deleting)
        failpoints.reach("change.committed")
        self._wake()
        return result

    async def _write(self, change: Callable[[Session], T], deleting: str | None) -> T:
        try:
            return await self._store.write(change)
        except StoreUnavailable:
            if deleting is None:
                raise
            async for _ in self._make_space(deleting):
                with suppress(StoreUnavailable):
                    return await self._store.write(change)
            raise

    async def reached(self, desired: Deployment, seconds: float) -> int | None:
        """Waits until the deployment runs as desired; returns its replicas, or None when the time is up first.

        Raises DeploymentFailed.
        """
        return await self._until(lambda: self._progress(desired), seconds)

    async def deleted(self, deployment: Deployment, seconds: float) -> bool:
        """Waits until the deployment is removed; False when the time is up first."""
        return await self._until(lambda: self._gone(deployment), seconds) is not None

    async def _until(self, check: Callable[[], Awaitable[T | None]], seconds: float) -> T | None:
        result: T | None = None
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while result is None:
                    change = self._feed.next_change()  # before the check, so that no change after it is missed
                    result = await check()
                    if result is None:
                        await asyncio.shield(change)
        await self._feed.refresh()  # a caller who learns of the outcome can use the model at once
        return result

    async def _read(self, deployment: Deployment) -> tuple[Deployment | None, list[Replica]]:
        def read(session: Session) -> tuple[Deployment | None, list[Replica]]:
            return session.deployments.get(deployment.model_id), session.replicas.of([deployment.id])

        current, replicas = await self._store.read(read)
        return (current if current is not None and current.id == deployment.id else None), replicas

    async def _progress(self, desired: Deployment) -> int | None:
        current, replicas = await self._read(desired)
        if current is None:
            raise DeploymentFailed({"model_id": desired.model_id, "reason": "deleted", "log": []})
        if current.failed or current.target.number < desired.target.number:
            making = await self._environments.log(desired.target.config.docker_image, MAKING_LINES)
            raise _failure(current, desired, replicas, making)
        return active_count(replicas) if _runs_as_desired(current, replicas) else None

    async def _gone(self, deployment: Deployment) -> bool | None:
        current, _ = await self._read(deployment)
        return True if current is None else None


def active_count(replicas: Sequence[Replica]) -> int:
    """How many replicas serve or are starting; draining ones do not count."""
    return sum(replica.state.active for replica in replicas)


def _runs_as_desired(deployment: Deployment, replicas: Sequence[Replica]) -> bool:
    """Whether exactly the desired number of replicas serves, all of the desired revision."""
    active = [replica for replica in replicas if replica.state.active]
    current = [replica for replica in active if replica.revision.number == deployment.target.number]
    ready = [replica for replica in current if replica.state is ReplicaState.READY]
    return len(ready) == len(active) == deployment.replicas


def _failure(
    current: Deployment, desired: Deployment, replicas: Sequence[Replica], making: Sequence[str]
) -> DeploymentFailed:
    """The failure with the last lines of the failed replica's log, or, where none started, of its environment's."""
    number = desired.target.number
    failed = [
        replica for replica in replicas if replica.state is ReplicaState.FAILED and replica.revision.number == number
    ]
    return DeploymentFailed(
        {
            "model_id": desired.model_id,
            "reason": current.reason or current.rollback_reason,
            "log": failed[-1].log_tail.splitlines() if failed else list(making),
            "serving": current.target.config.version if current.target.number != number else None,
        }
    )
