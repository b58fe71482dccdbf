"""What Swarm says of a task, and what that means for a replica; no swarm is needed to know."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from management.backends.launcher import Observation, Phase
from management.backends.swarm import tasks
from management.backends.swarm.cluster import ClusterView, ReplicaService
from management.backends.swarm.service import STOPPED

NODES: dict[str, Any] = {
    "n1": {
        "Description": {"Hostname": "one"},
        "Status": {"State": "ready", "Addr": "0.0.0.0"},
        "ManagerStatus": {"Addr": "10.0.0.1:2377"},
    },
    "n2": {
        "Description": {"Hostname": "two"},
        "Status": {"State": "down", "Message": "heartbeat failure", "Addr": "10.0.0.2"},
    },
    "n3": {"Description": {"Hostname": "three"}, "Status": {"State": "ready", "Addr": "fd00::3"}},
}
VIEW = ClusterView({}, NODES)


def task(state: str, node: str = "n1", desired: str = "running", **status: Any) -> dict[str, Any]:
    return {
        "NodeID": node,
        "DesiredState": desired,
        "Status": {"State": state, **status},
        "Spec": {"Resources": {"Limits": {"MemoryBytes": 2**25}}},
    }


def seen(one: dict[str, Any] | None, *, stopped: bool = False, made: str = "2026-01-01T00:00:00.5Z") -> Any:
    labels = {STOPPED: "true"} if stopped else {}
    service = {"CreatedAt": made, "Spec": {"Labels": labels}}
    return tasks.observation(ReplicaService(service, [] if one is None else [one]), VIEW)


def exited(reason: str, *, crashed: bool = False) -> Observation:
    return Observation(Phase.EXITED, reason=reason, crashed=crashed)


def code(number: int) -> dict[str, Any]:
    return {"Err": f"task: non-zero exit ({number})", "ContainerStatus": {"ExitCode": number}}


KILLED = "the container was killed on node one, by hand or for using more than its 32Mi of memory"


@pytest.mark.parametrize(
    ("one", "look"),
    [
        (
            task("pending", "", Err="no suitable node (insufficient resources on 2 nodes)"),
            Observation(Phase.STARTING, reason="no suitable node (insufficient resources on 2 nodes)"),
        ),
        (task("preparing"), Observation(Phase.STARTING)),
        (task("running"), None),
        (task("running", desired="shutdown"), Observation(Phase.UNRESPONSIVE, leaving=True)),
        (task("starting", desired="shutdown"), Observation(Phase.STARTING, leaving=True)),
        (task("running", "n2"), exited("its node two is lost: heartbeat failure")),
        (task("running", "n9"), exited("its node (removed) is lost: Swarm does not reach it")),
        (task("rejected", Err="No such image: x"), exited("node one cannot start it: No such image: x", crashed=True)),
        (task("failed", Err="no such user"), exited("it failed on node one: no such user", crashed=True)),
        (task("failed", **code(3)), exited("the container ended with exit status 3", crashed=True)),
        (task("failed", **code(137)), exited(KILLED)),
        (task("complete"), exited("the container ended with exit status 0", crashed=True)),
        (task("shutdown", desired="shutdown"), exited("Swarm ended it on node one")),
        (task("orphaned", "n2"), exited("its node two is lost")),
        (None, exited("Swarm keeps nothing of its task")),
    ],
)
def test_each_state_of_a_task_is_one_of_a_replica(one: dict[str, Any] | None, look: Observation | None) -> None:
    assert seen(one) == look


def test_the_end_of_a_stopped_replica_needs_no_reason() -> None:
    assert seen(task("shutdown", desired="shutdown"), stopped=True) == exited("")
    assert seen(task("running", desired="shutdown"), stopped=True) == Observation(Phase.UNRESPONSIVE)
    assert seen(None, stopped=True) == exited("")


def test_a_service_that_was_just_made_waits_for_its_task() -> None:
    assert seen(None, made=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}.1Z") == Observation(Phase.STARTING)


def attached(network: str, address: str) -> dict[str, Any]:
    return {"Network": {"Spec": {"Name": network}}, "Addresses": [f"{address}/24"]}


@pytest.mark.parametrize(
    ("node", "more", "address"),
    [
        ("n1", {"NetworksAttachments": [attached("other", "10.9.0.1"), attached("own", "10.1.0.7")]}, "10.1.0.7:3000"),
        ("n1", {"PortStatus": {"Ports": [{"TargetPort": 3000, "PublishedPort": 32768}]}}, "10.0.0.1:32768"),
        ("n3", {"PortStatus": {"Ports": [{"TargetPort": 3000, "PublishedPort": 32769}]}}, "[fd00::3]:32769"),
    ],
)
def test_a_replica_is_called_in_its_network_or_at_a_port_of_its_node(
    node: str, more: dict[str, Any], address: str
) -> None:
    attachments = more.pop("NetworksAttachments", None)
    assert tasks.address({**task("running", node, **more), "NetworksAttachments": attachments}, VIEW, "own") == (
        f"http://{address}"
    )


def test_a_replica_without_a_port_has_no_address_yet() -> None:
    assert tasks.address(task("running"), VIEW, "own") is None


def test_a_task_is_live_until_it_ended_or_its_node_is_lost() -> None:
    live = [task("pending", ""), task("running"), task("running", desired="shutdown")]
    assert all(tasks.is_live(each, VIEW) for each in live)
    assert not any(tasks.is_live(each, VIEW) for each in (task("shutdown"), task("failed"), task("running", "n2")))
