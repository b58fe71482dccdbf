"""What the status of a Pod says of its replica, in words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from management.backends.kubernetes.pod_state import PodState
from management.backends.launcher import Observation, Phase

RUNNING: dict[str, Any] = {"running": {}}


def pod(phase: str, *, node: str = "node1", **status: Any) -> PodState:
    """A Pod of one container, with that status."""
    containers = [{"image": "a/b:1", "resources": {"limits": {"memory": str(2**26)}}}]
    return PodState(
        {
            "metadata": {"name": "atelier-1"},
            "spec": {"containers": containers, "nodeName": node},
            "status": {"phase": phase, **status},
        }
    )


def container(state: dict[str, Any], *, ready: bool = False) -> list[dict[str, Any]]:
    return [{"name": "replica", "state": state, "ready": ready}]


def terminated(code: int, **more: Any) -> dict[str, Any]:
    return {"containerStatuses": container({"terminated": {"exitCode": code, **more}})}


@pytest.mark.parametrize(
    ("status", "reason", "crashed"),
    [
        (terminated(1), "the container ended with exit status 1", True),
        (terminated(1, message="a\nKeyError: 'x'\n\n"), "the container ended with exit status 1: KeyError: 'x'", True),
        (terminated(0), "the container ended with exit status 0", True),
        (terminated(137), "the container was killed", False),
        (terminated(143), "the container was killed", False),
        (terminated(137, reason="OOMKilled"), "it was killed for using more than its 64Mi of memory", True),
        ({"reason": "Evicted", "message": "low on memory"}, "its node node1 evicted it: low on memory", False),
        ({"reason": "NodeLost"}, "its node node1 is lost: the cluster does not hear of it", False),
        ({"reason": "OutOfcpu", "message": "no cpu"}, "Kubernetes ended it (OutOfcpu): no cpu", False),
        ({}, "Kubernetes ended it: it gives no reason", False),
        ({"reason": "DeadlineExceeded", **terminated(137)}, "it was stopped", False),
    ],
)
def test_an_end_has_a_reason(status: dict[str, Any], reason: str, crashed: bool) -> None:
    assert pod("Failed", **status).verdict() == Observation(Phase.EXITED, reason=reason, crashed=crashed)


def test_secrets_that_are_not_handed_over_end_a_pod() -> None:
    failed = {"name": "secrets", "state": {"terminated": {"exitCode": 1, "message": "FileNotFoundError: secrets"}}}
    verdict = pod("Failed", initContainerStatuses=[failed], containerStatuses=container({"waiting": {}})).verdict()
    assert verdict is not None
    assert verdict.reason == "the container ended with exit status 1: FileNotFoundError: secrets"


@pytest.mark.parametrize(("seconds", "overdue"), [(-5, False), (20, False), (40, True)])
def test_a_deletion_is_overdue_half_a_minute_after_its_grace_period(seconds: float, overdue: bool) -> None:
    state = pod("Pending")
    assert not state.overdue
    state.pod["metadata"]["deletionTimestamp"] = (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()
    assert state.overdue is overdue


def test_a_running_container_is_asked_itself() -> None:
    assert pod("Running", podIP="10.1.2.3", containerStatuses=container(RUNNING)).verdict() is None
    assert pod("Running", podIP="10.1.2.3").address == "http://10.1.2.3:3000"
    assert pod("Running", podIP="fd00::7").address == "http://[fd00::7]:3000"


def test_a_running_container_without_an_address_starts() -> None:
    assert pod("Running", containerStatuses=container(RUNNING)).verdict() == Observation(Phase.STARTING)


@pytest.mark.parametrize(
    ("ready", "container_ready", "silent"),
    [("False", True, True), ("Unknown", True, True), ("True", True, False), ("False", False, False)],
)
def test_a_node_is_silent_where_its_controller_contradicts_its_kubelet(
    ready: str, container_ready: bool, silent: bool
) -> None:
    conditions = [{"type": "Ready", "status": ready}]
    state = pod("Running", conditions=conditions, containerStatuses=container(RUNNING, ready=container_ready))
    assert state.node_is_silent is silent
