"""Replicas as Pods: the contract of all launchers on a real cluster, and what only a cluster can do."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from management.backends.kubernetes.client import KubernetesApi
from management.backends.kubernetes.launcher import KubernetesLauncher
from management.backends.kubernetes.settings import KubernetesSettings
from management.backends.launcher import Launch, Phase
from management.domain.records import Resources
from tests.doubles.launchers import CONTRACT, GRACE_SECONDS, Bench, begun, launch, until
from tests.doubles.management import settings
from tests.management.backends.keyed_replicas import answers_those_with_its_key_alone, begun_with_secrets
from tests.support import kubernetes_cluster as cluster

pytestmark = pytest.mark.kubernetes

Clause = Callable[[Bench], Awaitable[None]]
ROOM = Resources(300, 2**28, 0)


def wanted(**changes: Any) -> Launch:
    """A launch with CPU enough to start soon; the cluster enforces what was asked for."""
    return replace(launch(), **{"resources": ROOM, **changes})


@pytest.fixture(scope="module")
def images(echo_images: list[str]) -> None:
    """The echo on every node."""
    cluster.give(*echo_images)


@pytest.fixture
async def bench(images: None, tmp_path: Path) -> AsyncIterator[Bench]:
    """A launcher of Pods; nothing that it started is left afterwards."""
    told = settings(tmp_path)
    own = KubernetesSettings(kubeconfig=cluster.kubeconfig(), pull="Never")
    made: list[KubernetesLauncher] = []

    def again() -> KubernetesLauncher:
        made.append(KubernetesLauncher(KubernetesApi(own), own, told.replicas, told.storage.home))
        return made[-1]

    def kill(replica_id: str) -> None:
        cluster.process_of(replica_id).send_signal(signal.SIGKILL)

    loud = wanted(environment={"ECHO_FAIL": "1"})
    bench = Bench(again(), wanted(), loud, again, kill, measures=False)
    yield bench
    for replica_id in await bench.launcher.list_leftovers():
        await bench.launcher.remove_files(replica_id)
    for launcher in made:
        await launcher.close()


def pod_of(replica_id: str) -> dict[str, Any]:
    return dict(cluster.described("pod", f"atelier-{replica_id}"))


@pytest.mark.parametrize("clause", CONTRACT, ids=lambda one: one.__name__)
async def test_pods_keep_the_contract(clause: Clause, bench: Bench) -> None:
    await clause(bench)


async def test_a_pod_answers_nobody_but_its_control_plane(bench: Bench) -> None:
    look = await begun(bench)
    assert isinstance(bench.launcher, KubernetesLauncher)
    await answers_those_with_its_key_alone(look, bench.launcher.headers, bench.launch.replica_id)


async def test_a_pod_has_its_secrets_and_the_cluster_keeps_none_once_it_is_ready(bench: Bench) -> None:
    assert isinstance(bench.launcher, KubernetesLauncher)
    replica_id = await begun_with_secrets(bench, bench.launcher.headers)
    secrets = [secret["metadata"]["name"] for secret in cluster.described("secrets")["items"]]
    assert f"atelier-{replica_id}" in secrets
    assert f"atelier-{replica_id}-given" not in secrets
    assert "hf_the_value" not in json.dumps(pod_of(replica_id))
    files = "stat -c %a:%s /atelier-secrets/secrets; ls -d /atelier-secrets-source; cat /proc/1/environ"
    held = cluster.kubectl("exec", f"atelier-{replica_id}", "--", "sh", "-c", f"{files}; true")
    assert held.startswith("600:0\n"), "it was the replica's alone, and it is wiped"
    assert "atelier-secrets-source" not in held
    assert "hf_the_value" not in held


async def test_one_that_needs_more_memory_than_it_has_is_told_so(bench: Bench) -> None:
    starving = wanted(resources=replace(ROOM, memory_bytes=32 * 2**20))
    await bench.launcher.start(starving)
    look = await until(bench.launcher, starving.replica_id, Phase.EXITED)
    assert look.crashed
    assert look.reason == "it was killed for using more than its 32Mi of memory"


async def test_one_that_no_node_has_room_for_waits_and_says_why(bench: Bench) -> None:
    huge = wanted(resources=replace(ROOM, cpu_millicores=4_000_000))
    await bench.launcher.start(huge)
    look = await until(bench.launcher, huge.replica_id, Phase.STARTING)
    while not look.reason:
        look = await bench.launcher.observe(huge.replica_id)
    assert look.phase is Phase.STARTING
    assert "no node takes it" in look.reason
    assert "Insufficient cpu" in look.reason
    await bench.launcher.stop(huge.replica_id, GRACE_SECONDS)
    assert await bench.launcher.list_running() == []


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ("tests/none:1.0.0", "ErrImageNeverPull"),
        ("Tests//none:1.0.0", "InvalidImageName"),
        ("localhost/busybox:1", "python"),
    ],
)
async def test_images_that_cannot_run_are_named(image: str, words: str, bench: Bench) -> None:
    unfit = wanted(docker_image=image)
    await bench.launcher.start(unfit)
    look = await until(bench.launcher, unfit.replica_id, Phase.EXITED)
    assert words in look.reason
    await bench.launcher.stop(unfit.replica_id, 0.0)
    assert await bench.launcher.list_running() == []


@pytest.mark.parametrize("grace", [0.0, GRACE_SECONDS])
async def test_one_that_hangs_is_silent_and_is_ended_by_force(grace: float, bench: Bench) -> None:
    await begun(bench)
    cluster.process_of(bench.launch.replica_id).suspend()
    assert (await bench.launcher.observe(bench.launch.replica_id)).phase is Phase.UNRESPONSIVE
    await bench.launcher.stop(bench.launch.replica_id, grace)
    assert await bench.launcher.list_running() == []


async def test_one_that_the_cluster_is_about_to_end_says_so(bench: Bench) -> None:
    await begun(bench)
    cluster.process_of(bench.launch.replica_id).suspend()  # it does not end by itself
    cluster.kubectl("delete", "pod", f"atelier-{bench.launch.replica_id}", "--grace-period=5", "--wait=false")
    look = await bench.launcher.observe(bench.launch.replica_id)
    while not look.leaving:
        look = await bench.launcher.observe(bench.launch.replica_id)
    await bench.launcher.stop(bench.launch.replica_id, 0.0)
    assert await bench.launcher.list_running() == []
