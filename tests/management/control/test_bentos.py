"""A Bento is in use while a deployment runs it, is to run it, or may fall back to it."""

from __future__ import annotations

from typing import Any

import pytest

from management.control.bentos import BentoUse, uses_of
from management.domain.bento_tag import Tag
from management.domain.records import ReplicaState
from tests.doubles.management import deployment, replica, revision

FIRST, SECOND = Tag("echo", "1.0.0"), Tag("echo", "2.0.0")


@pytest.mark.parametrize(
    ("changes", "replicas", "live"),
    [
        ({"target": revision(1)}, [], False),
        ({"target": revision(2), "last_stable": revision(1)}, [], False),
        ({"target": revision(1)}, [replica(ReplicaState.READY, 1)], True),
        ({"target": revision(1)}, [replica(ReplicaState.FAILED, 1)], False),
        ({"target": revision(2)}, [replica(ReplicaState.DRAINING, 1)], True),
        ({"target": revision(2)}, [replica(ReplicaState.FAILED, 1)], None),
        ({"target": revision(2)}, [], None),
        ({"target": revision(1, docker_image="not an image")}, [], None),
    ],
)
def test_a_bento_is_used_by_target_last_stable_and_live_replicas(
    changes: dict[str, Any], replicas: list[Any], live: bool | None
) -> None:
    users = [(deployment("hello", **changes), replicas), (deployment("other", target=revision(2)), [])]
    assert uses_of(FIRST, users) == (() if live is None else (BentoUse("hello", live),))
    assert BentoUse("other", is_live=False) in uses_of(SECOND, users)
