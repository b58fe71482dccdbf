"""What Swarm's description of a task says of a replica; pure functions."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from management.backends.docker.container import KILLED_STATUSES, PORT, ended
from management.backends.launcher import Observation, Phase
from management.backends.swarm.cluster import ClusterView, Description, ReplicaService
from management.backends.swarm.service import is_stopped
from management.domain.quantities import shown_memory

RUNNING: Final = "running"
ENDED: Final = frozenset({"complete", "shutdown", "failed", "rejected", "remove", "orphaned"})
"""States of a task that runs no more and never will."""
ENDING: Final = frozenset({"shutdown", "remove"})
"""Desired states of a task that Swarm ends."""
EXIT_PREFIX: Final = "task: non-zero exit"
"""Beginning of an error that only repeats the exit status."""
TASK_SECONDS: Final = 30.0
"""Seconds in which Swarm makes the task of a new service."""


def observation(replica: ReplicaService, view: ClusterView) -> Observation | None:
    """Return the state of a replica by what Swarm knows; None where it runs, and must be asked itself."""
    if not replica.tasks:
        return _without_task(replica.service)
    task = replica.task
    node = view.nodes.get(task.get("NodeID") or "")
    state, stopped = task["Status"]["State"], is_stopped(replica.service)
    if state in ENDED:
        return ended_task(task, _name(node), stopped=stopped)
    if is_lost(task, view):
        message = (node or {}).get("Status", {}).get("Message") or "Swarm does not reach it"
        return Observation(Phase.EXITED, reason=f"its node {_name(node)} is lost: {message}")
    if task["DesiredState"] in ENDING:
        return Observation(Phase.UNRESPONSIVE if state == RUNNING else Phase.STARTING, leaving=not stopped)
    return None if state == RUNNING else Observation(Phase.STARTING, reason=task["Status"].get("Err") or "")


def _without_task(service: Description) -> Observation:
    if is_stopped(service):
        return Observation(Phase.EXITED)
    made_at = datetime.fromisoformat(service["CreatedAt"][:19]).replace(tzinfo=UTC)
    if (datetime.now(UTC) - made_at).total_seconds() < TASK_SECONDS:
        return Observation(Phase.STARTING)
    return Observation(Phase.EXITED, reason="Swarm keeps nothing of its task")


def ended_task(task: Description, node: str, *, stopped: bool = False) -> Observation:
    """Return the observation of a task that ended on that node; ``stopped``: because it was to be stopped."""
    status = task["Status"]
    error = status.get("Err") or ""
    match status["State"]:
        case "rejected":
            return Observation(Phase.EXITED, reason=f"node {node} cannot start it: {error}", crashed=True)
        case "failed" if error and not error.startswith(EXIT_PREFIX):
            return Observation(Phase.EXITED, reason=f"it failed on node {node}: {error}", crashed=True)
        case "failed" | "complete":
            return _exited(task, node)
        case "orphaned":
            return Observation(Phase.EXITED, reason=f"its node {node} is lost")
        case _:
            return Observation(Phase.EXITED, reason="" if stopped else f"Swarm ended it on node {node}")


def _exited(task: Description, node: str) -> Observation:
    code = exit_code(task)
    if code in KILLED_STATUSES:
        limit = shown_memory(memory_of(task))
        return Observation(
            Phase.EXITED,
            reason=f"the container was killed on node {node}, by hand or for using more than its {limit} of memory",
        )
    return ended({"ExitCode": code}, memory_of(task))


def exit_code(task: Description) -> int:
    """Return the exit status of a task's container; 0 for a task without one."""
    return int((task["Status"].get("ContainerStatus") or {}).get("ExitCode") or 0)


def memory_of(task: Description) -> int:
    """Return the bytes of memory that a task may use; 0 without a limit."""
    return int((task["Spec"].get("Resources") or {}).get("Limits", {}).get("MemoryBytes") or 0)


def container_of(task: Description) -> str:
    """Return the id of a task's container; empty while it has none."""
    return str((task["Status"].get("ContainerStatus") or {}).get("ContainerID") or "")


def is_live(task: Description, view: ClusterView) -> bool:
    """Return whether processes of the task run or may come to run, as far as Swarm knows."""
    return task["Status"]["State"] not in ENDED and not is_lost(task, view)


def is_lost(task: Description, view: ClusterView) -> bool:
    """Return whether Swarm has given up the node that the task is on."""
    if not task.get("NodeID"):
        return False
    node = view.nodes.get(task["NodeID"])
    return node is None or node["Status"]["State"] == "down"


def address(task: Description, view: ClusterView, network: str) -> str | None:
    """Return the URL of a running task: its address in the network, or the port that it publishes on its node.

    None while Swarm does not say it.
    """
    for attached in task.get("NetworksAttachments") or ():
        if attached["Network"]["Spec"]["Name"] == network and attached.get("Addresses"):
            return f"http://{_host(attached['Addresses'][0].partition('/')[0])}:{PORT}"
    published = (task["Status"].get("PortStatus") or {}).get("Ports") or ()
    node = view.nodes.get(task.get("NodeID") or "")
    port = next((port["PublishedPort"] for port in published if port["TargetPort"] == PORT), None)
    return None if node is None or port is None else f"http://{_host(node_address(node))}:{port}"


def node_address(node: Mapping[str, Any]) -> str:
    """Return the address of a node; a manager may say 0.0.0.0 there, and its own one elsewhere."""
    address = str(node["Status"].get("Addr") or "")
    if address in ("", "0.0.0.0") and "ManagerStatus" in node:  # noqa: S104 - what Swarm says
        address = str(node["ManagerStatus"]["Addr"]).rpartition(":")[0].strip("[]")
    return address


def _host(address: str) -> str:
    return f"[{address}]" if ipaddress.ip_address(address).version == 6 else address


def _name(node: Description | None) -> str:
    return "(removed)" if node is None else str(node["Description"]["Hostname"])
