"""BentoCloud as the engine: the documented verbs of ``bentoml.deployment``, and what its words mean here."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from typing_extensions import override

from management.backends.base import Launch, LaunchRefused
from management.backends.bentocloud.client import CloudClient, CloudNotFound, CloudRefused, unavailable
from management.backends.bentocloud.instance_types import InstanceType, cheapest, of_told
from management.backends.bentocloud.mapping import Found, configured, name_of
from management.backends.bentocloud.tokens import tokens
from management.backends.engine import Engine, EnginePhase, EngineSpec, EngineStatus
from management.backends.replica.environment import for_model
from management.backends.replica.identity import of_home
from management.domain.bento_tag import (
    tag_of,
)
from management.domain.capacity import shown
from management.domain.records import Deployment, Replica, Resources
from management.errors import BackendUnavailable
from management.settings import Settings
from management.urls import private

CALL_SECONDS: Final = 30.0
PUSH_SECONDS: Final = 3600.0
"""For a call that may have to send a model there first."""
PING_SECONDS: Final = 2.0
NEWS_SECONDS: Final = 2.0
"""For which the outcome of a call says whether BentoCloud answers."""
TYPES_SECONDS: Final = 600.0
"""Between two looks at the instance types."""
COUNT_LOOKS: Final = 2
"""Between two counts of a deployment's replicas where nothing else has changed."""
COUNTS_AT_A_TIME: Final = 4

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Count:
    key: object
    at: float
    ready: int | None


class BentoCloud(Engine):
    """The engine of the bentocloud backend."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        token, self._entry = tokens(settings)
        self._client = CloudClient(settings, token)
        self._types: tuple[float, list[InstanceType]] | None = None
        self._addresses: dict[tuple[str, str], str] = {}
        self._counts: dict[str, _Count] = {}
        self._counting = asyncio.Semaphore(COUNTS_AT_A_TIME)
        self._asking = asyncio.Lock()
        self._news: tuple[float, bool] = (0.0, False)
        """When a call came to an end last, and whether BentoCloud had answered it."""

    @override
    async def apply(self, order: EngineSpec) -> None:
        """A Bento that is only in this machine's store is uploaded first."""
        name, there = name_of(order.model_id), await self._found(order.model_id)
        if there is None:
            await self._create(name, order)
        elif there.owner[0] != self._instance:
            raise LaunchRefused(f"BentoCloud has a deployment {name!r} of somebody else: it is left alone")
        elif there.owner[1] != order.deployment_id or there.standing is EnginePhase.ENDING:
            return  # what was before it has to go first
        elif there.mark != order.mark or there.standing in (EnginePhase.FAILED, EnginePhase.STOPPED):
            await self._told("update", name, order)  # which also starts it

    async def _create(self, name: str, order: EngineSpec) -> None:
        try:
            await self._told("create", name, order)
        except LaunchRefused:  # by a call of ours before it that nobody was there to hear the answer of?
            there = await self._found(order.model_id)
            if there is None or there.owner != (self._instance, order.deployment_id):
                raise

    async def _told(self, verb: str, name: str, order: EngineSpec) -> None:
        config = order.revision.config
        launch = Launch("", order.model_id, config.docker_image, config.resources, config.environment_variables)
        instance_type = await self._instance_type(config.resources)
        told = configured(order, self._instance, instance_type, for_model(launch))
        try:
            await self._ask(verb, PUSH_SECONDS, name=name, bento=str(tag_of(config.docker_image)), **told)
        except CloudRefused as refused:
            raise LaunchRefused(str(refused)) from None
        except CloudNotFound as missing:
            raise unavailable(str(missing)) from None

    async def _instance_type(self, wanted: Resources) -> str:
        if self._settings.cloud_instance_type:
            return self._settings.cloud_instance_type
        at = time.monotonic()
        if self._types is None or at - self._types[0] > TYPES_SECONDS:
            told = await self._asked("instance_types")
            self._types = at, [one for one in map(of_told, told or ()) if one is not None]
        found = cheapest(self._types[1], wanted)
        if found is None:
            known = ", ".join(sorted(one.name for one in self._types[1])) or "-"
            raise LaunchRefused(f"no instance type of BentoCloud has {shown(wanted)}; there are: {known}")
        return found.name

    @override
    async def observe(self) -> dict[str, EngineStatus]:
        told = await self._asked("deployments")
        ours = [one for one in map(Found, told or ()) if one.owner[0] == self._instance]
        conditions = await asyncio.gather(*map(self._condition, ours))
        self._forget(ours)
        return {one.owner[1]: condition for one, condition in zip(ours, conditions, strict=True)}

    async def _condition(self, found: Found) -> EngineStatus:
        standing, reason = found.standing, ""
        address = await self._address(found) if standing.serves else ""
        if (standing is EnginePhase.RUNNING and not address) or (standing is EnginePhase.UNHEALTHY and address is None):
            standing = EnginePhase.PENDING  # its entrance is on its way, or nobody knows where it is
        if standing in (EnginePhase.FAILED, EnginePhase.UNHEALTHY):
            reason = f"BentoCloud says: {found.status}"
        ready = await self._ready(found) if standing.serves and standing is not EnginePhase.PENDING else None
        return EngineStatus(standing, found.name, found.mark, ready, address or "", reason)

    async def _address(self, found: Found) -> str | None:
        """Empty where there is none yet; None where it cannot be asked, which keeps no other from being seen."""
        key = found.name, found.made
        if key not in self._addresses:
            try:
                told = await self._asked("get", found.name)
            except BackendUnavailable as error:
                logger.info("where %s is reached cannot be asked: %s", found.name, error.details)
                return None
            for url in Found(told).urls[:1] if told else ():
                self._addresses[key] = self._trusted(url)
        return self._addresses.get(key, "")

    def _trusted(self, url: str) -> str:
        """Where requests and the token may be sent; nowhere else is one, whatever BentoCloud says."""
        try:
            address = private(url)
        except ValueError:
            address = ""
        if address.startswith("https://") or not self._settings.cloud_endpoint.startswith("https://"):
            return address
        return ""

    async def _ready(self, found: Found) -> int | None:
        """Replicas that answer; None where they cannot be counted."""
        if found.status == "scaled-to-zero":
            return 0
        before, at, key = self._counts.get(found.name), time.monotonic(), (found.status, found.mark)
        least = found.mark.least if found.mark else 0
        fresh = (
            before is not None and before.key == key and at - before.at < COUNT_LOOKS * self._settings.engine_seconds
        )
        if before is None or not fresh or (before.ready is not None and before.ready < least):
            before = self._counts[found.name] = _Count(key, at, await self._counted(found.name))
        return before.ready

    async def _counted(self, name: str) -> int | None:
        try:
            async with self._counting:
                return sum(bool(one["ready"]) for one in await self._ask("pods", CALL_SECONDS, name=name))
        except (CloudNotFound, CloudRefused, BackendUnavailable) as error:
            logger.info("the replicas of %s cannot be counted: %s", name, error)
            return None

    def _forget(self, there: Sequence[Found]) -> None:
        """What is known of deployments that are no more."""
        names = {one.name for one in there}
        self._counts = {name: one for name, one in self._counts.items() if name in names}
        made = {(one.name, one.made) for one in there}
        self._addresses = {key: one for key, one in self._addresses.items() if key in made}

    @override
    async def halt(self, condition: EngineStatus) -> None:
        if condition.phase.serves:
            await self._asked("terminate", condition.name)

    @override
    async def remove(self, condition: EngineStatus, *, force: bool) -> None:
        """BentoCloud may require a termination before it deletes a deployment."""
        if force or condition.phase is EnginePhase.STOPPED:
            try:
                await self._ask("delete", CALL_SECONDS, name=condition.name)
            except CloudNotFound:
                return
            except CloudRefused as refused:
                logger.info("%s is not deleted yet: %s", condition.name, refused)
            else:
                return
        await self.halt(condition)

    @override
    async def log(self, deployment: Deployment, lines: int) -> list[list[str]]:
        """BentoCloud gives 50 lines at most."""
        there = await self._found(deployment.model_id)
        if there is None or there.owner != (self._instance, deployment.id) or not there.standing.serves:
            return []
        return await self._asked("log", there.name, lines=lines) or []

    async def answers(self) -> bool:
        """Whether it can be asked for anything now."""
        async with self._asking:
            at, well = self._news
            if time.monotonic() - at > NEWS_SECONDS:
                try:
                    await self._ask("ping", PING_SECONDS)
                except (BackendUnavailable, CloudNotFound, CloudRefused):
                    return False
                return True
            return well

    def headers(self, replica: Replica) -> Mapping[str, str]:
        """The token of inferences, for what it runs; nothing for what something else runs."""
        if not self._trusted(replica.address):
            return {}
        return {"Authorization": f"Bearer {self._entry.current().get_secret_value()}"}

    async def close(self) -> None:
        """Ends the processes that call it."""
        await self._client.close()

    @cached_property
    def _instance(self) -> str:
        """Whose deployments are ours."""
        return of_home(self._settings.home).id

    async def _found(self, model_id: str) -> Found | None:
        told = await self._asked("get", name_of(model_id))
        return None if told is None else Found(told)

    async def _asked(self, verb: str, name: str | None = None, **asked: Any) -> Any:
        """The answer to a call that can be repeated; None where there is nothing of that name."""
        try:
            return await self._ask(verb, CALL_SECONDS, **({} if name is None else {"name": name}), **asked)
        except CloudNotFound:
            return None
        except CloudRefused as refused:
            raise unavailable(str(refused)) from None

    async def _ask(self, verb: str, seconds: float, /, **asked: Any) -> Any:
        try:
            found = await self._client.ask(verb, seconds, **asked)
        except (CloudNotFound, CloudRefused, BackendUnavailable) as error:
            self._news = time.monotonic(), not isinstance(error, BackendUnavailable)
            raise
        self._news = time.monotonic(), True
        return found
