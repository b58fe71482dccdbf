"""Replicas as Pods of a double: the contract of all launchers, and what a real cluster does too seldom to wait for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from management.backends.kubernetes import pod_cache
from management.backends.launcher import LaunchRefused, Observation, Phase
from management.backends.replica.probe import ProbeClient
from management.domain.secrets import SecretContent
from management.errors import BackendUnavailable
from tests.doubles.launchers import CONTRACT, GRACE_SECONDS, Bench, begun, launch, until
from tests.management.backends.kubernetes.conftest import Cluster

Clause = Callable[[Bench], Awaitable[None]]
SECRETS = SecretContent({"HF_TOKEN": "hf_the_value"})


@pytest.fixture
def bench(cluster: Cluster) -> Bench:
    tasks = []

    def kill(replica_id: str) -> None:
        tasks.append(asyncio.get_running_loop().create_task(cluster.kubelet.end(name(replica_id), 137)))

    one = launch()
    cluster.api.metrics = {one.replica_id: measured(one.replica_id)}
    return Bench(cluster.launcher(), one, replace(launch(), environment={"ECHO_FAIL": "1"}), cluster.launcher, kill)


def name(replica_id: str) -> str:
    return f"atelier-{replica_id}"


def measured(replica_id: str, *, seconds: int = 0, cpu: str = "250m") -> dict[str, Any]:
    return {
        "metadata": {"name": name(replica_id), "labels": {"atelier.replica": replica_id}},
        "timestamp": f"2026-01-01T00:00:{seconds:02}Z",
        "window": "10s",
        "containers": [{"name": "replica", "usage": {"cpu": cpu, "memory": "131072Ki"}}],
    }


@pytest.mark.parametrize("early", [False, True], ids=["status-true", "status-early"])
@pytest.mark.parametrize("clause", CONTRACT, ids=lambda one: one.__name__)
async def test_pods_keep_the_contract(clause: Clause, bench: Bench, cluster: Cluster, early: bool) -> None:
    cluster.kubelet.early_status = early
    if clause.__name__.startswith("what_is_stopped_is_gone"):
        bench.launcher.usage = _gone(bench, cluster)  # type: ignore[method-assign]
    await clause(bench)


def _gone(bench: Bench, cluster: Cluster) -> Any:
    usage = bench.launcher.usage

    async def asked(ids: Any) -> Any:
        cluster.api.metrics = {"another": measured("another")}  # as a metrics server does once a Pod has ended
        return await usage(ids)

    return asked


async def test_a_change_of_a_pod_is_told_and_a_list_of_what_is_known_is_not(bench: Bench, cluster: Cluster) -> None:
    await begun(bench)
    follower, told, more = cluster.launcher(), list[str](), asyncio.Event()

    def tell(replica_id: str) -> None:
        told.append(replica_id)
        more.set()

    follower.on_change(tell)
    assert await follower.list_running() == [bench.launch.replica_id]
    assert not told, "nothing has changed"
    bench.kill(bench.launch.replica_id)
    await asyncio.wait_for(more.wait(), 10)
    assert (await follower.observe(bench.launch.replica_id)).phase is Phase.EXITED
    more.clear()
    await bench.launcher.remove_files(bench.launch.replica_id)
    await asyncio.wait_for(more.wait(), 10)
    assert (await follower.observe(bench.launch.replica_id)).phase is Phase.ABSENT
    assert set(told) == {bench.launch.replica_id}


async def test_what_changed_while_the_watch_was_cut_is_told_by_the_next_list(
    bench: Bench, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pod_cache, "LIST_SECONDS", -1.0)
    await begun(bench)
    follower, told = cluster.launcher(), list[str]()
    follower.on_change(told.append)
    await follower.list_running()
    cluster.api.silent = True
    await cluster.kubelet.end(name(bench.launch.replica_id), 137)
    assert not told
    assert await follower.list_running() == []
    assert told == [bench.launch.replica_id]
    cluster.api.silent = False
    cluster.api.cut()


async def test_a_stop_waits_for_a_container_that_is_said_to_have_ended(bench: Bench, cluster: Cluster) -> None:
    cluster.kubelet.early_status = True
    cluster.kubelet.may_end.clear()
    look = await begun(bench)
    stopping = asyncio.create_task(bench.launcher.stop(bench.launch.replica_id, GRACE_SECONDS))
    await until(bench.launcher, bench.launch.replica_id, Phase.EXITED)
    probes = ProbeClient()
    for _ in range(5):
        assert await probes.at(look.address, b"another's token") is None, "it still listens"
        await asyncio.sleep(0.05)
    await probes.close()
    assert not stopping.done()
    cluster.kubelet.may_end.set()
    await stopping


async def test_an_unknown_pod_of_that_name_is_left_alone(bench: Bench, cluster: Cluster) -> None:
    own = {"metadata": {"name": name(bench.launch.replica_id), "uid": "1", "labels": {}}, "spec": {"nodeName": "n"}}
    await cluster.api.put("pods", {**own, "status": {"phase": "Running"}})
    with pytest.raises(LaunchRefused, match="another control plane"):
        await bench.launcher.start(bench.launch)


@pytest.mark.parametrize(
    ("refused", "status", "error"),
    [
        ("create pods", (403, "exceeded quota: models, requested: cpu=1"), "exceeded quota"),
        ("create pods", (422, "spec.containers[0].image: Invalid value"), "Invalid value"),
        ("create secrets", (403, "forbidden"), "forbidden"),
    ],
)
async def test_what_the_cluster_refuses_is_said(
    refused: str, status: tuple[int, str], error: str, bench: Bench, cluster: Cluster
) -> None:
    cluster.api.refusals[refused] = status
    with pytest.raises(LaunchRefused, match=error):
        await bench.launcher.start(bench.launch)


async def test_a_start_that_was_cut_off_goes_on(bench: Bench, cluster: Cluster) -> None:
    cluster.api.refusals["create pods"] = (503, "the server is starting")
    with pytest.raises(BackendUnavailable):
        await bench.launcher.start(bench.launch)
    assert (await bench.launcher.observe(bench.launch.replica_id)).phase is Phase.ABSENT
    assert await bench.launcher.list_leftovers() == [bench.launch.replica_id]
    cluster.api.refusals.clear()
    await begun(bench)


async def test_secrets_go_with_their_pod(bench: Bench, cluster: Cluster) -> None:
    given = replace(bench.launch, secrets=SECRETS)
    await bench.launcher.start(given)
    assert sorted(cluster.api.objects["secrets"]) == [name(given.replica_id), f"{name(given.replica_id)}-given"]
    await until(bench.launcher, given.replica_id, Phase.READY)
    assert list(cluster.api.objects["secrets"]) == [name(given.replica_id)], "the replica has read what it was given"
    assert "hf_the_value" not in json.dumps(cluster.api.objects["pods"])
    await cluster.api.drop("pods", name(given.replica_id))
    assert not cluster.api.objects["secrets"]


async def test_secrets_that_no_secret_can_hold_are_refused(bench: Bench) -> None:
    large = SecretContent(files={"model.key": b"x" * 2**20})
    with pytest.raises(LaunchRefused, match="1 MiB"):
        await bench.launcher.start(replace(bench.launch, secrets=large))


@pytest.mark.parametrize(
    ("waiting", "phase", "words"),
    [
        (("ErrImagePull", "rpc error: not found"), Phase.EXITED, "cannot be pulled: rpc error: not found"),
        (("ErrImagePull", "dial tcp: i/o timeout"), Phase.STARTING, "cannot be pulled: dial tcp"),
        (("ImagePullBackOff", "Back-off pulling image"), Phase.STARTING, "Back-off pulling image"),
        (("CreateContainerConfigError", "image will run as root"), Phase.EXITED, "image will run as root"),
        (("ContainerCreating", ""), Phase.STARTING, ""),
    ],
)
async def test_a_container_that_waits_says_what_for(
    waiting: tuple[str, str], phase: Phase, words: str, bench: Bench, cluster: Cluster
) -> None:
    cluster.kubelet.waiting[bench.launch.docker_image] = waiting
    await bench.launcher.start(bench.launch)
    look = await seen(bench, lambda look: look.phase is phase and words in look.reason)
    assert look.phase is phase
    await bench.launcher.stop(bench.launch.replica_id, GRACE_SECONDS)
    assert await bench.launcher.list_running() == []


async def seen(bench: Bench, holds: Callable[[Observation], bool]) -> Observation:
    """The first observation for which this holds."""
    async with asyncio.timeout(20):
        while True:
            if holds(look := await bench.launcher.observe(bench.launch.replica_id)):
                return look
            await asyncio.sleep(0.01)


async def test_a_pod_that_no_node_takes_waits_and_says_why(bench: Bench) -> None:
    huge = replace(bench.launch, resources=replace(bench.launch.resources, cpu_millicores=64_000))
    await bench.launcher.start(huge)
    look = await seen(bench, lambda look: bool(look.reason))
    assert (look.phase, look.reason) == (
        Phase.STARTING,
        "no node takes it: 0/1 nodes are available: 1 Insufficient cpu.",
    )
    await bench.launcher.stop(huge.replica_id, GRACE_SECONDS)
    assert (await bench.launcher.observe(huge.replica_id)).phase is Phase.ABSENT


async def test_a_replica_on_a_lost_node_has_ended_and_its_name_is_let_go(bench: Bench, cluster: Cluster) -> None:
    await begun(bench)
    await cluster.kubelet.lose()
    look = await seen(bench, lambda look: look.phase is Phase.EXITED)
    assert look.reason == "its node node1 is lost: the cluster does not hear of it"
    assert await bench.launcher.log(bench.launch.replica_id, 5) == [], "its log is lost with it"
    assert await bench.launcher.list_running() == [bench.launch.replica_id], "it may run on"
    await bench.launcher.stop(bench.launch.replica_id, GRACE_SECONDS)
    assert await bench.launcher.list_running() == []
    assert not cluster.api.objects["pods"]


async def test_a_replica_that_answers_is_not_lost(bench: Bench, cluster: Cluster) -> None:
    await begun(bench)
    silent = json.loads(json.dumps(cluster.api.objects["pods"][name(bench.launch.replica_id)]))
    silent["status"]["conditions"][1]["status"] = "False"
    await cluster.api.put("pods", silent)
    await until_version(bench, cluster)
    assert (await bench.launcher.observe(bench.launch.replica_id)).phase is Phase.READY


async def until_version(bench: Bench, cluster: Cluster) -> None:
    """Wait until the launcher has seen the present state of its Pod."""
    wanted = cluster.api.objects["pods"][name(bench.launch.replica_id)]["metadata"]["resourceVersion"]

    def current(state: Any) -> bool:
        return state is not None and state.pod["metadata"]["resourceVersion"] == wanted

    assert await bench.launcher._cache.until(name(bench.launch.replica_id), current, 20)  # type: ignore[attr-defined]


async def test_a_replica_that_is_being_deleted_is_leaving(bench: Bench, cluster: Cluster) -> None:
    await begun(bench)
    cluster.kubelet.hangs.add(name(bench.launch.replica_id))
    pod = json.loads(json.dumps(cluster.api.objects["pods"][name(bench.launch.replica_id)]))
    pod["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 60}
    await cluster.api.put("pods", pod)
    await until_version(bench, cluster)
    look = await bench.launcher.observe(bench.launch.replica_id)
    assert look.leaving
    assert look.phase is Phase.UNRESPONSIVE
    await bench.launcher.stop(bench.launch.replica_id, GRACE_SECONDS)
    assert await bench.launcher.list_running() == []


async def test_cpu_seconds_grow_with_each_window_of_the_metrics_server(bench: Bench, cluster: Cluster) -> None:
    one = bench.launch.replica_id
    counted = []
    for seconds in (0, 10, 10, 30):
        cluster.api.metrics = {one: measured(one, seconds=seconds, cpu="250000000n")}
        counted.append((await bench.launcher.usage([one]))[one].cpu_seconds)
    assert counted == [0.0, 2.5, 2.5, 7.5]
    assert (await bench.launcher.usage([one]))[one].memory_bytes == 2**27


async def test_a_cluster_without_a_metrics_server_is_asked_for_one_once_in_a_while(
    bench: Bench, cluster: Cluster
) -> None:
    cluster.api.metrics = {}
    for _ in range(5):
        assert await bench.launcher.usage([bench.launch.replica_id]) == {}
    assert len(cluster.api.calls) == 1


async def test_a_cluster_that_does_not_answer_is_no_verdict_on_its_pods(
    bench: Bench, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pod_cache, "STALE_SECONDS", 1.0)
    look = await begun(bench)
    cluster.api.away = True
    cluster.api.cut()
    with pytest.raises(BackendUnavailable):
        await seen(bench, lambda look: look.phase is not Phase.READY)
    for asked in (
        bench.launcher.start(replace(bench.launch, replica_id=uuid4().hex)),
        bench.launcher.stop(bench.launch.replica_id, GRACE_SECONDS),
        bench.launcher.list_running(),
        bench.launcher.list_leftovers(),
        bench.launcher.log(bench.launch.replica_id, 5),
        bench.launcher.usage([bench.launch.replica_id]),
    ):
        with pytest.raises(BackendUnavailable):
            await asked
    cluster.api.away = False
    async with asyncio.timeout(20):
        while True:
            try:
                again = await bench.launcher.observe(bench.launch.replica_id)
                break
            except BackendUnavailable:
                await asyncio.sleep(0.05)
    assert (again.phase, again.address) == (Phase.READY, look.address)


async def test_a_watch_that_falls_silent_is_not_believed(
    bench: Bench, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pod_cache, "STALE_SECONDS", 4.0)
    await begun(bench)
    cluster.api.silent = True
    with pytest.raises(BackendUnavailable):
        await seen(bench, lambda look: look.phase is not Phase.READY)
    cluster.api.silent = False
    cluster.api.cut()


async def test_changes_that_are_forgotten_are_listed_again(bench: Bench, cluster: Cluster) -> None:
    await begun(bench)
    cache = bench.launcher._cache  # type: ignore[attr-defined]
    lists = cache.lists
    cluster.api.version += 10
    cluster.api.forget()
    cluster.api.cut()
    await seen(bench, lambda _: cache.lists > lists)
    await cluster.kubelet.end(name(bench.launch.replica_id), 1)
    look = await until(bench.launcher, bench.launch.replica_id, Phase.EXITED)
    assert look.reason.startswith("the container ended with exit status 1")


async def test_a_watch_that_is_cut_resumes_without_a_list(bench: Bench, cluster: Cluster) -> None:
    await begun(bench)
    cache = bench.launcher._cache  # type: ignore[attr-defined]
    lists = cache.lists
    cluster.api.cut()
    await cluster.kubelet.end(name(bench.launch.replica_id), 137)
    await until(bench.launcher, bench.launch.replica_id, Phase.EXITED)
    assert cache.lists == lists


async def test_many_replicas_are_observed_without_a_call(bench: Bench, cluster: Cluster) -> None:
    await begun(bench)
    before = len(cluster.api.calls)
    for _ in range(50):
        await bench.launcher.observe(bench.launch.replica_id)
    assert [call for call in cluster.api.calls[before:] if call != "watch pods"] == []
