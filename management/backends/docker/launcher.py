"""Replicas as containers of this machine's Docker Engine: one each, found again by its name and labels.

The container runs ``host.py``, which is copied into it before its start, with the Bento of the image. As on every
backend, this one process reports its state and proves its identity. It is published on a loopback port that the engine
chooses. The port is read from the engine each time, and trusted only with the proof.

A container has no capability, no way to gain privileges, no mount and no namespace of the host. Its processes, cores
and memory are limited. On its network it cannot reach other containers.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Collection
from contextlib import suppress
from math import ceil
from pathlib import Path
from typing import Any, Final

from typing_extensions import override

from management.backends.docker.client import DockerEngine, DockerNotFound, DockerRefused
from management.backends.docker.container import PORT, archive, ended, limits
from management.backends.docker.images import UNFIT, bento_path, unfit
from management.backends.docker.settings import DockerSettings
from management.backends.launcher import (
    TAIL_BYTES,
    Launch,
    Launcher,
    LaunchRefused,
    Observation,
    Phase,
    ReplicaUsage,
)
from management.backends.replica import identity, probe
from management.backends.replica.environment import MARKER, for_model
from management.backends.replica.files import ARBITER, HOST, IN_CONTAINERS
from management.backends.replica.host import KEY_HEADER, key_of
from management.domain.records import Replica
from management.errors import BackendUnavailable
from management.faults import failpoints
from management.settings import ReplicaSettings

FOLDER: Final = "atelier"
"""Folder in the container's root with the replica host and its arguments."""
INSTANCE: Final = "atelier.instance"
"""Label with the id of the control plane."""
REPLICA: Final = "atelier.replica"
"""Label with the replica's id."""
MODEL: Final = "atelier.model"
"""Label with the model's id."""
MIN_STOP_SECONDS: Final = 1.0
"""Seconds of grace below which a container is killed at once; the engine counts whole seconds."""

logger = logging.getLogger(__name__)


class DockerLauncher(Launcher):
    """The launcher of the docker backend."""

    def __init__(self, engine: DockerEngine, settings: DockerSettings, replicas: ReplicaSettings, home: Path) -> None:
        self._engine, self._settings = engine, settings
        self._stop_seconds, self._log_bytes = replicas.stop_seconds, replicas.log_bytes
        self._pulls: dict[str, asyncio.Task[None]] = {}
        """Running pulls by image; several replicas may wait for one."""
        self._waiting: dict[str, str] = {}
        """The image that each replica waits for, by replica id."""
        self._refusals: dict[str, str] = {}
        """Why a replica's image cannot be pulled, by replica id."""
        self._cores: int | None = None
        self._instance = identity.of_home(home)

    @override
    async def start(self, launch: Launch) -> None:
        """Create and start the container; a missing image is pulled first, if the settings allow it."""
        name = _name(launch.replica_id)
        try:
            container = await self._engine.inspect(name)
            if container is None:
                image = await self._engine.image(launch.docker_image)
                if image is None:
                    self._pull(launch)
                    return
                if kind := unfit(image):
                    raise _refused(launch, kind)
                await self._create(launch, name)
                failpoints.reach("start.spawned")
                container = await self._engine.inspect(name)
            if container is not None and container["State"]["Status"] == "created":
                await self._begin(launch, container)
        except DockerRefused as error:
            raise LaunchRefused(f"the container cannot be started: {error}") from error

    async def _create(self, launch: Launch, name: str) -> None:
        await self._engine.make_network(self._settings.network)
        cores = await self._engine_cores()

        def work(client: Any) -> None:
            client.create_container(
                launch.docker_image,
                ["python", f"/{FOLDER}/{HOST.name}", f"/{FOLDER}"],
                name=name,
                environment={**for_model(launch), MARKER: launch.replica_id},
                labels={INSTANCE: self._instance.id, REPLICA: launch.replica_id, MODEL: launch.model_id},
                ports=[PORT],
                healthcheck={"test": ["NONE"]},  # the image's own check uses another port
                host_config=client.create_host_config(**limits(launch, cores, self._settings, self._log_bytes)),
            )

        try:
            await self._engine.call(work)
        except DockerRefused as error:
            if error.status != 409:  # another call has just created it
                raise

    async def _begin(self, launch: Launch, container: dict[str, Any]) -> None:
        """Copy the arguments into the container and start it; a second call copies the same files."""
        image = await self._engine.image(container["Image"])  # not the container's own variables, which callers set
        bento = None if image is None else bento_path(image)
        if bento is None:
            raise _refused(launch, "image_foreign")
        arbiter = f"/{FOLDER}/{ARBITER.name}"
        arguments = {"bento": bento, "arbiter": arbiter, "port": PORT, "stop_seconds": self._stop_seconds}
        files = {
            **{file.name: file.read_bytes() for file in IN_CONTAINERS},
            "launch.json": json.dumps(arguments).encode(),
            "token": self._instance.token(launch.replica_id),
        }
        content = archive(FOLDER, files)
        await self._engine.call(lambda client: client.put_archive(container["Id"], "/", content))
        await self._engine.call(lambda client: client.start(container["Id"]))

    def _pull(self, launch: Launch) -> None:
        """Begin to pull the image, once for all replicas that wait for it; ``observe`` reports the outcome.

        The pull goes on after a replica's time to start is over, so that a later replica finds the image.
        """
        image = launch.docker_image
        if self._settings.pull == "never":
            raise LaunchRefused(f"the engine has no image {image}")
        self._waiting[launch.replica_id] = image
        if image not in self._pulls:
            self._pulls[image] = asyncio.create_task(self._pull_image(image))

    async def _pull_image(self, image: str) -> None:
        refusal = None
        try:
            await self._engine.pull(image)
        except DockerRefused as error:
            refusal = f"the image {image} cannot be pulled: {error}"
        except BackendUnavailable:  # the next start begins it again
            logger.warning("pulling %s was interrupted", image)
        finally:
            del self._pulls[image]
            for replica_id in [waiting for waiting, awaited in self._waiting.items() if awaited == image]:
                del self._waiting[replica_id]
                if refusal is not None:
                    self._refusals[replica_id] = refusal

    @override
    async def observe(self, replica_id: str) -> Observation:
        """Observe the container; a replica whose image is being pulled is STARTING."""
        container = await self._engine.inspect(_name(replica_id))
        if container is None:
            if replica_id in self._waiting:
                return Observation(Phase.STARTING)
            reason = self._refusals.pop(replica_id, None)
            return Observation(Phase.ABSENT) if reason is None else Observation(Phase.EXITED, reason=reason)
        state = container["State"]
        if state["Status"] == "created":
            return Observation(Phase.ABSENT)
        if not state["Running"]:
            return ended(state, container["HostConfig"]["Memory"])
        return await self._look(replica_id, container)

    async def _look(self, replica_id: str, container: dict[str, Any]) -> Observation:
        """Observe a running container."""
        published = (container["NetworkSettings"]["Ports"] or {}).get(f"{PORT}/tcp") or ()
        if not published:
            return Observation(Phase.STARTING)
        address = f"http://127.0.0.1:{published[0]['HostPort']}"
        try:
            answer = await probe.at(address, self._instance.token(replica_id))
        except probe.NotObserved:
            return Observation(Phase.UNKNOWN)
        except TimeoutError:
            return Observation(Phase.UNRESPONSIVE, address)
        except OSError:  # the engine listens, but the container does not yet
            return Observation(Phase.STARTING, address)
        if answer is None:
            return Observation(Phase.UNRESPONSIVE, address)
        return Observation(Phase.READY if answer.ready else Phase.STARTING, address, answer.in_flight)

    @override
    async def stop(self, replica_id: str, grace_seconds: float) -> None:
        self._waiting.pop(replica_id, None)
        self._refusals.pop(replica_id, None)
        name = _name(replica_id)
        with suppress(DockerNotFound):
            if grace_seconds < MIN_STOP_SECONDS or not await self._stopped(name, ceil(grace_seconds)):
                await self._kill(name)

    async def _stopped(self, name: str, seconds: int) -> bool:
        """Return whether the engine stopped the container. It refuses to stop a paused one, for example."""
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
            seconds = ceil(self._stop_seconds)
            await self._engine.call_patiently(lambda client: client.wait(name, timeout=seconds))
        except DockerRefused as error:
            if error.status != 409:  # the container does not run
                raise

    @override
    async def usage(self, replica_ids: Collection[str]) -> dict[str, ReplicaUsage]:
        """Return the engine's own measurements; replicas without one are left out."""
        usages = await asyncio.gather(*map(self._usage, replica_ids))
        return {replica_id: usage for replica_id, usage in zip(replica_ids, usages, strict=True) if usage is not None}

    async def _usage(self, replica_id: str) -> ReplicaUsage | None:
        try:
            stats = await self._engine.call(lambda client: client.stats(_name(replica_id), stream=False, one_shot=True))
        except (DockerRefused, BackendUnavailable):
            return None
        memory = stats.get("memory_stats") or {}
        if "usage" not in memory:  # the container ended
            return None
        details = memory.get("stats") or {}
        cached = details.get("total_inactive_file", details.get("inactive_file", 0))
        return ReplicaUsage(stats["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9, max(0, memory["usage"] - cached))

    @override
    async def list_running(self) -> list[str]:
        containers = await self._containers()
        return [container["Labels"][REPLICA] for container in containers if container["State"] in ("running", "paused")]

    @override
    async def list_leftovers(self) -> list[str]:
        """Return the ids of all containers, in any state."""
        return [container["Labels"][REPLICA] for container in await self._containers()]

    async def _containers(self) -> list[dict[str, Any]]:
        """Return the containers of this control plane; others on the same engine have other labels."""
        filters = {"label": [f"{INSTANCE}={self._instance.id}", REPLICA]}
        containers: list[dict[str, Any]] = await self._engine.call(
            lambda client: client.containers(all=True, filters=filters)
        )
        return containers

    @override
    async def log(self, replica_id: str, lines: int) -> list[str]:
        """Return the last lines of the log, which exists as long as the container does."""
        try:
            content: bytes = await self._engine.call(lambda client: client.logs(_name(replica_id), tail=lines))
        except DockerNotFound:
            return []
        return content[-TAIL_BYTES:].decode(errors="replace").splitlines()[-lines:]

    @override
    async def remove_files(self, replica_id: str) -> None:
        with suppress(DockerNotFound):
            await self._engine.call(lambda client: client.remove_container(_name(replica_id), v=True, force=True))

    def headers(self, replica: Replica) -> dict[str, str]:
        """Return the key that the replica requires: every process of this machine can reach its port."""
        return {KEY_HEADER: key_of(self._instance.token(replica.id))}

    async def _engine_cores(self) -> int:
        if self._cores is None:
            self._cores = await self._engine.cores()
        return self._cores


def _refused(launch: Launch, kind: str) -> LaunchRefused:
    """Return the error for an unfit image that the engine did not have at its deployment."""
    return LaunchRefused(f"{launch.docker_image} {UNFIT[kind]}")


def _name(replica_id: str) -> str:
    return f"atelier-{replica_id}"
