"""The composition root: the only file that knows every part of the management, and puts them together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import cached_property
from typing import Any, Final

from management.api.application import section
from management.auth.access import Authenticator, FailedLoginLimiter, KeyCache, role_for_models
from management.auth.bootstrap_key import first_key
from management.backends import machine, registry
from management.backends.backend import Backend
from management.backends.engine import Engine
from management.backup.swap import interrupted
from management.configuration import Settings, settings
from management.control.activation import Activator
from management.control.autoscaling.autoscaler import Autoscaler
from management.control.change_feed import ChangeFeed
from management.control.commands import DeploymentCommands
from management.control.deployments import Deployments
from management.control.engines.reconciler import Reconciler
from management.control.journal import Journal
from management.control.replicas.supervisor import Supervisor
from management.domain.keys import Key
from management.domain.records import Deployment, Replica, Status
from management.errors import StoreUnavailable
from management.faults import failpoints
from management.faults.disk import Reserve
from management.gateway.gateway import Gateway, GatewayHooks
from management.gateway.load_reporter import REPORT_SECONDS, LoadReporter
from management.metrics import Metrics
from management.settings import ApiSettings
from management.startup import every, opened
from management.store import Session, Store
from management.store.leases import Lease
from web.answers import timestamp
from web.edge.middleware import Section

HEALTH_CACHE_SECONDS: Final = 0.5
"""Seconds for which an answer about the health is reused."""
KEY_USES_SECONDS: Final = 10.0
"""Seconds between two writes of when keys were last used."""
RESERVE_SECONDS: Final = 30.0
"""Seconds between two attempts to keep the disk reserve at its size."""


class Platform:
    """One worker of the management: its store, its gateway, its supervisor, and the routes over them.

    Nothing is opened or started before ``start``, so that importing a server's module does not begin to manage.
    """

    def __init__(self, read_settings: Callable[[], Settings] = settings, *, beside_models: bool = False) -> None:
        """``beside_models``: the same server has models of its own, whose documentation is at ``/docs``."""
        self._read_settings = read_settings
        self._beside_models = beside_models
        self.keyring = KeyCache()
        self._tasks: list[asyncio.Task[None]] = []
        self._health: dict[str, Any] = {}
        self._health_until = 0.0

    @cached_property
    def settings(self) -> Settings:
        """The settings, read when they are first needed."""
        return self._read_settings()

    @property
    def api_settings(self) -> ApiSettings:
        """The settings of the API."""
        return self.settings.api

    @cached_property
    def store(self) -> Store:
        """The database."""
        return Store(self.settings.storage.database)

    @cached_property
    def feed(self) -> ChangeFeed:
        """How this worker learns of changes in the database."""
        return ChangeFeed(self.store, _snapshot, self._learn, self._wake)

    @cached_property
    def backend(self) -> Backend:
        """Where models run."""
        settings = self.settings
        return registry.make(
            settings.server.backend, settings.backend, settings.storage, settings.replicas, settings.capacity
        )

    @cached_property
    def gateway(self) -> Gateway:
        """How requests reach the models' replicas."""
        activator = self.activator
        return Gateway(
            self.settings.queue,
            GatewayHooks(
                self.feed.refresh,
                activator.activate,
                self.supervisor.probe_now,
                activator.record_ejection,
                self.backend.answers,
                self.backend.headers,
            ),
        )

    @cached_property
    def activator(self) -> Activator:
        """The side effects of inference requests."""
        return Activator(self.store, self.commands, self.feed.refresh)

    @cached_property
    def reporter(self) -> LoadReporter:
        """Reports the load of this worker to the leader."""
        return LoadReporter(self.store, self.gateway.routes)

    @cached_property
    def journal(self) -> Journal:
        """What the leader records."""
        return Journal(self.store, self.commands.capacity, self.settings.server.lease_seconds)

    @cached_property
    def metrics(self) -> Metrics:
        """The metrics for Prometheus."""
        counters, worker = self.journal.counters, self.reporter.worker
        return Metrics(self.store, self.gateway.routes, counters, worker, self.settings.storage.home)

    @cached_property
    def supervisor(self) -> Supervisor | Reconciler:
        """Makes the recorded state the desired one: by itself, or through an engine that keeps replicas."""
        driver = self.backend.driver
        if isinstance(driver, Engine):
            return Reconciler(self.journal, driver, self.settings.replicas, self.feed.refresh)
        min_free_memory = machine.least_memory(self.settings.capacity)
        autoscaler = Autoscaler(self.journal, self.settings.autoscaling, machine.free_memory, min_free_memory)
        return Supervisor(self.journal, driver, autoscaler, self.settings.replicas, self.feed.refresh)

    @cached_property
    def commands(self) -> DeploymentCommands:
        """Changes of the desired state."""
        return DeploymentCommands(self.backend.capacity, self.settings.autoscaling.hold_seconds)

    @cached_property
    def failures(self) -> FailedLoginLimiter:
        """Counts logins that failed, in the API and at the models' endpoints."""
        return FailedLoginLimiter(self.settings.access.failed_logins)

    @cached_property
    def deployments(self) -> Deployments:
        """Checks and commits changes, and waits for their outcome."""
        return Deployments(self.store, self.backend.images, self.feed, self.supervisor.wake, self._room)

    @cached_property
    def reserve(self) -> Reserve:
        """Disk space kept free for deletions on a full disk."""
        return Reserve(self.settings.storage.database_folder)

    async def start(self) -> None:
        """Opens the database and begins to supervise. While the database is unavailable, retries in the background.

        Raises RuntimeError where a restore was interrupted, and any error that a retry cannot mend.
        """
        failpoints.arm(self.settings.server.failpoint)
        if (reason := interrupted(self.settings.storage.home)) is not None:
            raise RuntimeError(reason)
        if (retries := await opened(self.settings.storage.home.absolute(), self._open)) is not None:
            self._tasks.append(retries)

    async def _open(self) -> None:
        """Creates the folder, the tables and the first key, reads the records, and begins to supervise."""
        home = self.settings.storage.home
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        home.chmod(0o700)  # it may have existed with another mode
        await asyncio.to_thread(self.reserve.give)
        await asyncio.to_thread(self.store.migrate)
        await self.store.write(lambda session: first_key(session, self.settings.access.api_key, home))
        await self.feed.refresh()
        self._tasks += [
            asyncio.create_task(self.supervisor.run()),
            asyncio.create_task(every(self.settings.server.refresh_seconds, self.feed.refresh)),
            asyncio.create_task(every(REPORT_SECONDS, self.reporter.report)),
            asyncio.create_task(every(KEY_USES_SECONDS, lambda: self.keyring.write_uses(self.store))),
            asyncio.create_task(every(RESERVE_SECONDS, lambda: asyncio.to_thread(self.reserve.keep))),
        ]
        await asyncio.to_thread(self.reserve.keep)

    async def _room(self, model_id: str) -> AsyncIterator[None]:
        """Frees space on a full disk to delete a model: first the reserve, then the files of the model's replicas."""
        if await asyncio.to_thread(self.reserve.give):
            yield
        if not await asyncio.to_thread(self.reserve.is_needed):
            return  # the database is unavailable for another reason, so ending replicas would not help
        if isinstance(self.supervisor, Supervisor) and await self.supervisor.stop_at_once(model_id):
            yield

    async def close(self) -> None:
        """Ends what ``start`` began, and stops the replicas unless ``keep_replicas`` is set."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.activator.close()
        await self.supervisor.close(stop_replicas=not self.settings.server.keep_replicas)
        await self.gateway.close()
        await self.backend.close()
        with suppress(StoreUnavailable):
            await self.keyring.write_uses(self.store)
        self.store.close()

    async def end_replicas(self) -> None:
        """Stops every replica of a server whose workers have ended."""
        await self.supervisor.close(stop_replicas=True)
        await self.backend.close()
        self.store.close()

    async def health(self) -> dict[str, Any]:
        """The body of ``/health``: database, lease, backend, and how many of the wanted models are ready."""
        now = time.monotonic()
        if now >= self._health_until:  # callers need no key, so they must not cause a query each time
            self._health, self._health_until = await self._read_health(), now + HEALTH_CACHE_SECONDS
        return {**self._health, "timestamp": timestamp()}

    async def _read_health(self) -> dict[str, Any]:
        try:
            lease, wanted, ready = await self.store.read(_health_records)
        except StoreUnavailable:
            return {"status": "unhealthy", "database": "unavailable", "backend": self.settings.server.backend}
        held = lease is not None and lease.held_until > time.time()
        answers = await self.backend.answers()
        return {
            "status": "healthy" if held and answers and ready == wanted else "degraded",
            "database": "ok",
            "lease": "held" if held else "free",
            "backend": self.settings.server.backend,
            "backend_state": "ok" if answers else "unavailable",
            "models": {"wanted": wanted, "ready": ready},
        }

    async def logs(self, deployment: Deployment, replicas: list[Replica], lines: int) -> dict[str, list[str]]:
        """The last lines of each replica's log, by id."""
        return await self.supervisor.log(deployment, replicas, lines)

    async def about(self) -> dict[str, Any] | None:
        """``health`` as a front door shows it beside its models; None while it is unhealthy."""
        health = await self.health()
        return None if health["status"] == "unhealthy" else health

    def _wake(self) -> None:
        self.supervisor.wake()

    def _learn(self, snapshot: tuple[list[Deployment], list[Replica], list[Key]]) -> None:
        deployments, ready, keys = snapshot
        self.gateway.learn(deployments, ready)
        self.keyring.learn(keys)

    def section(self) -> Section:
        """The API as a section of a server's paths."""
        return section(self, beside_models=self._beside_models)

    def door_for_models(self, open_paths: frozenset[str]) -> Authenticator | None:
        """The authenticator of the models' own endpoints; None where the settings leave them open."""
        if not self.settings.access.keys_for_models:
            return None
        return Authenticator(self.keyring, self.failures, role_for_models(open_paths))


def _snapshot(session: Session) -> tuple[list[Deployment], list[Replica], list[Key]]:
    """All deployments, the ready replicas, and all keys."""
    return session.deployments.all(), session.replicas.ready(), session.keys.all()


def _health_records(session: Session) -> tuple[Lease | None, int, int]:
    """The lease, and the numbers of models that are wanted and that run."""
    counts = session.deployments.counts()
    wanted = sum(number for status, number in counts.items() if status is not Status.STOPPED)
    return session.leases.get(), wanted, counts[Status.RUNNING]
