"""Replicas as Pods of a Kubernetes cluster: one each, found again by its name and labels.

The Pod runs ``host.py``, which a Secret brings in, with the Bento of the image. As on every backend, this one process
reports its state and proves its identity. It is called at the Pod's address.

The cluster places, isolates and ends replicas, and starts none again: ``restartPolicy`` is ``Never``, and no controller
of Kubernetes has a part. A stopped Pod stays, with its log, until its files are removed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from typing_extensions import override

from management.backends.kubernetes import manifest
from management.backends.kubernetes.client import KubernetesApi, KubernetesNotFound, KubernetesRefused, unavailable
from management.backends.kubernetes.manifest import INSTANCE, REPLICA, PodTerms
from management.backends.kubernetes.pod_cache import PodCache
from management.backends.kubernetes.pod_metrics import WINDOW_SECONDS, PodMetrics
from management.backends.kubernetes.pod_state import PodState
from management.backends.kubernetes.settings import KubernetesSettings
from management.backends.launcher import (
    Launch,
    Launcher,
    LaunchRefused,
    Observation,
    Phase,
    ReplicaUsage,
)
from management.backends.replica import identity, probe
from management.backends.replica.host import KEY_HEADER, key_of
from management.domain.records import Replica
from management.faults import failpoints
from management.settings import ReplicaSettings

KUBELET_SECONDS: Final = 8.0
"""Seconds that a kubelet may take to end a Pod, beyond the Pod's grace period."""
ENDING_SECONDS: Final = 0.2
"""Seconds between two looks at a container that is being ended."""
GONE_SECONDS: Final = 15.0
"""Seconds that a Pod may take to disappear once it is deleted."""

logger = logging.getLogger(__name__)


class KubernetesLauncher(Launcher):
    """The launcher of the kubernetes backend."""

    usage_seconds = WINDOW_SECONDS

    def __init__(self, api: KubernetesApi, settings: KubernetesSettings, replicas: ReplicaSettings, home: Path) -> None:
        self._api, self._settings, self._home = api, settings, home
        self._stop_seconds = replicas.stop_seconds
        self._probes = probe.ProbeClient()
        self._changed: Callable[[str], None] = _ignore
        self._took_back: set[str] = set()
        """Replicas whose given secrets are no longer in the cluster."""

    @cached_property
    def _instance(self) -> identity.ControlPlaneIdentity:
        """Identity of this control plane, read once the server has it: several of one database have it in common."""
        return identity.of_home(self._home)

    @cached_property
    def _terms(self) -> PodTerms:
        return PodTerms(self._instance.id, self._stop_seconds, self._settings)

    @cached_property
    def _selector(self) -> str:
        return f"{INSTANCE}={self._instance.id}"

    @cached_property
    def _cache(self) -> PodCache:
        return PodCache(self._api, f"{self._selector},{REPLICA}", lambda state: self._changed(_replica_id(state)))

    @cached_property
    def _metrics(self) -> PodMetrics:
        return PodMetrics(self._api, self._selector)

    @override
    def on_change(self, changed: Callable[[str], None]) -> None:
        """Have ``changed`` called at each change of a Pod."""
        self._changed = changed

    @override
    async def start(self, launch: Launch) -> None:
        """Create the Secrets, then the Pod: until there is one, the replica is ABSENT, and a second call goes on."""
        try:
            pod = manifest.pod(launch, self._terms)
            secrets = [manifest.files_secret(launch, self._terms, self._instance.token(launch.replica_id))]
            if launch.secrets:
                secrets.append(manifest.given_secret(launch, self._terms))
        except ValueError as error:
            raise LaunchRefused(str(error)) from error
        try:
            for secret in secrets:
                await self._create(self._api.create_secret(secret))
            made = await self._create(self._api.create_pod(pod))
            failpoints.reach("start.spawned")
            if made is None:
                await self._check_own(launch)
                return
            self._cache.learn(made)
            for secret in secrets:
                with suppress(KubernetesRefused):  # else ``remove_files`` removes it
                    await self._api.own_secret(secret["metadata"]["name"], made)
        except KubernetesRefused as error:
            raise LaunchRefused(f"Kubernetes does not take the Pod: {error}") from error

    async def _create(self, creating: Any) -> dict[str, Any] | None:
        """Return what was created; None when an earlier call has done it."""
        try:
            made: dict[str, Any] = await creating
        except KubernetesRefused as error:
            if error.status != 409:
                raise
            return None
        return made

    async def _check_own(self, launch: Launch) -> None:
        """Keep the Pod that an earlier call created. Raises LaunchRefused when it is not ours."""
        pod = await self._api.pod(manifest.name(launch.replica_id))
        if pod is None:
            return
        if (pod["metadata"].get("labels") or {}).get(INSTANCE) != self._instance.id:
            raise LaunchRefused("another control plane has a Pod of its name")
        self._cache.learn(pod)

    @override
    async def observe(self, replica_id: str) -> Observation:
        """Observe by the cache, and by the replica's own answer once its container runs."""
        state = await self._cache.pod(manifest.name(replica_id))
        if state is None:
            return Observation(Phase.ABSENT)
        verdict = state.verdict()
        return await self._ask(replica_id, state) if verdict is None else verdict

    async def _ask(self, replica_id: str, state: PodState) -> Observation:
        """Observe a running container. One that answers is not lost, whatever the cluster hears of its node."""
        address = state.address
        answer, phase = None, Phase.UNRESPONSIVE
        try:
            answer = await self._probes.at(address, self._instance.token(replica_id))
        except probe.NotObserved:
            return Observation(Phase.UNKNOWN)
        except TimeoutError:
            pass
        except OSError:  # nothing listens there yet, or no way leads there
            phase = Phase.STARTING
        if answer is not None:
            phase = Phase.READY if answer.ready else Phase.STARTING
            await self._take_back_secrets(replica_id, state)
            return Observation(phase, address, answer.in_flight, leaving=state.leaving)
        return state.lost() if state.node_is_silent else Observation(phase, address, leaving=state.leaving)

    async def _take_back_secrets(self, replica_id: str, state: PodState) -> None:
        """Delete the Secret with given secrets, which a replica that answers has read."""
        if state.was_given_secrets and replica_id not in self._took_back:
            await self._api.delete_secret(manifest.given_name(replica_id))
            self._took_back.add(replica_id)

    @override
    async def stop(self, replica_id: str, grace_seconds: float) -> None:
        """Have the kubelet end the container, and keep the Pod for its log.

        The grace period is that of the Pod, ``stop_seconds``. A Pod without a node is deleted. So is one whose node is
        silent, by force: its name is free at once, although its container may run on until the node is back. Names are
        never used again, and nothing calls that container.

        Raises BackendUnavailable when the Pod runs on.
        """
        name = manifest.name(replica_id)
        pod = await self._api.pod(name)
        with suppress(KubernetesNotFound):
            if pod is not None and not PodState(pod).ended:
                self._cache.learn(pod)
                await self._end(replica_id, PodState(pod))
        await self._api.delete_secret(manifest.given_name(replica_id))

    async def _end(self, replica_id: str, state: PodState) -> None:
        name = state.name
        if state.node and not state.leaving and not state.node_is_silent:
            self._cache.learn(await self._api.end_pod(name))
            seconds = self._terms.stop_seconds + KUBELET_SECONDS
            if await self._cache.until(name, lambda now: now is None or now.ended or now.node_is_silent, seconds):
                state = await self._cache.pod(name) or state
                if not state.node_is_silent and await self._left(replica_id, state, seconds):
                    return
        await self._delete(name, state)

    async def _left(self, replica_id: str, state: PodState, seconds: float) -> bool:
        """Wait until the container of an ended Pod has left its address. Return False where it does not in time."""
        deadline = time.monotonic() + seconds
        while state.ending:
            try:
                await self._probes.at(state.address, self._instance.token(replica_id))
            except (TimeoutError, probe.NotObserved):
                pass
            except OSError:  # nothing listens there, or the address is gone
                return True
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(ENDING_SECONDS)
            state = await self._cache.pod(state.name) or state
        return True

    async def _delete(self, name: str, state: PodState) -> None:
        """Delete a Pod, by force where no kubelet is left to end it."""
        await self._api.delete_pod(name, 0 if state.node_is_silent or state.overdue else 1)
        if not await self._cache.until(name, lambda now: now is None or now.ended, GONE_SECONDS):
            raise unavailable(f"node {state.node} does not end the Pod {name}")

    @override
    async def usage(self, replica_ids: Collection[str]) -> dict[str, ReplicaUsage]:
        """Return what the metrics server measured; nothing where the cluster has none."""
        return await self._metrics.usage(replica_ids)

    @override
    async def list_running(self) -> list[str]:
        return [_replica_id(state) for state in await self._cache.listed() if not state.ended]

    @override
    async def list_leftovers(self) -> list[str]:
        """Return the ids of all Pods and Secrets; what the watch has not told yet is returned by a later call."""
        pods = [state.pod for state in await self._cache.known()]
        secrets = await self._api.secrets(f"{self._selector},{REPLICA}")
        return sorted({thing["metadata"]["labels"][REPLICA] for thing in (*pods, *secrets)})

    @override
    async def log(self, replica_id: str, lines: int) -> list[str]:
        """Return the last lines of the log, which exists as long as the Pod does and its node answers."""
        name = manifest.name(replica_id)
        state = await self._cache.pod(name)
        if state is not None and state.node_is_silent:  # its kubelet, which has the log, does not answer
            return []
        try:
            content = await self._api.log(name, lines)
        except KubernetesRefused:  # it has not begun, or is gone
            return []
        return content.decode(errors="replace").splitlines()[-lines:]

    @override
    async def remove_files(self, replica_id: str) -> None:
        """Delete the Pod and its Secrets."""
        name = manifest.name(replica_id)
        with suppress(KubernetesNotFound):
            await self._api.delete_pod(name, 0)
            await self._cache.until(name, lambda now: now is None, GONE_SECONDS)
        for secret in (name, manifest.given_name(replica_id)):
            await self._api.delete_secret(secret)
        self._took_back.discard(replica_id)

    def headers(self, replica: Replica) -> dict[str, str]:
        """Return the key that the replica requires: other Pods of the cluster may reach its address."""
        return {KEY_HEADER: key_of(self._instance.token(replica.id))}

    async def close(self) -> None:
        """End the watch, and close the connections."""
        self._cache.close()
        await self._probes.close()
        await self._api.close()


def _ignore(_: str) -> None:
    """Do nothing with a change."""


def _replica_id(state: PodState) -> str:
    return str(state.pod["metadata"]["labels"][REPLICA])
