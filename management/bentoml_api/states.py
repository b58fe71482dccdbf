"""A deployment's status in the client's words, on which its waiting and its exit status depend."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from management.backends.preparation import EnvironmentState, Preparation
from management.control.codespaces.codespaces import Edited
from management.domain.records import Deployment, Replica, ReplicaState, Status, status_of


class CloudStatus(StrEnum):
    """The client's words."""

    IMAGE_BUILDING = "image-building"
    """The environment of a new revision is made, or its first replica loads it: the client shows the log of both."""
    IMAGE_BUILD_FAILED = "image-build-failed"
    """The environment could not be made."""
    DEPLOYING = "deploying"
    """A revision that is known to load is rolled out, or a model starts again."""
    RUNNING = "running"
    """What was asked for answers."""
    SCALED_TO_ZERO = "scaled-to-zero"
    """The next request starts it."""
    UNHEALTHY = "unhealthy"
    """No replica answers although one did, or an update failed and the revision before it serves on."""
    FAILED = "failed"
    """No replica became ready, and no further one is started."""
    TERMINATING = "terminating"
    """It is being stopped or deleted, and a replica still ends."""
    TERMINATED = "terminated"
    """It is stopped; an update or ``start`` starts it."""


_MENDED_BY_EDITS: Final = frozenset(
    {CloudStatus.IMAGE_BUILDING, CloudStatus.IMAGE_BUILD_FAILED, CloudStatus.UNHEALTHY, CloudStatus.FAILED}
)


def cloud_status(deployment: Deployment, replicas: Sequence[Replica], preparation: Preparation | None) -> CloudStatus:
    """Return the client's word for a deployment with these replicas, and this preparation of its target."""
    if deployment.deletion:
        return CloudStatus.TERMINATING
    if deployment.replicas == 0:
        return _stopped(deployment, replicas)
    if deployment.rolled_back_from:
        return CloudStatus.UNHEALTHY
    if not deployment.is_stable and not deployment.failed:
        return CloudStatus.IMAGE_BUILDING
    if status_of(deployment, replicas) is Status.FAILED or deployment.failed:
        is_unmade = preparation is not None and preparation.state is EnvironmentState.FAILED
        return CloudStatus.IMAGE_BUILD_FAILED if is_unmade else CloudStatus.FAILED
    return _started(deployment, replicas)


def _stopped(deployment: Deployment, replicas: Sequence[Replica]) -> CloudStatus:
    if deployment.scaled_to_zero:
        return CloudStatus.SCALED_TO_ZERO
    return CloudStatus.TERMINATING if any(replica.state.alive for replica in replicas) else CloudStatus.TERMINATED


def _started(deployment: Deployment, replicas: Sequence[Replica]) -> CloudStatus:
    """The word for a deployment whose target has had a ready replica."""
    alive = [replica for replica in replicas if replica.state.active]
    is_rolling = any(replica.revision.number != deployment.target.number for replica in alive)
    if any(replica.state is ReplicaState.READY for replica in alive):
        return CloudStatus.DEPLOYING if is_rolling else CloudStatus.RUNNING
    return CloudStatus.UNHEALTHY if deployment.reason else CloudStatus.DEPLOYING


def codespace_status(status: CloudStatus, replicas: Sequence[Replica], edited: Edited) -> CloudStatus:
    """Return the client's word for a codespace, whose client leaves one that failed: its next edit may mend that."""
    if edited.is_waiting and status is CloudStatus.TERMINATED:
        return CloudStatus.DEPLOYING
    if status not in _MENDED_BY_EDITS:
        return status
    serves = any(replica.state is ReplicaState.READY for replica in replicas)
    return CloudStatus.RUNNING if serves else CloudStatus.DEPLOYING
