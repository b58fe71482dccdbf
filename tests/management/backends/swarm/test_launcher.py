"""What replicas on a swarm are given, what they leave, and what is said where there is no room, image or manager."""

from __future__ import annotations

import asyncio
import json
import tarfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from management.backends.launcher import Launch, LaunchRefused, Observation, Phase
from management.backends.swarm.client import NO_MANAGER, SwarmManager
from management.backends.swarm.files import MAX_SECRET_BYTES
from management.backends.swarm.launcher import SwarmLauncher
from management.domain.records import Resources
from management.domain.secrets import SecretContent
from management.errors import BackendUnavailable
from tests.doubles.launchers import GRACE_SECONDS, Bench, begun, until
from tests.doubles.management import replica, settings
from tests.management.backends.keyed_replicas import (
    HIDDEN,
    answers_those_with_its_key_alone,
    begun_with_secrets,
    output,
)
from tests.management.backends.swarm.benches import ROOM, benched, launcher_of, name, placed, wanted
from tests.support.registry import registry
from tests.support.swarm.nodes import Node, Nodes

# The ``docker`` library leaves its socket to the garbage collector where it finds no engine.
pytestmark = [pytest.mark.swarm, pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")]

ENOUGH_LOOKS = 600
WORKER = ("node.role==worker",)


@pytest.fixture
async def bench(swarm: Nodes, home: Path) -> AsyncIterator[Bench]:
    """Replicas run on the worker, which no launcher has a connection to."""
    async with benched(swarm, home, constraints=WORKER) as (made, _):
        yield made


def held(swarm: Nodes) -> list[str]:
    """Return what the swarm has of replicas."""
    kinds = (("service", "ls", "--quiet"), ("secret", "ls", "--quiet"), ("config", "ls", "--quiet"))
    return [each for kind in kinds for each in swarm.manager.docker(*kind).split()]


async def test_a_replica_on_another_node_has_its_files_and_no_rights_beside(bench: Bench, swarm: Nodes) -> None:
    look = await begun(bench)
    assert isinstance(bench.launcher, SwarmLauncher)
    node, container = placed(swarm, bench.launch.replica_id)
    assert (node, look.address.startswith(f"http://{swarm.worker.address}:")) == (swarm.worker, True)
    (found,) = json.loads(node.docker("inspect", container))
    host = found["HostConfig"]
    assert (host["NanoCpus"], host["Memory"], host["PidsLimit"]) == (1_000_000_000, 2**28, 512)
    assert (host["CapDrop"], host["CapAdd"], host["Init"], host["Privileged"]) == (["ALL"], None, True, False)
    assert found["Config"]["User"] not in ("", "root", "0")
    secret_files = node.docker("exec", container, "stat", "-c", "%a %u", "/atelier/token").split()
    assert secret_files == ["400", node.docker("exec", container, "id", "-u")]
    assert "tmpfs" in node.docker("exec", container, "grep", "/atelier/token", "/proc/mounts")
    headers = bench.launcher.headers(replica(id=bench.launch.replica_id))
    assert (await output(look.address, headers, {"a": 1}))["echo"] == {"a": 1}


async def test_a_replica_answers_its_control_plane_alone(bench: Bench) -> None:
    look = await begun(bench)
    assert isinstance(bench.launcher, SwarmLauncher)
    await answers_those_with_its_key_alone(look, bench.launcher.headers, bench.launch.replica_id)


async def test_a_replica_has_its_secrets_until_it_is_stopped_and_swarm_shows_none(bench: Bench, swarm: Nodes) -> None:
    assert isinstance(bench.launcher, SwarmLauncher)
    replica_id = await begun_with_secrets(bench, bench.launcher.headers)
    node, container = placed(swarm, replica_id)
    secrets = swarm.manager.docker("secret", "ls", "--quiet").split()
    shown = [
        swarm.manager.docker("service", "inspect", name(replica_id)),
        swarm.manager.docker("secret", "inspect", *secrets),
        node.docker("inspect", container),
        node.docker("logs", container),
    ]
    assert not [text for text in shown if any(value in text for value in HIDDEN)]
    await bench.launcher.stop(replica_id, GRACE_SECONDS)
    assert swarm.manager.docker("secret", "ls", "--quiet") == ""


async def test_nothing_is_left_of_a_replica_that_was_removed(bench: Bench, swarm: Nodes) -> None:
    await begun(bench)
    assert len(held(swarm)) > 2
    await bench.launcher.stop(bench.launch.replica_id, GRACE_SECONDS)
    await bench.launcher.remove_files(bench.launch.replica_id)
    assert held(swarm) == []


async def test_files_are_shared_and_stay_while_another_replica_has_them(bench: Bench, swarm: Nodes) -> None:
    other = replace(bench.launch, replica_id="f" * 32)
    await begun(bench)
    configs = swarm.manager.docker("config", "ls", "--quiet").split()
    await bench.launcher.start(other)
    assert swarm.manager.docker("config", "ls", "--quiet").split() == configs
    await bench.launcher.stop(other.replica_id, 0.0)
    await bench.launcher.remove_files(other.replica_id)
    assert swarm.manager.docker("config", "ls", "--quiet").split() == configs


async def test_what_an_interrupted_start_left_is_listed_and_removed(bench: Bench, swarm: Nodes) -> None:
    launcher = bench.launcher
    assert isinstance(launcher, SwarmLauncher)
    label = ("--label", f"atelier.instance={launcher._instance.id}", "--label", "atelier.replica=left")
    swarm.manager.docker("secret", "create", *label, "atelier-left-token", "/etc/hostname")
    assert (await launcher.list_running(), await launcher.list_leftovers()) == ([], ["left"])
    await launcher.remove_files("left")
    assert held(swarm) == []


async def observed(bench: Bench, launch: Launch) -> Observation:
    """Return what the replica waits for, or why it ended."""
    await bench.launcher.start(launch)
    for _ in range(ENOUGH_LOOKS):
        if (look := await bench.launcher.observe(launch.replica_id)).reason:
            return look
        await asyncio.sleep(0.05)
    raise AssertionError(look)


async def test_a_replica_that_no_node_has_room_for_waits_and_says_so(bench: Bench) -> None:
    huge = wanted(resources=Resources(1000, 2**45, 0))
    look = await observed(bench, huge)
    assert look.phase is Phase.STARTING
    assert look.reason.startswith("no suitable node (")
    assert "insufficient resources on" in look.reason
    gpu = await observed(bench, wanted(gpus=(0,)))
    assert "insufficient resources on" in gpu.reason
    await bench.launcher.stop(huge.replica_id, GRACE_SECONDS)
    assert (await bench.launcher.observe(huge.replica_id)).phase is Phase.EXITED


async def test_a_node_without_the_image_is_named(bench: Bench, swarm: Nodes) -> None:
    made = swarm.manager.docker("create", "tests/echo:1.0.0")
    swarm.manager.docker("commit", made, "tests/echo:only")
    swarm.manager.docker("rm", made)
    look = await observed(bench, wanted(docker_image="tests/echo:only"))
    assert (look.phase, look.crashed) == (Phase.EXITED, True)
    assert look.reason.startswith("node node2 cannot start it: No such image: sha256:")


def empty_image(manager: Node, folder: Path, name: str) -> None:
    """Give the manager an image that looks like one of BentoML's and has nothing to run."""
    with tarfile.open(folder / "image.tar", "w") as tar:
        tar.add(Path(__file__), "nothing")
    options = ("--change", "ENV BENTO_PATH=/bento", "--change", "USER 1034")
    manager.docker("import", *options, str(folder / "image.tar"), name)


async def test_nodes_pull_the_very_image_that_the_manager_pulled(swarm: Nodes, home: Path, tmp_path: Path) -> None:
    manager = swarm.manager
    with registry(tmp_path, manager.gateway) as address:
        image = f"{address}/team/empty:1.0.0"
        empty_image(manager, tmp_path, image)
        manager.docker("push", image)
        manager.docker("rmi", image)
        async with benched(swarm, home, constraints=WORKER, pull="missing") as (bench, _):
            pulled = wanted(docker_image=image)
            await bench.launcher.start(pulled)
            await until(bench.launcher, pulled.replica_id, Phase.ABSENT)  # the supervisor starts it again
            look = await observed(bench, pulled)
            (service,) = swarm.services()
    asked = service["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"]
    assert asked.startswith(f"{address}/team/empty@sha256:")
    assert asked in swarm.worker.docker("image", "ls", "--digests", "--format", "{{.Repository}}@{{.Digest}}")
    assert look.reason == "the container ended with exit status 127", "it has no command to run"


async def test_one_that_needs_more_memory_than_it_has_says_so(swarm: Nodes, home: Path) -> None:
    starving = wanted(resources=replace(ROOM, memory_bytes=32 * 2**20))
    for place, reason in (
        ("manager", "it was killed for using more than its 32Mi of memory"),
        ("worker", "the container was killed on node node2, by hand or for using more than its 32Mi of memory"),
    ):
        async with benched(swarm, home, constraints=(f"node.role=={place}",)) as (bench, _):
            await bench.launcher.start(starving)
            assert (await until(bench.launcher, starving.replica_id, Phase.EXITED)).reason == reason


async def test_secrets_that_swarm_does_not_take_are_refused(bench: Bench, swarm: Nodes) -> None:
    large = SecretContent({}, {"key": b"x" * MAX_SECRET_BYTES})
    with pytest.raises(LaunchRefused, match="Swarm takes at most 512000"):
        await bench.launcher.start(wanted(secrets=large))
    assert await bench.launcher.list_leftovers() == []
    assert held(swarm) == []


async def test_a_server_outside_the_overlay_network_is_told_how_it_gets_there(swarm: Nodes, home: Path) -> None:
    async with benched(swarm, home, address="overlay", network="atelier-outside") as (bench, _):
        with pytest.raises(LaunchRefused, match="is not in the overlay network atelier-outside: run it as a service"):
            await bench.launcher.start(bench.launch)
    swarm.manager.docker("network", "rm", "atelier-outside")


async def test_an_engine_that_manages_no_swarm_says_what_makes_it_one(swarm: Nodes, home: Path) -> None:
    worker = SwarmManager(swarm.worker.socket)
    try:
        assert not await worker.answers()
        with pytest.raises(BackendUnavailable) as away:
            await launcher_of(worker, settings(home)).list_running()
        assert away.value.details == {"backend": "swarm", "reason": NO_MANAGER}
    finally:
        await worker.close()
    manager = SwarmManager(swarm.manager.socket)
    assert await manager.answers()
    await manager.close()
