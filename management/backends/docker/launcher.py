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
from collections.abc import Collection
from contextlib import suppress
from functools import cached_property
from math import ceil
from pathlib import Path
from typing import Any, Final

from typing_extensions import override

from management.backends.docker import secret_file
from management.backends.docker.client import DockerEngine, DockerNotFound, DockerRefused
from management.backends.docker.container import (
    FOLDER,
    INSTANCE,
    MODEL,
    PORT,
    REPLICA,
    archive,
    arguments,
    ended,
    limits,
)
from management.backends.docker.images import bento_path, refused, unfit
from management.backends.docker.pulls import ImagePulls
from management.backends.docker.settings import DockerSettings
from management.backends.docker.usage import container_usage
from management.backends.launcher import (
    TAIL_BYTES,
    Launch,
    Launcher,
    LaunchRefused,
    Observation,
    Phase,
    ReplicaUsage,
)
from management.backends.replica import identity
from management.backends.replica.environment import MARKER, for_model
from management.backends.replica.files import HOST, IN_CONTAINERS
from management.backends.replica.host import KEY_HEADER, key_of
from management.backends.replica.probe import ProbeClient
from management.domain.records import Replica
from management.faults import failpoints
from management.settings import ReplicaSettings

MIN_STOP_SECONDS: Final = 1.0
"""Seconds of grace below which a container is killed at once; the engine counts whole seconds."""


class DockerLauncher(Launcher):
    """The launcher of the docker backend."""

    def __init__(self, engine: DockerEngine, settings: DockerSettings, replicas: ReplicaSettings, home: Path) -> None:
        self._engine, self._settings = engine, settings
        self._stop_seconds, self._log_bytes = replicas.stop_seconds, replicas.log_bytes
        self._pulls = ImagePulls(engine, settings.pull)
        self._probes = ProbeClient()
        self._cores: int | None = None
        self._home_folder = home

    @cached_property
    def _instance(self) -> identity.ControlPlaneIdentity:
        """Identity of this control plane, read once the server has it: several of one database have it in common."""
        return identity.of_home(self._home_folder)

    @override
    async def start(self, launch: Launch) -> None:
        """Create and start the container; a missing image is pulled first, if the settings allow it."""
        name = _name(launch.replica_id)
        try:
            container = await self._engine.inspect(name)
            if container is None:
                image = await self._engine.image(launch.docker_image)
                if image is None:
                    self._pulls.begin(launch)
                    return
                if kind := unfit(image):
                    raise refused(launch, kind)
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
                labels={
                    **{INSTANCE: self._instance.id, REPLICA: launch.replica_id, MODEL: launch.model_id},
                    **({secret_file.LABEL: "given"} if launch.secrets else {}),
                },
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
            raise refused(launch, "image_foreign")
        files = {
            **{file.name: file.read_bytes() for file in IN_CONTAINERS},
            "launch.json": json.dumps(arguments(bento, self._stop_seconds)).encode(),
            "token": self._instance.token(launch.replica_id),
        }
        private, owner = await secret_file.private_files(self._engine, launch, container)
        content = archive(FOLDER, files, private, owner)
        await self._engine.call(lambda client: client.put_archive(container["Id"], "/", content))
        await self._engine.call(lambda client: client.start(container["Id"]))

    @override
    async def observe(self, replica_id: str) -> Observation:
        """Observe the container; a replica whose image is being pulled is STARTING."""
        container = await self._engine.inspect(_name(replica_id))
        if container is None:
            return self._pulls.observation(replica_id)
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
        return await self._probes.observed(
            f"http://127.0.0.1:{published[0]['HostPort']}", self._instance.token(replica_id)
        )

    @override
    async def stop(self, replica_id: str, grace_seconds: float) -> None:
        self._pulls.forget(replica_id)
        name = _name(replica_id)
        with suppress(DockerNotFound):
            if grace_seconds < MIN_STOP_SECONDS or not await self._stopped(name, ceil(grace_seconds)):
                await self._kill(name)
            await secret_file.wipe(self._engine, name, FOLDER)

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
        usages = await asyncio.gather(*(container_usage(self._engine, _name(replica_id)) for replica_id in replica_ids))
        return {replica_id: used for replica_id, used in zip(replica_ids, usages, strict=True) if used is not None}

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

    async def close(self) -> None:
        """Close the connections to replicas and to the engine."""
        await self._probes.close()
        await self._engine.close()

    async def _engine_cores(self) -> int:
        if self._cores is None:
            self._cores = await self._engine.cores()
        return self._cores


def _name(replica_id: str) -> str:
    return f"atelier-{replica_id}"
