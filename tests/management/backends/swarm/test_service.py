"""What Swarm is asked for, and how much its nodes have together; no swarm is needed to know."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from management.backends.swarm.backend import resources
from management.backends.swarm.service import (
    NOWHERE,
    MountedFile,
    ServicePlan,
    endpoint,
    is_placeholder,
    stopped_template,
    task_template,
)
from management.backends.swarm.settings import SwarmSettings
from management.domain.records import Resources
from management.settings import ReplicaSettings
from tests.doubles.launchers import launch

PLAN = ServicePlan(
    "sha256:1",
    [MountedFile("c1", "atelier-i-1", "host.py")],
    [MountedFile("s1", "atelier-r-token", "token", 1034, 0o400)],
    overcommit=4,
)
REPLICAS = ReplicaSettings(stop_seconds=2.5, log_bytes=8192)


def template(
    settings: SwarmSettings | None = None, version: tuple[int, ...] = (1, 41), **changes: Any
) -> dict[str, Any]:
    wanted = replace(launch(), **{"resources": Resources(1500, 2**28, 0), **changes})
    return task_template(wanted, PLAN, settings or SwarmSettings(), REPLICAS, version)


def test_a_replica_is_limited_to_what_it_asked_for_and_a_part_of_it_is_reserved() -> None:
    asked = template()["Resources"]
    assert asked["Limits"] == {"NanoCPUs": 1_500_000_000, "MemoryBytes": 2**28, "Pids": 512}
    assert asked["Reservations"] == {"NanoCPUs": 375_000_000, "MemoryBytes": 2**26, "GenericResources": []}


def test_a_gpu_is_a_generic_resource_that_nodes_declare() -> None:
    asked = template(SwarmSettings(gpu_resource="gpu"), gpus=(0, 1))["Resources"]["Reservations"]
    assert asked["GenericResources"] == [{"DiscreteResourceSpec": {"Kind": "gpu", "Value": 2}}]


def test_a_task_is_started_once_with_no_more_rights_than_it_needs() -> None:
    made = template()
    container = made["ContainerSpec"]
    assert made["RestartPolicy"]["Condition"] == "none"
    assert (container["CapabilityDrop"], container["Init"], container["StopGracePeriod"]) == (
        ["ALL"],
        True,
        2_500_000_000,
    )
    assert "Privileges" not in container, "the engine does not know it"
    assert template(version=(1, 44))["ContainerSpec"]["Privileges"] == {"NoNewPrivileges": True}
    assert made["LogDriver"] == {"Name": "json-file", "Options": {"max-size": "4096", "max-file": "2"}}


def test_its_files_are_readable_by_its_user_alone_where_they_are_secret() -> None:
    container = template()["ContainerSpec"]
    assert [(file["File"]["Name"], file["File"]["Mode"]) for file in container["Configs"]] == [
        ("/atelier/host.py", 0o444)
    ]
    assert [(file["File"]["Name"], file["File"]["UID"], file["File"]["Mode"]) for file in container["Secrets"]] == [
        ("/atelier/token", "1034", 0o400)
    ]


def test_a_replica_is_called_in_its_network_or_publishes_a_port() -> None:
    inside, outside = SwarmSettings(network="own"), SwarmSettings(address="host")
    assert (template(inside)["Networks"], endpoint(inside)) == ([{"Target": "own"}], {"Mode": "dnsrr"})
    assert "Networks" not in template(outside)
    assert [port["PublishMode"] for port in endpoint(outside)["Ports"]] == ["host"]


def test_what_takes_the_place_of_a_stopped_task_needs_nothing_and_runs_nowhere() -> None:
    before = template(SwarmSettings(constraints=("node.role==worker",)))
    after = stopped_template(before)
    assert (is_placeholder({"Spec": before}), is_placeholder({"Spec": after})) == (False, True)
    assert after["Placement"] == {"Constraints": [NOWHERE]}
    assert not {"Configs", "Secrets"} & set(after["ContainerSpec"])
    assert after["Resources"] == {}


@pytest.mark.parametrize("wrong", ["role", "node.role=worker", "role==worker", "node.role== "])
def test_what_is_no_constraint_is_refused(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATELIER_SWARM_CONSTRAINTS", f"node.labels.a==b,{wrong}")
    with pytest.raises(ValidationError, match=r"such as node\.labels\.gpu==true"):
        SwarmSettings()


def test_placement_comes_from_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATELIER_SWARM_CONSTRAINTS", "node.role==worker, node.labels.zone!=b")
    monkeypatch.setenv("ATELIER_SWARM_SPREAD", "node.labels.zone")
    assert template()["Placement"] == {
        "Constraints": ["node.role==worker", "node.labels.zone!=b"],
        "Preferences": [{"Spread": {"SpreadDescriptor": "node.labels.zone"}}],
    }


def node(state: str, availability: str, *generic: dict[str, Any]) -> dict[str, Any]:
    own = {"NanoCPUs": 2_000_000_000, "MemoryBytes": 2**30, "GenericResources": list(generic)}
    return {"Status": {"State": state}, "Spec": {"Availability": availability}, "Description": {"Resources": own}}


def test_the_capacity_is_that_of_the_nodes_that_are_in_use() -> None:
    counted = {"DiscreteResourceSpec": {"Kind": "gpu", "Value": 2}}
    named = {"NamedResourceSpec": {"Kind": "gpu", "Value": "GPU-1"}}
    other = {"DiscreteResourceSpec": {"Kind": "fpga", "Value": 5}}
    nodes = [node("ready", "active", counted, named, other), node("ready", "active"), node("down", "active", counted)]
    assert resources([*nodes, node("ready", "drain", counted)], "gpu") == Resources(4000, 2**31, 3)
