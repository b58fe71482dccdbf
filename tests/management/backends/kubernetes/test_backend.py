"""The backend's settings, images and capacity."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from management.backends.backend import Backend
from management.backends.kubernetes import backend
from management.backends.kubernetes.images import RegistryImages
from management.backends.kubernetes.launcher import KubernetesLauncher
from management.backends.kubernetes.settings import KubernetesSettings
from management.backends.launcher import ImageRefused
from management.domain.records import Resources
from management.settings import CapacitySettings
from tests.doubles.kubernetes.kubelet import node
from tests.doubles.management import settings
from tests.management.backends.kubernetes.conftest import Cluster


def test_only_nodes_that_take_pods_count() -> None:
    away = {"allocatable": {"cpu": "8", "memory": "8Gi"}, "conditions": [{"type": "Ready", "status": "Unknown"}]}
    nodes = [
        node("one", "3920m", "15Gi"),
        node(
            "two", status={**node("two")["status"], "allocatable": {"cpu": "1", "memory": "1Gi", "nvidia.com/gpu": "4"}}
        ),
        node("cordoned", spec={"unschedulable": True}),
        node("master", spec={"taints": [{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}]}),
        node("away", status=away),
    ]
    assert backend.allocatable(nodes) == Resources(4920, 16 * 2**30, 4)


@pytest.mark.parametrize(
    ("given", "limit"),
    [
        ({}, Resources(4000, 8 * 2**30, 0)),
        ({"cpus": 2.5, "gpus": 1}, Resources(2500, 8 * 2**30, 1)),
        ({"cpus": 1, "memory": "1Gi", "gpus": 0}, Resources(1000, 2**30, 0)),
    ],
)
async def test_capacity_is_that_of_the_settings_then_that_of_the_nodes(
    given: dict[str, Any], limit: Resources, cluster: Cluster
) -> None:
    assert (await made(cluster, **given)).capacity.limit == limit


async def made(cluster: Cluster, **capacity: Any) -> Backend:
    told = settings(cluster.home)
    one = await asyncio.to_thread(
        backend.make, cluster.settings, told.storage, told.replicas, CapacitySettings(**capacity)
    )
    assert isinstance(one.driver, KubernetesLauncher)
    cluster.made.append(one.driver)
    return one


async def test_capacity_follows_nodes_that_come_and_go(cluster: Cluster) -> None:
    one = await made(cluster, gpus=2)
    cluster.api.nodes.append(node("two", "1", "1Gi"))
    await one.measure_capacity()
    assert one.capacity.limit == Resources(5000, 9 * 2**30, 2)
    cluster.api.away = True
    await one.measure_capacity()
    assert one.capacity.limit == Resources(5000, 9 * 2**30, 2), "a cluster that is away is no smaller"
    cluster.api.away = False
    cluster.api.nodes.pop()
    await one.measure_capacity()
    assert one.capacity.limit == Resources(4000, 8 * 2**30, 2)


async def test_a_capacity_that_settings_give_is_not_measured(cluster: Cluster) -> None:
    one = await made(cluster, cpus=1, memory="1Gi", gpus=0)
    cluster.api.nodes.clear()
    await one.measure_capacity()
    assert one.capacity.limit == Resources(1000, 2**30, 0)


async def test_nodes_that_may_not_be_listed_leave_the_capacity_open(cluster: Cluster) -> None:
    cluster.api.refusals["list nodes"] = (403, "nodes is forbidden")
    limit = (await made(cluster)).capacity.limit
    assert limit.cpu_millicores > 2**60
    assert limit.gpus == backend.MOST_GPUS


async def test_a_cluster_answers_or_does_not(cluster: Cluster) -> None:
    one = await made(cluster)
    assert await one.answers()
    cluster.api.away = True
    again = await made(cluster)
    assert not await again.answers()


@pytest.mark.parametrize(("images", "allowed"), [("*", True), ("a/*, tests/*", True), ("a/*", False), ("", False)])
async def test_images_are_allowed_by_name(images: str, allowed: bool) -> None:
    checked = RegistryImages(KubernetesSettings(images=images)).check("tests/echo:1.0.0")
    if allowed:
        await checked
        return
    with pytest.raises(ImageRefused) as refused:
        await checked
    assert refused.value.kind == "image_elsewhere"


def test_a_server_that_knows_no_cluster_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ValueError, match="no cluster is configured"):
        KubernetesSettings().check()
    with pytest.raises(ValueError, match="there is no file"):
        KubernetesSettings(kubeconfig=tmp_path / "none").check()
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    KubernetesSettings().check()
