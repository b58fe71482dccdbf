"""A deployment's status in the words of BentoML's client, whose waiting and exit status follow from them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from management.backends.preparation import EnvironmentState, Preparation
from management.bentoml_api.states import CloudStatus, cloud_status, codespace_status
from management.control.codespaces.codespaces import Edited
from management.domain.records import Deletion, Deployment, Replica, ReplicaState
from tests.doubles.management import deployment, replica, revision

READY, STARTING, DRAINING = ReplicaState.READY, ReplicaState.STARTING, ReplicaState.DRAINING
NEW = deployment()
STABLE = replace(NEW, last_stable=NEW.target)
UPDATED = replace(STABLE, target=revision(2), revision_counter=2)
ROLLING = replace(UPDATED, last_stable=UPDATED.target)
UNMADE = Preparation(EnvironmentState.FAILED, digest="d")


@pytest.mark.parametrize(
    ("record", "replicas", "preparation", "word"),
    [
        (NEW, [], None, "image-building"),
        (NEW, [replica(STARTING)], None, "image-building"),
        (NEW, [], Preparation(EnvironmentState.PREPARING, digest="d"), "image-building"),
        (replace(NEW, reason="exit 1"), [replica(ReplicaState.FAILED)], None, "image-building"),
        (replace(NEW, failed=True), [], None, "failed"),
        (replace(NEW, failed=True), [], UNMADE, "image-build-failed"),
        (STABLE, [replica(READY)], None, "running"),
        (STABLE, [replica(READY), replica(STARTING)], None, "running"),
        (STABLE, [replica(STARTING)], None, "deploying"),
        (replace(STABLE, reason="exit 1"), [replica(STARTING)], None, "unhealthy"),
        (UPDATED, [replica(READY)], None, "image-building"),
        (ROLLING, [replica(READY, 1), replica(READY, 2)], None, "deploying"),
        (ROLLING, [replica(DRAINING, 1), replica(READY, 2)], None, "running"),
        (replace(STABLE, rolled_back_from="2"), [replica(READY)], None, "unhealthy"),
        (replace(STABLE, replicas=0, scaled_to_zero=True), [], None, "scaled-to-zero"),
        (replace(STABLE, replicas=0), [replica(DRAINING)], None, "terminating"),
        (replace(STABLE, replicas=0), [], None, "terminated"),
        (replace(STABLE, deletion=Deletion.GRACEFUL), [replica(READY)], None, "terminating"),
    ],
)
def test_the_word_for_each_state(
    record: Deployment, replicas: list[Replica], preparation: Preparation | None, word: str
) -> None:
    assert cloud_status(record, replicas, preparation) == word


def test_every_word_is_one_of_the_clients() -> None:
    from bentoml._internal.cloud.schemas.modelschemas import DeploymentStatus

    assert {word.value for word in CloudStatus} <= {status.value for status in DeploymentStatus}


@pytest.mark.parametrize(
    ("status", "replicas", "waiting", "word"),
    [
        (CloudStatus.TERMINATED, [], True, "deploying"),
        (CloudStatus.TERMINATED, [], False, "terminated"),
        (CloudStatus.IMAGE_BUILDING, [replica(STARTING)], False, "deploying"),
        (CloudStatus.FAILED, [], False, "deploying"),
        (CloudStatus.IMAGE_BUILD_FAILED, [], False, "deploying"),
        (CloudStatus.UNHEALTHY, [replica(READY)], False, "running"),
        (CloudStatus.RUNNING, [replica(READY)], False, "running"),
        (CloudStatus.TERMINATING, [replica(DRAINING)], True, "terminating"),
    ],
)
def test_a_codespace_is_never_given_up(status: CloudStatus, replicas: list[Replica], waiting: bool, word: str) -> None:
    assert codespace_status(status, replicas, Edited({}, waiting)) == word
