"""The composition root: the only file that knows every part of the management, and puts them together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import cached_property
from typing import Any, Final

from management.api.application import section
from management.auth.access import Door, Failures, Keyring, role_for_models
from management.auth.bootstrap_key import first_key
from management.backends import machine, registry
from management.backends.backend import Backend
from management.backends.engine import Engine
from management.backup import replacing
from management.control.activation import Errands
from management.control.autoscaling.autoscaler import Autoscaler
from management.control.change_feed import ChangeFeed
from management.control.commands import Wishes
from management.control.deployments import Deployments
from management.control.engines.reconciler import Reconciler
from management.control.journal import Ledger
from management.control.replicas.supervisor import Supervisor
from management.domain.keys import Key
from management.domain.records import Deployment, Replica, Status
from management.errors import StoreUnavailable
from management.faults import failpoints
from management.faults.disk import Reserve
from management.gateway.gateway import Calls, Gateway
from management.gateway.load_reporter import REPORT_SECONDS, Reporter
from management.metrics import Metrics
from management.settings import Settings, settings
from management.startup import every, opened
from management.store import Session, Store
from management.store.leases import Lease
from web.answers import timestamp
from web.edge.middleware import Section

HEALTH_SECONDS: Final = 0.5  # that an answer about the health is good for
USES_SECONDS: Final = 10.0  # between two notes of when keys were used
RESERVE_SECONDS: Final = 30.0  # between two looks whether there is room for the reserve


class Platform:
    """One worker of the management: its store, its gateway, its supervisor, and the routes over them.

    Nothing is opened or started before ``start``; whoever imports a server's module must not begin to manage.
    """

    def __init__(self, read_settings: Callable[[], Settings] = settings, *, beside_models: bool = False) -> None:
        """``beside_models`` says that the same server has models of its own, whose documentation is at ``/docs``."""
        self._read_settings = read_settings
        self._beside_models = beside_models
        self.keyring = Keyring()
        self._tasks: list[asyncio.Task[None]] = []
        self._health: dict[str, Any] = {}
        self._health_until = 0.0

    @cached_property
    def settings(self) -> Settings:
        """Read when they are first needed."""
        return self._read_settings()

    @cached_property
    def store(self) -> Store:
        """The database."""
        return Store(self.settings.database)

    @cached_property
    def feed(self) -> ChangeFeed:
        """How this worker learns of changes."""
        return ChangeFeed(self.store, _snapshot, self._learn, self._wake)

    @cached_property
    def backend(self) -> Backend:
        """Where models run."""
        return registry.make(self.settings)

    @cached_property
    def gateway(self) -> Gateway:
        """The way to the models."""
        errands = self.errands
        return Gateway(
            self.settings,
            Calls(
                self.feed.refresh,
                errands.awaken,
                self.supervisor.suspect,
                errands.eject,
                self.backend.answers,
                self.backend.headers,
            ),
        )

    @cached_property
    def errands(self) -> Errands:
        """What requests set going."""
        return Errands(self.store, self.commands, self.feed.refresh)

    @cached_property
    def reporter(self) -> Reporter:
        """What tells other workers what this one is asked for."""
        return Reporter(self.store, self.gateway.routes)

    @cached_property
    def ledger(self) -> Ledger:
        """What the supervisor writes down."""
        return Ledger(self.store, self.commands.capacity, self.settings.lease_seconds)

    @cached_property
    def metrics(self) -> Metrics:
        """What Prometheus is told."""
        tallies, worker = self.ledger.tallies, self.reporter.worker
        return Metrics(self.store, self.gateway.routes, tallies, worker, self.settings.home)

    @cached_property
    def supervisor(self) -> Supervisor | Reconciler:
        """What makes wishes true: by itself, or by an engine that does."""
        keeper = self.backend.driver
        if isinstance(keeper, Engine):
            return Reconciler(self.ledger, keeper, self.settings, self.feed.refresh)
        short = machine.least_memory(self.settings)
        autoscaler = Autoscaler(self.ledger, self.settings, machine.free_memory, short)
        return Supervisor(self.ledger, keeper, autoscaler, self.settings, self.feed.refresh)

    @cached_property
    def commands(self) -> Wishes:
        """Changes of the desired state."""
        return Wishes(self.backend.capacity, self.settings.hold_seconds)

    @cached_property
    def failures(self) -> Failures:
        """Wrong keys, at any door."""
        return Failures(self.settings.failed_logins)

    @cached_property
    def deployments(self) -> Deployments:
        """What may be deployed, and how changes turn out."""
        return Deployments(self.store, self.backend.images, self.feed, self.supervisor.wake, self._room)

    @cached_property
    def reserve(self) -> Reserve:
        """What a full disk gives up for deletions."""
        return Reserve(self.settings.database_folder)

    async def start(self) -> None:
        """Opens the database and begins to supervise, or tries it again and again: others are served meanwhile.

        Raises what no waiting mends.
        """
        failpoints.arm(self.settings.failpoint)
        if (self.settings.home / replacing.JOURNAL).exists():
            raise RuntimeError(f"a restore into {self.settings.home} was interrupted: run it again, then start")
        if (later := await opened(self.settings.home.absolute(), self._open)) is not None:
            self._tasks.append(later)

    async def _open(self) -> None:
        """Makes the folder, the tables and the first key, learns what there is, and begins to supervise."""
        self.settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.settings.home.chmod(0o700)  # somebody else may have made it
        await asyncio.to_thread(self.reserve.give)
        await asyncio.to_thread(self.store.migrate)
        await self.store.write(lambda session: first_key(session, self.settings))
        await self.feed.refresh()
        self._tasks += [
            asyncio.create_task(self.supervisor.run()),
            asyncio.create_task(every(self.settings.refresh_seconds, self.feed.refresh)),
            asyncio.create_task(every(REPORT_SECONDS, self.reporter.report)),
            asyncio.create_task(every(USES_SECONDS, lambda: self.keyring.write_uses(self.store))),
            asyncio.create_task(every(RESERVE_SECONDS, lambda: asyncio.to_thread(self.reserve.keep))),
        ]
        await asyncio.to_thread(self.reserve.keep)

    async def _room(self, model_id: str) -> AsyncIterator[None]:
        """Steps that make room for deleting a model on a full disk: what is kept for it, then what the model left."""
        if await asyncio.to_thread(self.reserve.give):
            yield
        if not await asyncio.to_thread(self.reserve.is_needed):
            return  # the database is away for another reason, which no ended replica mends
        if isinstance(self.supervisor, Supervisor) and await self.supervisor.end_at_once(model_id):
            yield

    async def close(self) -> None:
        """Ends what ``start`` began; replicas too, unless they are to be kept."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.errands.close()
        await self.supervisor.close(stop_replicas=not self.settings.keep_replicas)
        await self.gateway.close()
        await self.backend.close()
        with suppress(StoreUnavailable):
            await self.keyring.write_uses(self.store)
        self.store.close()

    async def end_replicas(self) -> None:
        """Ends every replica of a server whose workers have ended."""
        await self.supervisor.close(stop_replicas=True)
        await self.backend.close()
        self.store.close()

    async def health(self) -> dict[str, Any]:
        """Database, lease, backend, and how many models are ready of those wanted."""
        at = time.monotonic()
        if at >= self._health_until:  # anybody may ask: the database is not asked each time
            self._health, self._health_until = await self._found_health(), at + HEALTH_SECONDS
        return {**self._health, "timestamp": timestamp()}

    async def _found_health(self) -> dict[str, Any]:
        try:
            lease, wanted, ready = await self.store.read(_state)
        except StoreUnavailable:
            return {"status": "unhealthy", "database": "unavailable", "backend": self.settings.backend}
        held = lease is not None and lease.held_until > time.time()
        answers = await self.backend.answers()
        return {
            "status": "healthy" if held and answers and ready == wanted else "degraded",
            "database": "ok",
            "lease": "held" if held else "free",
            "backend": self.settings.backend,
            "backend_state": "ok" if answers else "unavailable",
            "models": {"wanted": wanted, "ready": ready},
        }

    async def logs(self, deployment: Deployment, replicas: list[Replica], lines: int) -> dict[str, list[str]]:
        """The last lines of each replica, by its id."""
        return await self.supervisor.log(deployment, replicas, lines)

    async def about(self) -> dict[str, Any] | None:
        """``health`` as a front door shows it beside its models; None when the management does not work."""
        said = await self.health()
        return None if said["status"] == "unhealthy" else said

    def _wake(self) -> None:
        self.supervisor.wake()

    def _learn(self, snapshot: tuple[list[Deployment], list[Replica], list[Key]]) -> None:
        deployments, ready, keys = snapshot
        self.gateway.learn(deployments, ready)
        self.keyring.learn(keys)

    # As a part of a server

    def section(self) -> Section:
        """The API as a part of a server's paths."""
        return section(self, beside_models=self._beside_models)

    def door_for_models(self, open_paths: frozenset[str]) -> Door | None:
        """The door of the models' own endpoints, if the settings ask for one."""
        if not self.settings.keys_for_models:
            return None
        return Door(self.keyring, self.failures, role_for_models(open_paths))


def _snapshot(session: Session) -> tuple[list[Deployment], list[Replica], list[Key]]:
    """All deployments, the replicas that are ready, and all keys."""
    return session.deployments.all(), session.replicas.ready(), session.keys.all()


def _state(session: Session) -> tuple[Lease | None, int, int]:
    """The lease, the models that are wanted, and those of them that run."""
    counts = session.deployments.counts()
    wanted = sum(number for status, number in counts.items() if status is not Status.STOPPED)
    return session.leases.get(), wanted, counts[Status.RUNNING]
