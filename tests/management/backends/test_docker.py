"""Replicas as containers: the contract of all launchers on a real Docker Engine, and what only containers can do."""

from __future__ import annotations

import asyncio
import gc
import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from management.backends.docker.client import DockerEngine
from management.backends.docker.images import DockerImages
from management.backends.docker.launcher import DockerLauncher
from management.backends.docker.settings import DockerSettings
from management.backends.launcher import TAIL_BYTES, ImageRefused, Launch, LaunchRefused, Phase
from management.backends.ping import PING_SECONDS
from management.configuration import Settings
from management.domain.records import Resources
from management.errors import BackendUnavailable
from management.gateway.replica_client import ReplicaClient
from tests.doubles.engine_switch import EngineSwitch
from tests.doubles.launchers import CONTRACT, GRACE_SECONDS, Bench, begun, launch, until
from tests.doubles.management import replica, settings
from tests.management.backends.keyed_replicas import (
    HIDDEN,
    SECRETS,
    answers_those_with_its_key_alone,
    begun_with_secrets,
    output,
)
from tests.support.registry import pushed, registry

# The ``docker`` library leaves its socket to the garbage collector where it finds no engine.
pytestmark = [pytest.mark.docker, pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")]

Clause = Callable[[Bench], Awaitable[None]]
SLIM = "python:3.11-slim"
ROOM = Resources(2000, 2**28, 0)


def wanted(**changes: Any) -> Launch:
    """A launch with CPU enough to start soon; the engine enforces what was asked for."""
    return replace(launch(), **{"resources": ROOM, **changes})


def own(told: Settings, **changes: Any) -> DockerSettings:
    """The backend's own settings, changed so."""
    return told.backends.docker.model_copy(update=changes)


MADE: list[DockerLauncher] = []
"""The launchers of the test that runs."""


def docker_launcher(engine: DockerEngine, told: Settings, **changes: Any) -> DockerLauncher:
    MADE.append(DockerLauncher(engine, own(told, **changes), told.replicas, told.storage.home))
    return MADE[-1]


@pytest.fixture
def told() -> Iterator[Settings]:
    folder = Path(tempfile.mkdtemp(prefix="at-"))
    yield settings(folder)
    shutil.rmtree(folder)


@pytest.fixture(autouse=True)
async def collected() -> AsyncIterator[None]:
    """What a test leaves is closed and collected in it, where its warnings are filtered."""
    yield
    while MADE:
        await MADE.pop().close()
    gc.collect()


@pytest.fixture
async def engine(echo_images: list[str], told: Settings) -> AsyncIterator[DockerEngine]:
    one = DockerEngine(told.backends.docker.socket)
    yield one
    await one.close()


@pytest.fixture
async def bench(told: Settings, engine: DockerEngine) -> AsyncIterator[Bench]:
    """A launcher of containers; nothing that it started is left afterwards."""
    launcher = docker_launcher(engine, told)

    def kill(replica_id: str) -> None:
        engine._call(lambda client: client.kill(name(replica_id)))

    loud = wanted(environment={"ECHO_FAIL": "1"})
    yield Bench(launcher, wanted(), loud, lambda: docker_launcher(engine, told), kill)
    for replica_id in await launcher.list_leftovers():
        await launcher.remove_files(replica_id)


def name(replica_id: str) -> str:
    return f"atelier-{replica_id}"


async def inspected(engine: DockerEngine, replica_id: str) -> dict[str, Any]:
    found = await engine.inspect(name(replica_id))
    assert found is not None
    return found


@pytest.mark.parametrize("clause", CONTRACT, ids=lambda one: one.__name__)
async def test_containers_keep_the_contract(clause: Clause, bench: Bench) -> None:
    await clause(bench)


async def test_a_container_may_do_nothing_that_it_was_not_deployed_for(bench: Bench, engine: DockerEngine) -> None:
    look = await begun(bench)
    assert isinstance(bench.launcher, DockerLauncher)
    found = await inspected(engine, bench.launch.replica_id)
    host = found["HostConfig"]
    assert (host["NanoCpus"], host["Memory"], host["MemorySwap"]) == (2_000_000_000, 2**28, 2**28)
    assert (host["CapDrop"], host["CapAdd"], host["SecurityOpt"]) == (["ALL"], None, ["no-new-privileges"])
    assert host["PidsLimit"] == 512
    assert not any((host["Privileged"], host["Binds"], host["Devices"], found["Mounts"]))
    assert (host["NetworkMode"], host["PidMode"], host["IpcMode"]) == ("atelier", "", "private")
    assert [port["HostIp"] for ports in host["PortBindings"].values() for port in ports] == ["127.0.0.1"]
    assert found["Config"]["User"] not in ("", "root", "0")
    environment = dict(one.split("=", 1) for one in found["Config"]["Env"])
    assert environment["GREETING"] == "hello"
    assert environment["BENTOML_DO_NOT_TRACK"] == "True"
    assert not {one for one in environment if one.startswith(("PYTEST", "ATELIER_API", "BENTO_CLOUD"))}
    headers = bench.launcher.headers(replica(id=bench.launch.replica_id))
    assert (await output(look.address, headers, {"a": 1}))["echo"] == {"a": 1}


async def test_a_container_answers_nobody_but_its_control_plane(bench: Bench) -> None:
    look = await begun(bench)
    assert isinstance(bench.launcher, DockerLauncher)
    await answers_those_with_its_key_alone(look, bench.launcher.headers, bench.launch.replica_id)


def found_in_container(engine: DockerEngine, replica_id: str) -> list[str]:
    """Where the engine shows a value of a secret: in its description, its log, or a file of the container."""
    client = engine._connected()
    places = {
        "description": json.dumps(client.inspect_container(name(replica_id))).encode(),
        "log": client.logs(name(replica_id)),
        "files": b"".join(client.export(name(replica_id))),
    }
    return [place for place, content in places.items() if any(needle.encode() in content for needle in HIDDEN)]


async def test_a_container_has_its_secrets_and_the_engine_shows_none(bench: Bench, engine: DockerEngine) -> None:
    assert isinstance(bench.launcher, DockerLauncher)
    replica_id = await begun_with_secrets(bench, bench.launcher.headers)
    assert await asyncio.to_thread(found_in_container, engine, replica_id) == []


async def test_a_container_that_ends_before_it_reads_its_secrets_keeps_none(
    bench: Bench, engine: DockerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = replace(bench.launch, secrets=SECRETS)
    create = type(engine._connected()).create_container

    def failing(client: Any, image: str, command: list[str], **how: Any) -> Any:
        return create(client, image, ["false"], **how)

    monkeypatch.setattr(type(engine._connected()), "create_container", failing)
    await bench.launcher.start(given)
    await until(bench.launcher, given.replica_id, Phase.EXITED)
    assert await asyncio.to_thread(found_in_container, engine, given.replica_id) == ["files"]
    await bench.launcher.stop(given.replica_id, 0.0)
    assert await asyncio.to_thread(found_in_container, engine, given.replica_id) == []


async def test_of_a_log_of_long_lines_the_end_is_read(bench: Bench) -> None:
    look = await begun(bench)
    assert isinstance(bench.launcher, DockerLauncher)
    client = ReplicaClient(look.address, bench.launcher.headers(replica(id=bench.launch.replica_id)).copy)
    for text in ("x" * (2 * TAIL_BYTES), "the end"):
        await client.infer([{"input_data": {"print": text}, "parameters": {}}], "id")
    await client.close()
    lines = await bench.launcher.log(bench.launch.replica_id, 100)
    assert "the end" in lines
    assert TAIL_BYTES // 2 < sum(len(line) + 1 for line in lines) <= TAIL_BYTES


async def test_no_more_cores_are_asked_of_the_engine_than_it_has(bench: Bench, engine: DockerEngine) -> None:
    greedy = wanted(resources=replace(ROOM, cpu_millicores=4_000_000))
    await bench.launcher.start(greedy)
    found = await inspected(engine, greedy.replica_id)
    assert found["HostConfig"]["NanoCpus"] == await engine.cores() * 10**9


async def test_the_bento_is_the_images_whatever_a_caller_says(bench: Bench) -> None:
    misled = wanted(environment={"BENTO_PATH": "this:x"})
    await bench.launcher.start(misled)
    await until(bench.launcher, misled.replica_id, Phase.READY)


async def test_calls_that_wait_take_nobody_elses_place(bench: Bench, engine: DockerEngine) -> None:
    await begun(bench)
    name_of_it = name(bench.launch.replica_id)
    waiting = [
        asyncio.create_task(engine.call_patiently(lambda client: client.wait(name_of_it, timeout=5))) for _ in range(40)
    ]
    await asyncio.sleep(0.2)
    assert await engine.answers()
    assert (await bench.launcher.observe(bench.launch.replica_id)).phase is Phase.READY
    await engine.call(lambda client: client.kill(name_of_it))
    await asyncio.gather(*waiting)


async def test_gpus_are_handed_over_by_their_numbers(bench: Bench, engine: DockerEngine) -> None:
    with_gpu = wanted(gpus=(0, 3))
    with suppress(LaunchRefused):  # where there are none
        await bench.launcher.start(with_gpu)
    found = await inspected(engine, with_gpu.replica_id)
    (request,) = found["HostConfig"]["DeviceRequests"]
    assert (request["DeviceIDs"], request["Capabilities"]) == (["0", "3"], [["gpu"]])


async def test_a_container_does_not_reach_its_neighbours(bench: Bench, engine: DockerEngine) -> None:
    other = wanted()
    await begun(bench)
    await bench.launcher.start(other)
    await until(bench.launcher, other.replica_id, Phase.READY)
    neighbour = await inspected(engine, bench.launch.replica_id)
    address = neighbour["NetworkSettings"]["Networks"]["atelier"]["IPAddress"]
    script = f"import socket; socket.create_connection(('{address}', 3000), 2)"

    def run(client: Any) -> int:
        made = client.exec_create(name(other.replica_id), ["python", "-c", script])
        client.exec_start(made["Id"])
        return int(client.exec_inspect(made["Id"])["ExitCode"])

    assert await engine.call(run) == 1


async def test_one_that_needs_more_memory_than_it_has_is_told_so(bench: Bench) -> None:
    starving = wanted(resources=replace(ROOM, memory_bytes=32 * 2**20))
    await bench.launcher.start(starving)
    look = await until(bench.launcher, starving.replica_id, Phase.EXITED)
    assert look.crashed
    assert look.reason == "it was killed for using more than its 32Mi of memory"


@pytest.mark.parametrize("grace", [0.0, GRACE_SECONDS])
async def test_one_that_hangs_is_silent_and_is_ended_by_force(grace: float, bench: Bench, engine: DockerEngine) -> None:
    await begun(bench)
    await engine.call(lambda client: client.pause(name(bench.launch.replica_id)))
    assert (await bench.launcher.observe(bench.launch.replica_id)).phase is Phase.UNRESPONSIVE
    await bench.launcher.stop(bench.launch.replica_id, grace)
    assert await bench.launcher.list_running() == []


async def test_what_was_made_and_not_started_is_absent_until_it_is_started_again(bench: Bench) -> None:
    launcher = bench.launcher
    assert isinstance(launcher, DockerLauncher)
    await launcher._create(bench.launch, name(bench.launch.replica_id))
    assert (await launcher.observe(bench.launch.replica_id)).phase is Phase.ABSENT
    assert (await launcher.list_running(), await launcher.list_leftovers()) == ([], [bench.launch.replica_id])
    await begun(bench)


async def test_the_containers_of_another_control_plane_are_not_ours(bench: Bench, engine: DockerEngine) -> None:
    await begun(bench)
    folder = Path(tempfile.mkdtemp(prefix="at-"))
    try:
        other = docker_launcher(engine, settings(folder))
        assert (await other.list_running(), await other.list_leftovers()) == ([], [])
        assert (await other.observe(bench.launch.replica_id)).phase is Phase.UNRESPONSIVE, (
            "it cannot prove that it is ours"
        )
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("changes", "image", "kind"),
    [
        ({}, "tests/none:1.0.0", "image_absent"),
        ({}, "a-/b:1.0.0", "image_absent"),
        ({}, "a..b/c:1.0.0", "image_absent"),
        ({}, SLIM, "image_foreign"),
        ({"images": "atelier/*, suoke/*"}, "tests/echo:1.0.0", "image_elsewhere"),
        ({"images": ""}, "tests/echo:1.0.0", "image_elsewhere"),
    ],
)
async def test_images_that_may_not_be_deployed_are_refused(
    changes: dict[str, Any], image: str, kind: str, engine: DockerEngine, told: Settings
) -> None:
    images = DockerImages(engine, own(told, **changes))
    with pytest.raises(ImageRefused) as refused:
        await images.check(image)
    assert refused.value.kind == kind


@pytest.mark.parametrize("user", ["root", "00", "0:1034"])
async def test_images_that_run_as_root_are_refused(user: str, engine: DockerEngine, told: Settings) -> None:
    dockerfile = f"FROM tests/echo:1.0.0\nUSER {user}\n"
    folder = told.storage.home / "rooted"
    folder.mkdir()
    (folder / "Dockerfile").write_text(dockerfile)
    built = "tests/rooted:1.0.0"
    await engine.call(
        lambda client: list(client.build(path=str(folder), tag=built, rm=True, forcerm=True, decode=True))
    )
    try:
        with pytest.raises(ImageRefused) as refused:
            await DockerImages(engine, told.backends.docker).check(built)
        assert refused.value.kind == "image_root"
    finally:
        await engine.call(lambda client: client.remove_image(built))


async def test_an_image_that_was_not_there_when_it_was_deployed_is_refused_when_it_is_started(bench: Bench) -> None:
    with pytest.raises(LaunchRefused, match="slim was not built by BentoML"):
        await bench.launcher.start(wanted(docker_image=SLIM))
    assert await bench.launcher.list_leftovers() == []


async def test_images_of_the_engine_with_an_allowed_name_may_be_deployed(engine: DockerEngine, told: Settings) -> None:
    await DockerImages(engine, told.backends.docker).check("tests/echo:1.0.0")
    await DockerImages(engine, own(told, images="other/*,tests/*")).check("tests/echo:2.0.0")


async def test_what_is_not_in_the_engine_is_refused_unless_it_may_be_pulled(
    engine: DockerEngine, told: Settings
) -> None:
    absent = wanted(docker_image="127.0.0.1:9/tests/none:1.0.0")  # where no registry listens
    with pytest.raises(LaunchRefused, match="has no image"):
        await docker_launcher(engine, told).start(absent)
    await DockerImages(engine, own(told, pull="missing")).check(absent.docker_image)
    launcher = docker_launcher(engine, told, pull="missing")
    await launcher.start(absent)
    assert (await launcher.observe(absent.replica_id)).phase is Phase.STARTING
    look = await until(launcher, absent.replica_id, Phase.EXITED)
    assert "cannot be pulled" in look.reason


async def test_an_image_that_is_missing_is_pulled_where_that_is_allowed(
    engine: DockerEngine, told: Settings, tmp_path: Path
) -> None:
    launcher = docker_launcher(engine, told, pull="missing")
    with registry(tmp_path) as address, pushed(address, "tests/echo:1.0.0") as image:
        pulled, other = wanted(docker_image=image), wanted(docker_image=image)
        for one in (pulled, other):
            await launcher.start(one)
            assert (await launcher.observe(one.replica_id)).phase is Phase.STARTING
        assert list(launcher._pulls.running) == [image], "both wait for one"
        await until(launcher, pulled.replica_id, Phase.ABSENT)  # the image is there: the supervisor starts it again
        await launcher.start(pulled)
        await until(launcher, pulled.replica_id, Phase.READY)
        await launcher.stop(pulled.replica_id, 0.0)
        await launcher.remove_files(pulled.replica_id)


async def test_an_engine_that_is_away_is_no_verdict_on_its_containers(bench: Bench, told: Settings) -> None:
    with EngineSwitch(told.storage.home / "engine.sock", told.backends.docker.socket) as switch:
        engine = DockerEngine(switch.path)
        launcher = docker_launcher(engine, told)
        await launcher.start(bench.launch)
        look = await until(launcher, bench.launch.replica_id, Phase.READY)
        switch.off()
        assert not await engine.answers()
        for asked in (
            launcher.observe(bench.launch.replica_id),
            launcher.start(wanted()),
            launcher.stop(bench.launch.replica_id, GRACE_SECONDS),
            launcher.list_running(),
            launcher.log(bench.launch.replica_id, 5),
            DockerImages(engine, told.backends.docker).check("tests/echo:1.0.0"),
        ):
            with pytest.raises(BackendUnavailable):
                await asked
        assert await launcher.usage([bench.launch.replica_id]) == {}
        switch.on()
        await asyncio.sleep(PING_SECONDS)  # that an answer is good for
        assert await engine.answers()
        assert (await launcher.observe(bench.launch.replica_id)).address == look.address
        await engine.close()


async def test_an_engine_that_is_just_going_is_away(told: Settings) -> None:
    async def going(_: web.Request) -> web.Response:
        return web.json_response({"message": "the daemon is shutting down"}, status=503)

    application = web.Application()
    application.router.add_get("/version", _version)
    application.router.add_route("*", "/{path:.*}", going)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.UnixSite(runner, str(told.storage.home / "going.sock")).start()
    engine = DockerEngine(told.storage.home / "going.sock")
    try:
        assert not await engine.answers()
        with pytest.raises(BackendUnavailable):
            await DockerImages(engine, told.backends.docker).check("tests/echo:1.0.0")
        with pytest.raises(BackendUnavailable):
            await docker_launcher(engine, told).observe("any")
    finally:
        await engine.close()
        await runner.cleanup()


async def _version(_: web.Request) -> web.Response:
    return web.json_response({"ApiVersion": "1.41"})


async def test_an_engine_that_hangs_is_not_waited_for_for_ever(
    bench: Bench, told: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DockerEngine._speaking, "__defaults__", (1,))

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_unix_server(swallow, told.storage.home / "hangs.sock")
    async with server:
        engine = DockerEngine(told.storage.home / "hangs.sock")
        assert not await engine.answers()
        with pytest.raises(BackendUnavailable):
            await docker_launcher(engine, told).list_running()
        await engine.close()
