"""Replicas as containers of this machine's Docker Engine: one each, named and labelled, so that they are found again.

In the container runs ``host.py``, which is copied into it before it starts with what it runs by path, and the
Bento that the image holds: one process that tells its state and proves to be ours, as everywhere. It is published on a
loopback port that the engine chooses; the port is read from the engine each time, and believed only with the proof.

A container has no capability, no way to more privileges, no mount, no namespace of the host's, as many processes,
cores and bytes as it was deployed with, and a network on which it does not reach its neighbours.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Collection
from contextlib import suppress
from math import ceil
from typing import Any, Final

from typing_extensions import override

from management.backends.base import (
    TAIL_BYTES,
    Launch,
    Launcher,
    LaunchRefused,
    Observation,
    Phase,
    ReplicaUsage,
)
from management.backends.docker.client import DockerEngine, DockerNotFound, DockerRefused
from management.backends.docker.container import PORT, archive, ended, limits
from management.backends.docker.images import UNFIT, bento_path, unfit
from management.backends.replica import identity, probe
from management.backends.replica.environment import MARKER, for_model
from management.backends.replica.files import ARBITER, HOST, IN_CONTAINERS
from management.backends.replica.host import KEY_HEADER, key_of
from management.domain.records import Replica
from management.errors import BackendUnavailable
from management.faults import failpoints
from management.settings import Settings

FOLDER: Final = "atelier"
"""In a container's root: what the replica host finds its arguments in."""
INSTANCE: Final = "atelier.instance"
REPLICA: Final = "atelier.replica"
MODEL: Final = "atelier.model"
LEAST_STOP_SECONDS: Final = 1.0

logger = logging.getLogger(__name__)


class DockerLauncher(Launcher):
    """The launcher of the docker backend."""

    def __init__(self, engine: DockerEngine, settings: Settings) -> None:
        self._engine, self._settings = engine, settings
        self._pulls: dict[str, asyncio.Task[None]] = {}
        """By image: several replicas wait for one."""
        self._waiting: dict[str, str] = {}
        """The image that each replica waits for."""
        self._refusals: dict[str, str] = {}
        self._cores: int | None = None
        self._instance = identity.of_home(settings.home)

    @override
    async def start(self, launch: Launch) -> None:
        """A missing image is pulled first, if the settings allow it."""
        name = _name(launch.replica_id)
        try:
            found = await self._engine.inspect(name)
            if found is None:
                image = await self._engine.image(launch.docker_image)
                if image is None:
                    self._pull(launch)
                    return
                if kind := unfit(image):
                    raise _refused(launch, kind)
                await self._create(launch, name)
                failpoints.reach("start.spawned")
                found = await self._engine.inspect(name)
            if found is not None and found["State"]["Status"] == "created":
                await self._begin(launch, found)
        except DockerRefused as error:
            raise LaunchRefused(f"the container cannot be started: {error}") from error

    async def _create(self, launch: Launch, name: str) -> None:
        await self._engine.make_network(self._settings.docker_network)
        cores = await self._all_cores()

        def work(client: Any) -> None:
            client.create_container(
                launch.docker_image,
                ["python", f"/{FOLDER}/{HOST.name}", f"/{FOLDER}"],
                name=name,
                environment={**for_model(launch), MARKER: launch.replica_id},
                labels={INSTANCE: self._instance.id, REPLICA: launch.replica_id, MODEL: launch.model_id},
                ports=[PORT],
                healthcheck={"test": ["NONE"]},  # the image's looks at another port
                host_config=client.create_host_config(**limits(launch, cores, self._settings)),
            )

        try:
            await self._engine.call(work)
        except DockerRefused as error:
            if error.status != 409:  # else somebody else has just made it
                raise

    async def _begin(self, launch: Launch, container: dict[str, Any]) -> None:
        """Gives it its arguments, then starts it; twice is harmless, what it gets is the same."""
        image = await self._engine.image(container["Image"])  # not the container's variables: callers set those
        bento = None if image is None else bento_path(image)
        if bento is None:
            raise _refused(launch, "image_foreign")
        arbiter = f"/{FOLDER}/{ARBITER.name}"
        told = {"bento": bento, "arbiter": arbiter, "port": PORT, "stop_seconds": self._settings.stop_seconds}
        files = {
            **{file.name: file.read_bytes() for file in IN_CONTAINERS},
            "launch.json": json.dumps(told).encode(),
            "token": self._instance.token(launch.replica_id),
        }
        packed = archive(FOLDER, files)
        await self._engine.call(lambda client: client.put_archive(container["Id"], "/", packed))
        await self._engine.call(lambda client: client.start(container["Id"]))

    def _pull(self, launch: Launch) -> None:
        """Begins it, once for all who wait; what comes of it is seen by ``observe``.

        It goes on when a replica has waited for longer than a start may last, so that a later one finds the image.
        """
        image = launch.docker_image
        if self._settings.docker_pull == "never":
            raise LaunchRefused(f"the engine has no image {image}")
        self._waiting[launch.replica_id] = image
        if image not in self._pulls:
            self._pulls[image] = asyncio.create_task(self._pulled(image))

    async def _pulled(self, image: str) -> None:
        refusal = None
        try:
            await self._engine.pull(image)
        except DockerRefused as error:
            refusal = f"the image {image} cannot be pulled: {error}"
        except BackendUnavailable:  # it is begun again with the next start
            logger.warning("pulling %s broke off", image)
        finally:
            del self._pulls[image]
            for replica_id in [one for one, awaited in self._waiting.items() if awaited == image]:
                del self._waiting[replica_id]
                if refusal is not None:
                    self._refusals[replica_id] = refusal

    @override
    async def observe(self, replica_id: str) -> Observation:
        """A replica whose image is being pulled is STARTING."""
        found = await self._engine.inspect(_name(replica_id))
        if found is None:
            if replica_id in self._waiting:
                return Observation(Phase.STARTING)
            reason = self._refusals.pop(replica_id, None)
            return Observation(Phase.ABSENT) if reason is None else Observation(Phase.EXITED, reason=reason)
        state = found["State"]
        if state["Status"] == "created":
            return Observation(Phase.ABSENT)
        if not state["Running"]:
            return ended(state, found["HostConfig"]["Memory"])
        return await self._look(replica_id, found)

    async def _look(self, replica_id: str, container: dict[str, Any]) -> Observation:
        """At one that runs."""
        published = (container["NetworkSettings"]["Ports"] or {}).get(f"{PORT}/tcp") or ()
        if not published:
            return Observation(Phase.STARTING)
        address = f"http://127.0.0.1:{published[0]['HostPort']}"
        try:
            said = await probe.at(address, self._instance.token(replica_id))
        except probe.NotObserved:
            return Observation(Phase.UNKNOWN)
        except TimeoutError:
            return Observation(Phase.UNRESPONSIVE, address)
        except OSError:  # the engine listens, and nobody behind it
            return Observation(Phase.STARTING, address)
        if said is None:
            return Observation(Phase.UNRESPONSIVE, address)
        return Observation(Phase.READY if said.ready else Phase.STARTING, address, said.in_flight)

    @override
    async def stop(self, replica_id: str, grace_seconds: float) -> None:
        self._waiting.pop(replica_id, None)
        self._refusals.pop(replica_id, None)
        name = _name(replica_id)
        with suppress(DockerNotFound):
            if grace_seconds < LEAST_STOP_SECONDS or not await self._stopped(name, ceil(grace_seconds)):
                await self._kill(name)

    async def _stopped(self, name: str, seconds: int) -> bool:
        """Whether the engine ended it; one that is paused, for example, it does not."""
        try:
            await self._engine.call_patiently(lambda client: client.stop(name, timeout=seconds))
        except DockerNotFound:
            raise
        except DockerRefused:
            return False
        return True

    async def _kill(self, name: str) -> None:
        try:
            await self._engine.call(lambda client: client.kill(name))
            seconds = ceil(self._settings.stop_seconds)
            await self._engine.call_patiently(lambda client: client.wait(name, timeout=seconds))
        except DockerRefused as error:
            if error.status != 409:  # else it does not run
                raise

    @override
    async def usage(self, replica_ids: Collection[str]) -> dict[str, ReplicaUsage]:
        """Measured by the engine."""
        found = await asyncio.gather(*map(self._used, replica_ids))  # who does not answer is left out
        return {one: used for one, used in zip(replica_ids, found, strict=True) if used is not None}

    async def _used(self, replica_id: str) -> ReplicaUsage | None:
        try:
            told = await self._engine.call(lambda client: client.stats(_name(replica_id), stream=False, one_shot=True))
        except (DockerRefused, BackendUnavailable):
            return None
        memory = told.get("memory_stats") or {}
        if "usage" not in memory:  # it ended
            return None
        details = memory.get("stats") or {}
        cached = details.get("total_inactive_file", details.get("inactive_file", 0))
        return ReplicaUsage(told["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9, max(0, memory["usage"] - cached))

    @override
    async def list_running(self) -> list[str]:
        return [one["Labels"][REPLICA] for one in await self._containers() if one["State"] in ("running", "paused")]

    @override
    async def list_leftovers(self) -> list[str]:
        """Every container, in whatever state."""
        return [one["Labels"][REPLICA] for one in await self._containers()]

    async def _containers(self) -> list[dict[str, Any]]:
        """Those of this control plane; another one's, on the same engine, are none of its business."""
        ours = {"label": [f"{INSTANCE}={self._instance.id}", REPLICA]}
        found: list[dict[str, Any]] = await self._engine.call(lambda client: client.containers(all=True, filters=ours))
        return found

    @override
    async def log(self, replica_id: str, lines: int) -> list[str]:
        """Available as long as the container exists."""
        try:
            told: bytes = await self._engine.call(lambda client: client.logs(_name(replica_id), tail=lines))
        except DockerNotFound:
            return []
        return told[-TAIL_BYTES:].decode(errors="replace").splitlines()[-lines:]

    @override
    async def remove_files(self, replica_id: str) -> None:
        with suppress(DockerNotFound):
            await self._engine.call(lambda client: client.remove_container(_name(replica_id), v=True, force=True))

    def headers(self, replica: Replica) -> dict[str, str]:
        """What the replica knows the gateway by: its port is open to whoever is on this machine."""
        return {KEY_HEADER: key_of(self._instance.token(replica.id))}

    async def _all_cores(self) -> int:
        if self._cores is None:
            self._cores = await self._engine.cores()
        return self._cores


def _refused(launch: Launch, kind: str) -> LaunchRefused:
    """As the API refuses such an image; this one was not there when it was deployed."""
    return LaunchRefused(f"{launch.docker_image} {UNFIT[kind]}")


def _name(replica_id: str) -> str:
    return f"atelier-{replica_id}"
