"""BentoCloud as an engine, by the documented functions of ``bentoml.deployment``."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from typing_extensions import override

from management.backends.bentocloud.client import CloudClient, CloudNotFound, CloudRefused, unavailable
from management.backends.bentocloud.instance_types import InstanceType, cheapest, of_told
from management.backends.bentocloud.mapping import CloudDeployment, configured, name_of
from management.backends.bentocloud.settings import BentoCloudSettings
from management.backends.bentocloud.tokens import tokens
from management.backends.engine import Engine, EnginePhase, EngineSpec, EngineStatus
from management.backends.launcher import Launch, LaunchRefused
from management.backends.process.images import tag_to_launch
from management.backends.replica.environment import for_model
from management.backends.replica.identity import of_home
from management.domain.capacity import shown
from management.domain.records import Deployment, Replica, Resources
from management.errors import BackendUnavailable
from management.settings import StorageSettings
from management.urls import private

CALL_SECONDS: Final = 30.0
"""Seconds that BentoCloud has to answer an ordinary call."""
PUSH_SECONDS: Final = 3600.0
"""Seconds for a call that may have to upload a model first."""
PING_SECONDS: Final = 2.0
"""Seconds that BentoCloud has to answer a ping."""
OUTCOME_VALID_SECONDS: Final = 2.0
"""Seconds for which the outcome of the last call says whether BentoCloud answers."""
INSTANCE_TYPES_VALID_SECONDS: Final = 600.0
"""Seconds between two requests for the list of instance types."""
COUNT_EVERY_OBSERVATIONS: Final = 2
"""Observations between two counts of a deployment's replicas while nothing else changes."""
MAX_PARALLEL_COUNTS: Final = 4
"""Deployments whose replicas are counted at the same time."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Count:
    """Number of ready replicas, counted at a monotonic time; ``key`` is what the deployment looked like then."""

    key: object
    counted_at: float
    ready: int | None


class BentoCloud(Engine):
    """The engine of the bentocloud backend."""

    def __init__(self, settings: BentoCloudSettings, storage: StorageSettings, engine_seconds: float) -> None:
        self._settings, self._home, self._engine_seconds = settings, storage.home, engine_seconds
        token, self._entry = tokens(settings)
        self._client = CloudClient(settings, storage, token)
        self._types: tuple[float, list[InstanceType]] | None = None
        self._addresses: dict[tuple[str, str], str] = {}
        self._counts: dict[str, _Count] = {}
        self._counting = asyncio.Semaphore(MAX_PARALLEL_COUNTS)
        self._pinging = asyncio.Lock()
        self._last_outcome: tuple[float, bool] = (0.0, False)
        """Monotonic time at which the last call ended, and whether BentoCloud had answered it."""

    @override
    async def apply(self, spec: EngineSpec) -> None:
        """Create or update the deployment. A Bento that BentoCloud lacks is uploaded first."""
        if spec.revision.config.secrets:  # deployed while another backend was set
            raise LaunchRefused("this backend cannot give secrets to replicas")
        name, deployment = name_of(spec.model_id), await self._get(spec.model_id)
        if deployment is None:
            await self._create(name, spec)
        elif deployment.owner[0] != self._instance:
            raise LaunchRefused(f"BentoCloud already has a deployment {name!r} that this control plane did not create")
        elif deployment.owner[1] != spec.deployment_id or deployment.phase is EnginePhase.ENDING:
            return  # the earlier deployment of this name has to be gone first
        elif deployment.mark != spec.mark or deployment.phase in (EnginePhase.FAILED, EnginePhase.STOPPED):
            await self._configure("update", name, spec)  # which also starts it

    async def _create(self, name: str, spec: EngineSpec) -> None:
        try:
            await self._configure("create", name, spec)
        except LaunchRefused:  # perhaps an earlier create succeeded and its response was lost
            deployment = await self._get(spec.model_id)
            if deployment is None or deployment.owner != (self._instance, spec.deployment_id):
                raise

    async def _configure(self, verb: str, name: str, spec: EngineSpec) -> None:
        config = spec.revision.config
        launch = Launch("", spec.model_id, config.docker_image, config.resources, config.environment_variables)
        bento = str(tag_to_launch(config.docker_image))
        instance_type = await self._instance_type(config.resources)
        arguments = configured(spec, self._instance, instance_type, for_model(launch))
        try:
            await self._call(verb, PUSH_SECONDS, name=name, bento=bento, **arguments)
        except CloudRefused as error:
            raise LaunchRefused(str(error)) from None
        except CloudNotFound as error:
            raise unavailable(str(error)) from None

    async def _instance_type(self, requested: Resources) -> str:
        if self._settings.instance_type:
            return self._settings.instance_type
        now = time.monotonic()
        if self._types is None or now - self._types[0] > INSTANCE_TYPES_VALID_SECONDS:
            descriptions = await self._query("instance_types")
            parsed = map(of_told, descriptions or ())
            self._types = now, [instance_type for instance_type in parsed if instance_type is not None]
        choice = cheapest(self._types[1], requested)
        if choice is None:
            names = ", ".join(sorted(instance_type.name for instance_type in self._types[1])) or "-"
            raise LaunchRefused(f"no instance type of BentoCloud has {shown(requested)}; available types: {names}")
        return choice.name

    @override
    async def observe(self) -> dict[str, EngineStatus]:
        answers = await self._query("deployments")
        ours = [
            deployment for deployment in map(CloudDeployment, answers or ()) if deployment.owner[0] == self._instance
        ]
        statuses = await asyncio.gather(*map(self._status, ours))
        self._forget_others(ours)
        return {deployment.owner[1]: status for deployment, status in zip(ours, statuses, strict=True)}

    async def _status(self, deployment: CloudDeployment) -> EngineStatus:
        phase, reason = deployment.phase, ""
        address = await self._address(deployment) if phase.serves else ""
        if (phase is EnginePhase.RUNNING and not address) or (phase is EnginePhase.UNHEALTHY and address is None):
            phase = EnginePhase.PENDING  # its URL does not exist yet, or is not known
        if phase in (EnginePhase.FAILED, EnginePhase.UNHEALTHY):
            reason = f"BentoCloud says: {deployment.status}"
        ready = await self._ready(deployment) if phase.serves and phase is not EnginePhase.PENDING else None
        return EngineStatus(phase, deployment.name, deployment.mark, ready, address or "", reason)

    async def _address(self, deployment: CloudDeployment) -> str | None:
        """Return the deployment's URL; empty while it has none, None when BentoCloud does not answer.

        An error of one deployment must not keep the others from being observed.
        """
        key = deployment.name, deployment.created_at
        if key not in self._addresses:
            try:
                answer = await self._query("get", deployment.name)
            except BackendUnavailable as error:
                logger.info("the URL of %s cannot be read: %s", deployment.name, error.details)
                return None
            for url in CloudDeployment(answer).urls[:1] if answer else ():
                self._addresses[key] = self._trusted(url)
        return self._addresses.get(key, "")

    def _trusted(self, url: str) -> str:
        """Return the URL if requests and the token may be sent to it; else an empty string."""
        try:
            address = private(url)
        except ValueError:
            address = ""
        if address.startswith("https://") or not self._settings.endpoint.startswith("https://"):
            return address
        return ""

    async def _ready(self, deployment: CloudDeployment) -> int | None:
        """Return the number of ready replicas; None when they cannot be counted."""
        if deployment.status == "scaled-to-zero":
            return 0
        count, now = self._counts.get(deployment.name), time.monotonic()
        key = deployment.status, deployment.mark
        least = deployment.mark.least if deployment.mark else 0
        valid_seconds = COUNT_EVERY_OBSERVATIONS * self._engine_seconds
        valid = count is not None and count.key == key and now - count.counted_at < valid_seconds
        if count is None or not valid or (count.ready is not None and count.ready < least):
            count = self._counts[deployment.name] = _Count(key, now, await self._count_ready(deployment.name))
        return count.ready

    async def _count_ready(self, name: str) -> int | None:
        try:
            async with self._counting:
                return sum(bool(pod["ready"]) for pod in await self._call("pods", CALL_SECONDS, name=name))
        except (CloudNotFound, CloudRefused, BackendUnavailable) as error:
            logger.info("the replicas of %s cannot be counted: %s", name, error)
            return None

    def _forget_others(self, existing: Sequence[CloudDeployment]) -> None:
        """Drop the counts and addresses of deployments that no longer exist."""
        names = {deployment.name for deployment in existing}
        self._counts = {name: count for name, count in self._counts.items() if name in names}
        keys = {(deployment.name, deployment.created_at) for deployment in existing}
        self._addresses = {key: address for key, address in self._addresses.items() if key in keys}

    @override
    async def halt(self, status: EngineStatus) -> None:
        if status.phase.serves:
            await self._query("terminate", status.name)

    @override
    async def remove(self, status: EngineStatus, *, force: bool) -> None:
        """Delete the deployment, or terminate it first: BentoCloud may require that."""
        if force or status.phase is EnginePhase.STOPPED:
            try:
                await self._call("delete", CALL_SECONDS, name=status.name)
            except CloudNotFound:
                return
            except CloudRefused as error:
                logger.info("%s is not deleted yet: %s", status.name, error)
            else:
                return
        await self.halt(status)

    @override
    async def log(self, deployment: Deployment, lines: int) -> list[list[str]]:
        """Return at most 50 lines a replica, which is BentoCloud's limit."""
        existing = await self._get(deployment.model_id)
        if existing is None or existing.owner != (self._instance, deployment.id) or not existing.phase.serves:
            return []
        return await self._query("log", existing.name, lines=lines) or []

    async def answers(self) -> bool:
        """Return whether BentoCloud answers, by the last call or by a ping."""
        async with self._pinging:
            ended_at, answered = self._last_outcome
            if time.monotonic() - ended_at > OUTCOME_VALID_SECONDS:
                try:
                    await self._call("ping", PING_SECONDS)
                except (BackendUnavailable, CloudNotFound, CloudRefused):
                    return False
                return True
            return answered

    def headers(self, replica: Replica) -> Mapping[str, str]:
        """Return the token for inference, for replicas on BentoCloud; nothing for any other address."""
        if not self._trusted(replica.address):
            return {}
        return {"Authorization": f"Bearer {self._entry.current().get_secret_value()}"}

    async def close(self) -> None:
        """Kill the worker processes."""
        await self._client.close()

    @cached_property
    def _instance(self) -> str:
        """Id of this control plane, which its deployments carry."""
        return of_home(self._home).id

    async def _get(self, model_id: str) -> CloudDeployment | None:
        answer = await self._query("get", name_of(model_id))
        return None if answer is None else CloudDeployment(answer)

    async def _query(self, verb: str, name: str | None = None, **arguments: Any) -> Any:
        """Return the result of a call that may be repeated; None when BentoCloud has nothing of that name."""
        try:
            return await self._call(verb, CALL_SECONDS, **({} if name is None else {"name": name}), **arguments)
        except CloudNotFound:
            return None
        except CloudRefused as error:
            raise unavailable(str(error)) from None

    async def _call(self, verb: str, seconds: float, /, **arguments: Any) -> Any:
        try:
            answer = await self._client.ask(verb, seconds, **arguments)
        except (CloudNotFound, CloudRefused, BackendUnavailable) as error:
            self._last_outcome = time.monotonic(), not isinstance(error, BackendUnavailable)
            raise
        self._last_outcome = time.monotonic(), True
        return answer
