"""The composition root: the only file that knows every part of the management, and puts them together."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import cached_property
from typing import Any, Final

from management.api import application
from management.auth.access import Authenticator, FailedLoginLimiter, KeyCache, role_for_models
from management.auth.bootstrap_key import first_key
from management.auth.browser_login import BrowserLogin
from management.auth.shared_identity import SharedIdentity
from management.backends import machine, registry
from management.backends.backend import Backend
from management.backends.engine import Engine
from management.backends.preparation import EnvironmentPreparer
from management.backup.swap import interrupted
from management.bentoml_api import application as bentoml_api
from management.bentoml_api.instances import type_file
from management.bentoml_api.instances.instance_types import LocalInstanceType
from management.configuration import Settings, settings
from management.control.activation import Activator
from management.control.api_keys import ApiKeys
from management.control.autoscaling.autoscaler import Autoscaler
from management.control.bentos import Bentos
from management.control.change_feed import ChangeFeed
from management.control.codespaces.codespaces import Codespaces
from management.control.commands import DeploymentCommands
from management.control.deployments import Deployments
from management.control.engines.reconciler import Reconciler
from management.control.journal import Journal
from management.control.replicas.supervisor import Supervisor, SupervisorHooks
from management.control.repository.sending import DownloadPlaces
from management.control.repository.stored_models import StoredModels
from management.control.repository.uploads import Uploads
from management.control.secrets import Secrets
from management.domain.keys import Key
from management.domain.records import Deployment, Replica, Status
from management.encryption.key_file import KeyFile
from management.errors import SharedStoreUnavailable, StoreUnavailable
from management.faults import failpoints
from management.faults.disk import Reserve
from management.gateway.failover import GatewayHooks
from management.gateway.gateway import Gateway
from management.gateway.load_reporter import REPORT_SECONDS, LoadReporter
from management.inference.inference import Inference
from management.metrics import Metrics
from management.packaging.build import BentoHome
from management.packaging.shared.opening import open_store
from management.packaging.shared.shared_store import SharedStore
from management.proxy import application as proxy
from management.settings import AddressSettings, ApiSettings
from management.startup import every, opened
from management.store import Session, Store
from management.store.leases import Lease
from web.answers import timestamp
from web.download.client import Downloader
from web.edge.middleware import Section

HEALTH_CACHE_SECONDS: Final = 0.5
"""Seconds for which an answer about the health is reused."""
KEY_USES_SECONDS: Final = 10.0
"""Seconds between two writes of when keys were last used."""
CAPACITY_SECONDS: Final = 30.0
"""Seconds between two questions for the capacity of a backend whose machines come and go."""
FOLLOW_SECONDS: Final = 20.0
"""Seconds between two looks at what other control planes have deleted."""
SWEEP_SECONDS: Final = 3600.0
"""Seconds between two removals of what killed pushes left in a shared store."""
RESERVE_SECONDS: Final = 30.0
"""Seconds between two attempts to keep the disk reserve at its size."""

logger = logging.getLogger(__name__)


class Platform:
    """One worker of the management: its store, its gateway, its supervisor, and the routes over them.

    Nothing is opened or started before ``start``, so that importing a server's module does not begin to manage.
    """

    def __init__(self, read_settings: Callable[[], Settings] = settings, *, beside_models: bool = False) -> None:
        """``beside_models``: the same server has models of its own, whose documentation is at ``/docs``."""
        self._read_settings = read_settings
        self._beside_models = beside_models
        self.keyring = KeyCache(self._now)
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

    @property
    def address_settings(self) -> AddressSettings:
        """The settings of models' own addresses."""
        return self.settings.addresses

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
                self.backend.images.describe,
            ),
            workers=self.settings.server.workers * self.settings.server.control_planes,
        )

    @cached_property
    def downloader(self) -> Downloader:
        """What fetches the files that a call names by URL."""
        return Downloader(self.settings.downloads)

    @cached_property
    def inference(self) -> Inference:
        """What calls the models with the documented bodies."""
        return Inference(self.gateway, self.downloader, self.settings.api.public_url)

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
        return Journal(self.store, self.commands.capacity, self.settings.server.lease_seconds, self.store.clock)

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
        hooks = SupervisorHooks(self.feed.refresh, self.secrets.contents)
        return Supervisor(self.journal, driver, autoscaler, self.settings.replicas, hooks, self.backend.environments)

    @cached_property
    def secrets(self) -> Secrets:
        """The secrets, and the key file that opens them."""
        return Secrets(self.store, KeyFile(self.settings.storage.secrets_key), self.store.clock)

    @cached_property
    def keys(self) -> ApiKeys:
        """The API keys as commands."""
        return ApiKeys(self.store, self.feed.refresh, self.store.clock)

    @cached_property
    def browser_login(self) -> BrowserLogin:
        """The logins of command lines by a browser."""
        return BrowserLogin(self.settings.storage.home.absolute() / "login.key")

    @cached_property
    def commands(self) -> DeploymentCommands:
        """Changes of the desired state."""
        hold_seconds = self.settings.autoscaling.hold_seconds
        return DeploymentCommands(
            self.backend.capacity,
            hold_seconds,
            self.store.clock,
            gives_secrets=self.backend.gives_secrets,
            open_models=self.settings.access.open_models,
        )

    @cached_property
    def failures(self) -> FailedLoginLimiter:
        """Counts logins that failed, in the API and at the models' endpoints."""
        return FailedLoginLimiter(self.settings.access.failed_logins)

    @cached_property
    def deployments(self) -> Deployments:
        """Checks and commits changes, and waits for their outcome."""
        images, environments = self.backend.images, self.backend.environments
        return Deployments(self.store, images, self.feed, self.supervisor.wake, self._room, environments)

    @property
    def environments(self) -> EnvironmentPreparer:
        """What prepares the environments of replicas."""
        return self.backend.environments

    @cached_property
    def shared(self) -> SharedStore | None:
        """The store that control planes share; None where this machine has a store of its own."""
        return open_store(self.settings.storage)

    @cached_property
    def bentos(self) -> Bentos:
        """The Bentos in this machine's store, or of all control planes."""
        return Bentos(self.store, BentoHome(self.settings.storage.bentoml_home), self.settings.bentos, self.shared)

    @cached_property
    def stored_models(self) -> StoredModels:
        """The models in the same store."""
        return StoredModels(BentoHome(self.settings.storage.bentoml_home), self.settings.bentos, self.shared)

    @cached_property
    def uploads(self) -> Uploads:
        """The pushes of BentoML's own client that have begun."""
        return Uploads(BentoHome(self.settings.storage.bentoml_home), self.settings.bentos, shared=self.shared)

    @cached_property
    def codespaces(self) -> Codespaces:
        """The services that are edited while they run."""
        home = BentoHome(self.settings.storage.bentoml_home)
        return Codespaces(home, self.settings.bentos, self.bentos, self.uploads)

    @cached_property
    def download_places(self) -> DownloadPlaces:
        """The downloads of Bentos and models that may be under way at a time."""
        return DownloadPlaces(self.settings.bentos.downloads)

    @property
    def upload_bytes(self) -> int:
        """Bytes of the largest archive of a Bento."""
        return self.settings.bentos.upload_bytes

    @cached_property
    def instance_types(self) -> Sequence[LocalInstanceType]:
        """The instance types that BentoML's commands may name. Raises InvalidTypeFile."""
        return type_file.offered(self.settings.api.instance_types, self.commands.capacity.machine)

    @cached_property
    def reserve(self) -> Reserve:
        """Disk space kept free for deletions on a full disk."""
        return Reserve(self.settings.storage.database_folder)

    async def start(self) -> None:
        """Opens the database and begins to supervise. While the database is unavailable, retries in the background.

        Raises RuntimeError where a restore was interrupted, InvalidTypeFile for a wrong file of instance types, and any
        error that a retry cannot mend.
        """
        failpoints.arm(self.settings.server.failpoint)
        _ = self.instance_types  # read now, so that a wrong file ends the start
        if (reason := interrupted(self.settings.storage.home)) is not None:
            raise RuntimeError(reason)
        if (retries := await opened(self.store.place, self._open)) is not None:
            self._tasks.append(retries)

    async def _open(self) -> None:
        """Creates the folder, the tables and the first key, reads the records, and begins to supervise."""
        home = self.settings.storage.home
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        home.chmod(0o700)  # it may have existed with another mode
        await asyncio.to_thread(self.reserve.give)
        await asyncio.to_thread(self.store.migrate)
        await self._join_others()
        await self.bentos.remove_abandoned()
        await self.uploads.remove_abandoned()
        await self.codespaces.clean()
        await self.store.write(lambda session: first_key(session, self.settings.access.api_key, home))
        await self.feed.refresh()
        self._tasks += [
            asyncio.create_task(self.supervisor.run()),
            asyncio.create_task(every(self.settings.server.refresh_seconds, self.feed.refresh)),
            asyncio.create_task(every(REPORT_SECONDS, self.reporter.report)),
            asyncio.create_task(every(CAPACITY_SECONDS, self.backend.measure_capacity)),
            asyncio.create_task(every(KEY_USES_SECONDS, lambda: self.keyring.write_uses(self.store))),
            asyncio.create_task(every(RESERVE_SECONDS, lambda: asyncio.to_thread(self.reserve.keep))),
        ]
        await asyncio.to_thread(self.reserve.keep)

    async def _join_others(self) -> None:
        """Has in common with the other control planes of a shared store what they must have in common.

        Raises RuntimeError where the key file is another one, and where the store cannot be shared safely.
        """
        if self.shared is None:
            return
        storage = self.settings.storage
        await self.secrets.require_key()
        await SharedIdentity(self.store, KeyFile(storage.secrets_key), storage.home.absolute()).join()
        try:
            await asyncio.to_thread(self.shared.check)
        except SharedStoreUnavailable:
            logger.warning("the shared store does not answer; Bentos are neither taken in nor listed until it does")
        self._tasks += [
            asyncio.create_task(every(FOLLOW_SECONDS, self._follow)),
            asyncio.create_task(every(SWEEP_SECONDS, self._sweep)),
        ]

    async def _follow(self) -> None:
        with suppress(SharedStoreUnavailable):  # which the store's client has logged
            await self.bentos.follow()

    async def _sweep(self) -> None:
        if self.supervisor.leads:
            with suppress(SharedStoreUnavailable):
                await self.bentos.sweep()

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
        await self.uploads.close()
        await self.activator.close()
        await self.supervisor.close(stop_replicas=not self.settings.server.keep_replicas)
        await self.gateway.close()
        await self.downloader.close()
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
        held = lease is not None and lease.held_until > self.store.clock.unix()
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

    def _now(self) -> datetime:
        """The time by which keys expire; the store is made when it is first asked."""
        return self.store.clock.now()

    def _wake(self) -> None:
        self.supervisor.wake()

    def _learn(self, snapshot: tuple[list[Deployment], list[Replica], list[Key]]) -> None:
        deployments, ready, keys = snapshot
        self.gateway.learn(deployments, ready)
        self.keyring.learn(keys)

    def sections(self) -> tuple[Section, ...]:
        """The API, the models' own addresses, and the calls of BentoML's client, as sections of a server's paths."""
        api = application.section(self, beside_models=self._beside_models)
        return api, proxy.section(self), bentoml_api.section(self)

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
