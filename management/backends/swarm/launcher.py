"""Replicas as services of a Docker Swarm: one of one task each, found again by its name and labels.

Swarm places the task under its reservations, gives it its files and ends it; it never starts it again. As on every
backend, ``host.py`` runs in it, reports its state and proves its identity. Where it is called is read from Swarm each
time, and trusted only with the proof.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import socket
import time
from collections.abc import Collection
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import psutil
from typing_extensions import override

from management.backends.docker import secret_file
from management.backends.docker.client import DockerNotFound, DockerRefused
from management.backends.docker.container import KILLED_STATUSES, arguments, ended
from management.backends.docker.images import bento_path, refused, unfit
from management.backends.docker.pulls import ImagePulls
from management.backends.docker.usage import container_usage
from management.backends.docker.users import ImageUsers
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
from management.backends.replica.files import IN_CONTAINERS
from management.backends.replica.host import KEY_HEADER, key_of
from management.backends.replica.probe import ProbeClient
from management.backends.replica.received_secrets import encoded
from management.backends.swarm import files, service, tasks
from management.backends.swarm.client import SwarmManager
from management.backends.swarm.cluster import Cluster, ClusterView, Description
from management.backends.swarm.service import STOPPED, ServicePlan, is_stopped, name_of
from management.backends.swarm.settings import SwarmSettings
from management.domain.records import Replica
from management.errors import BackendUnavailable
from management.faults import failpoints
from management.settings import ReplicaSettings

STOP_MARGIN_SECONDS: Final = 30.0
"""Seconds beyond the grace in which Swarm must have ended a task, or have given up its node."""
POLL_SECONDS: Final = 0.1
"""Seconds between two looks at a task that is ending."""
CHANGE_ATTEMPTS: Final = 5
"""Times that a service is changed anew because it was changed by another at the same time."""
OUT_OF_SEQUENCE: Final = "out of sequence"
"""In Swarm's refusal of a change to a service that was changed meanwhile."""


class SwarmLauncher(Launcher):
    """The launcher of the swarm backend."""

    def __init__(
        self,
        manager: SwarmManager,
        settings: SwarmSettings,
        replicas: ReplicaSettings,
        home: Path,
        overcommit: float = 1.0,
    ) -> None:
        """``overcommit`` divides what is reserved of a node for each replica, and not its limits."""
        self._manager, self._settings, self._replicas = manager, settings, replicas
        self._overcommit = overcommit
        self._home = home
        self._pulls = ImagePulls(manager, settings.pull)
        self._probes = ProbeClient()
        self._users = ImageUsers(manager)
        self._changing = asyncio.Lock()
        """Held while configs are made for a service, or those are removed that no service refers to."""

    @cached_property
    def _instance(self) -> identity.ControlPlaneIdentity:
        """Identity of this control plane, read once the server has it: several of one database have it in common."""
        return identity.of_home(self._home)

    @cached_property
    def _cluster(self) -> Cluster:
        return Cluster(self._manager, self._instance.id)

    @override
    async def start(self, launch: Launch) -> None:
        """Create the service; an image that the manager does not have is pulled first, if the settings allow it."""
        try:
            if await self._manager.service(name_of(launch.replica_id)) is not None:
                return
            image = await self._manager.image(launch.docker_image)
            if image is None:
                self._pulls.begin(launch)
                return
            if kind := unfit(image):
                raise refused(launch, kind)
            owner = await self._users.number(image)
            if owner is None:
                raise LaunchRefused(f"{launch.docker_image} does not know its own user, who is to read its files")
            if self._settings.address == "overlay":
                await self._join()
            await self._create(launch, image, owner)
        except DockerRefused as error:
            raise LaunchRefused(f"the service cannot be created: {error}") from error
        failpoints.reach("start.spawned")

    async def _join(self) -> None:
        """Make the network. Raises LaunchRefused where this process is not in it: it would reach no replica."""
        await self._manager.make_network(self._settings.network)
        subnets = [ipaddress.ip_network(subnet) for subnet in await self._manager.subnets(self._settings.network)]
        own = [ipaddress.ip_address(each.address.partition("%")[0]) for each in _addresses()]
        if not any(address in subnet for address in own for subnet in subnets):
            raise LaunchRefused(
                f"this server is not in the overlay network {self._settings.network}: run it as a service or container"
                " in it, or set ATELIER_SWARM_ADDRESS=host"
            )

    async def _create(self, launch: Launch, image: dict[str, Any], owner: int) -> None:
        bento = bento_path(image)
        assert bento is not None  # noqa: S101 - an image without it is unfit
        launch_file = {**arguments(bento, self._replicas.stop_seconds), "secrets_read_only": True}
        shared = {
            **{file.name: file.read_bytes() for file in IN_CONTAINERS},
            "launch.json": json.dumps(launch_file).encode(),
        }
        own = {"token": self._instance.token(launch.replica_id)}
        if given := launch.secrets:
            own[secret_file.FILE] = encoded(given.variables, given.files, given.paths)

        def work(client: Any) -> None:
            # Secrets come first: by them what an interrupted start has left is found, and with it the configs.
            secrets = files.put_secrets(client, self._instance.id, launch.replica_id, own, owner)
            configs = files.put_configs(client, self._instance.id, shared)
            plan = ServicePlan(self._found_by(launch.docker_image, image), configs, secrets, self._overcommit)
            self._create_service(client, launch, plan)

        async with self._changing:
            if await self._manager.service(name_of(launch.replica_id)) is None:
                await self._manager.call(work)
                self._cluster.changed()

    def _create_service(self, client: Any, launch: Launch, plan: ServicePlan) -> None:
        version = tuple(int(part) for part in client.api_version.split("."))
        client.create_service(
            service.task_template(launch, plan, self._settings, self._replicas, version),
            name=name_of(launch.replica_id),
            labels=service.labels(launch, self._instance.id),
            mode={"Replicated": {"Replicas": 1}},
            endpoint_spec=service.endpoint(self._settings),
        )

    def _found_by(self, name: str, image: dict[str, Any]) -> str:
        """Return how nodes find the very image that the manager has: by its digest in a registry, or by its id."""
        repository = name.rpartition(":")[0]
        digests = (digest for digest in image.get("RepoDigests") or () if digest.partition("@")[0] == repository)
        digest = next(digests, None) if self._settings.pull == "missing" else None
        return digest or str(image["Id"])

    @override
    async def observe(self, replica_id: str) -> Observation:
        """Observe the task; a replica whose image is being pulled is STARTING."""
        view = await self._cluster.view()
        replica = view.replicas.get(replica_id)
        if replica is None:
            return self._pulls.observation(replica_id)
        known = tasks.observation(replica, view)
        if known is None:
            return await self._probed(replica_id, replica.task, view)
        if known.phase is Phase.EXITED and replica.tasks and tasks.exit_code(replica.task) in KILLED_STATUSES:
            return await self._explained(replica.task, known)
        return known

    async def _probed(self, replica_id: str, task: Description, view: ClusterView) -> Observation:
        address = tasks.address(task, view, self._settings.network)
        if address is None:
            return Observation(Phase.STARTING)
        return await self._probes.observed(address, self._instance.token(replica_id))

    async def _explained(self, task: Description, known: Observation) -> Observation:
        """Return why a task was killed, where its container is on this node: Swarm itself does not say it."""
        if task.get("NodeID") != await self._manager.node_id():
            return known
        container = await self._manager.inspect(tasks.container_of(task))
        if container is None or not container["State"].get("OOMKilled"):
            return known
        return ended(container["State"], tasks.memory_of(task))

    @override
    async def stop(self, replica_id: str, grace_seconds: float) -> None:
        """End the task. Swarm gives every task the grace of ``ATELIER_STOP_SECONDS``, whatever ``grace_seconds`` is.

        Raises BackendUnavailable when Swarm has neither ended it nor given up its node in time.
        """
        self._pulls.forget(replica_id)
        try:
            if await self._mark_stopped(name_of(replica_id)):
                await self._await_end(replica_id)
            await self._manager.call(lambda client: files.remove_secrets(client, self._instance.id, replica_id))
        except DockerRefused as error:
            raise BackendUnavailable({"backend": "swarm", "reason": f"it is not stopped: {error}"}) from error

    async def _mark_stopped(self, name: str) -> bool:
        """Have Swarm end the service's task. Return whether there is such a service."""

        def work(client: Any) -> None:
            found = client.inspect_service(name)
            if is_stopped(found):
                return
            spec = found["Spec"]
            client.update_service(
                found["ID"],
                found["Version"]["Index"],
                task_template=service.stopped_template(spec["TaskTemplate"]),
                name=spec["Name"],
                labels={**spec["Labels"], STOPPED: "true"},
                mode=spec["Mode"],
                endpoint_spec=spec.get("EndpointSpec"),
            )

        for attempt in range(CHANGE_ATTEMPTS):
            try:
                await self._manager.call(work)
            except DockerNotFound:
                return False
            except DockerRefused as error:
                if OUT_OF_SEQUENCE not in str(error) or attempt == CHANGE_ATTEMPTS - 1:
                    raise
            else:
                break
        self._cluster.changed()
        return True

    async def _await_end(self, replica_id: str) -> None:
        deadline = time.monotonic() + self._replicas.stop_seconds + STOP_MARGIN_SECONDS
        while True:
            view = await self._cluster.view_now()
            replica = view.replicas.get(replica_id)
            if replica is None or not any(tasks.is_live(task, view) for task in replica.tasks):
                return
            if time.monotonic() > deadline:
                raise BackendUnavailable({"backend": "swarm", "reason": "Swarm does not end a task in time"})
            await asyncio.sleep(POLL_SECONDS)

    @override
    async def usage(self, replica_ids: Collection[str]) -> dict[str, ReplicaUsage]:
        """Return the measurements of this node's engine; replicas on other nodes are left out."""
        try:
            view, node = await self._cluster.view(), await self._manager.node_id()
        except BackendUnavailable:
            return {}
        containers = {
            replica_id: tasks.container_of(view.replicas[replica_id].task)
            for replica_id in replica_ids
            if replica_id in view.replicas
            and view.replicas[replica_id].tasks
            and view.replicas[replica_id].task.get("NodeID") == node
        }
        usages = await asyncio.gather(*(container_usage(self._manager, each) for each in containers.values()))
        return {replica_id: used for replica_id, used in zip(containers, usages, strict=True) if used is not None}

    @override
    async def list_running(self) -> list[str]:
        """Return the ids of all replicas with a task that Swarm runs, or may come to run."""
        view = await self._cluster.view_now()
        return [
            replica_id
            for replica_id, replica in view.replicas.items()
            if any(tasks.is_live(task, view) for task in replica.tasks)
        ]

    @override
    async def list_leftovers(self) -> list[str]:
        """Return the ids of all services, in any state, and of secrets without a service."""
        try:
            secrets = await self._manager.call(lambda client: files.with_secrets(client, self._instance.id))
        except DockerRefused as error:
            raise BackendUnavailable({"backend": "swarm", "reason": str(error)}) from error
        return sorted(secrets | set((await self._cluster.view_now()).replicas))

    @override
    async def log(self, replica_id: str, lines: int) -> list[str]:
        """Return the last lines of the log, which exists as long as the service does, and its node.

        Swarm would wait without end for the log of a node that is lost.
        """
        view = await self._cluster.view()
        replica = view.replicas.get(replica_id)
        if replica is None or not replica.tasks or tasks.is_lost(replica.task, view):
            return []

        def work(client: Any) -> bytes:
            pieces = client.service_logs(name_of(replica_id), stdout=True, stderr=True, tail=lines, is_tty=False)
            return b"".join(pieces)

        try:
            content = await self._manager.call(work)
        except DockerRefused:
            return []
        return content[-TAIL_BYTES:].decode(errors="replace").splitlines()[-lines:]

    @override
    async def remove_files(self, replica_id: str) -> None:
        """Remove the service, its secrets, and the configs that no service refers to any more."""

        def work(client: Any) -> None:
            files.remove_secrets(client, self._instance.id, replica_id)
            files.sweep_configs(client, self._instance.id)

        try:
            with suppress(DockerNotFound):
                await self._manager.call(lambda client: client.remove_service(name_of(replica_id)))
            async with self._changing:
                await self._manager.call(work)
        except DockerRefused as error:
            raise BackendUnavailable({"backend": "swarm", "reason": f"it is not removed: {error}"}) from error
        finally:
            self._cluster.changed()

    def headers(self, replica: Replica) -> dict[str, str]:
        """Return the key that the replica requires: others can reach its port."""
        return {KEY_HEADER: key_of(self._instance.token(replica.id))}

    async def close(self) -> None:
        """Close the connections to replicas and to the manager."""
        await self._probes.close()
        await self._manager.close()


def _addresses() -> list[Any]:
    """Return the addresses of this process's network interfaces."""
    families = (socket.AF_INET, socket.AF_INET6)
    return [each for own in psutil.net_if_addrs().values() for each in own if each.family in families]
