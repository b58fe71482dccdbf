"""What Prometheus is told of the management: made when it asks, of what this worker counted and what is recorded.

What is counted has the label ``worker``: of several workers each tells its own, and a question comes to one of them.
What is recorded is the same whichever is asked. Both are of deployments that are there: with one, its series are gone.

prometheus_client decides at its import whether it counts for one process or for several, by a variable that BentoML
sets when its process starts: it is imported at the first question, and none of its own counters is used.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from management.control.demand import (
    Wanted,
    added_up,
)
from management.counters import Durations, ReplicaTally, Requests
from management.domain.records import (
    GATEWAY,
    Demand,
    Deployment,
    Replica,
    ReplicaState,
    Status,
    status_of,
)
from management.errors import StoreUnavailable
from management.gateway.route_table import Route
from management.store import Session, Store
from management.store.leases import Lease

if TYPE_CHECKING:
    from prometheus_client.core import Metric

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
SERVICE: Final = "management"
STATES: Final = tuple(one for one in ReplicaState if one is not ReplicaState.GONE)

Key = TypeVar("Key", bound=tuple[str, ...])
"""The values of a series' labels."""


@dataclass(frozen=True)
class _Records:
    """The database at one moment."""

    deployments: Sequence[Deployment]
    replicas: Sequence[Replica]
    demands: Sequence[Demand]
    lease: Lease | None


class Metrics:
    """Of one worker."""

    def __init__(
        self,
        store: Store,
        routes: Iterable[Route],
        tallies: MutableMapping[str, ReplicaTally],
        worker: str,
        home: Path,
    ) -> None:
        """``tallies`` are those of the ledger, by deployment; ``worker`` is this one's name in what is demanded."""
        self._store, self._routes, self._tallies, self._worker, self._home = store, routes, tallies, worker, home
        self.requests = Requests()

    async def text(self) -> bytes:
        """In the text format; without the database, what this worker knows by itself."""
        try:
            records = await self._store.read(_records)
        except StoreUnavailable:
            records = None
        if records is not None:
            for gone in self._tallies.keys() - {one.id for one in records.deployments}:
                del self._tallies[gone]
        return await asyncio.to_thread(self._text, list(self._routes), dict(self._tallies), records)

    def _text(self, routes: Sequence[Route], tallies: Mapping[str, ReplicaTally], records: _Records | None) -> bytes:
        from prometheus_client import generate_latest
        from prometheus_client.registry import Collector

        families = [*self._platform(records), *_requests(self.requests), *_models(routes)]
        if records is not None:
            # A wake's own demand stands for a request that some worker's line counts, too.
            own = {self._worker, GATEWAY}
            others = added_up((one for one in records.demands if one.worker not in own), time.time())
            families += [*_load(routes, others), *_deployments(records), *_supervised(tallies, records.deployments)]
        else:
            families += _load(routes, {})

        class Made(Collector):
            def collect(self) -> Iterator[Metric]:
                yield from families

        return generate_latest(Made())

    def _platform(self, records: _Records | None) -> list[Metric]:
        held = records is not None and records.lease is not None and records.lease.held_until > time.time()
        families = [
            _gauge("atelier_management_database_up", "Whether the database answers", (), {(): records is not None}),
            _gauge("atelier_management_lease_held", "Whether a worker starts and ends replicas", (), {(): held}),
        ]
        try:
            disk = shutil.disk_usage(self._home)
        except OSError:  # the folder is gone
            return families
        about = "of the disk that holds ATELIER_HOME"
        return [
            *families,
            _gauge("atelier_management_disk_bytes", f"Size {about}", (), {(): disk.total}),
            _gauge("atelier_management_disk_free_bytes", f"What is free {about}", (), {(): disk.free}),
        ]


def _records(session: Session) -> _Records:
    return _Records(session.deployments.all(), session.replicas.all(), session.demands.all(), session.leases.get())


def _requests(requests: Requests) -> list[Metric]:
    """Under the names that the models' own endpoints have, so that one question finds both."""
    answered = {(SERVICE, *labels): number for labels, number in list(requests.answered.items())}
    seconds = {(SERVICE, *labels): spent for labels, spent in list(requests.seconds.items())}
    served, about = ("service", "method", "route"), "From the headers to the end of the answer"
    return [
        _counter("atelier_requests", "Requests answered", (*served, "status"), answered),
        _histogram("atelier_request_seconds", about, served, seconds),
    ]


def _models(routes: Sequence[Route]) -> list[Metric]:
    """What became of the requests for each model."""
    tallies = {one.model_id: one.tally for one in routes}
    outcomes = {(model, what.value): n for model, tally in tallies.items() for what, n in tally.outcomes.items()}
    reasons = {(model, why.value): n for model, tally in tallies.items() for why, n in tally.rejections.items()}
    answered = {(model,): tally.answered for model, tally in tallies.items()}
    queued = {(model,): tally.queued for model, tally in tallies.items()}
    return [
        _counter("atelier_model_requests", "Requests for a model", ("model", "outcome"), outcomes),
        _counter("atelier_model_rejections", "Requests that were turned away", ("model", "reason"), reasons),
        _histogram("atelier_model_inference_seconds", "Until the answer, waiting included", ("model",), answered),
        _histogram("atelier_model_queue_seconds", "Until a replica had a place", ("model",), queued),
    ]


def _load(routes: Sequence[Route], others: Mapping[str, Wanted]) -> list[Metric]:
    """What goes on at this moment, in every worker."""
    found = [(one.model_id, one.line, others.get(one.deployment.id, Wanted())) for one in routes]
    in_flight = {(model,): own.in_flight + other.in_flight for model, own, other in found}
    waiting = {(model,): own.waiting + other.waiting for model, own, other in found}
    places = {(model,): own.places + other.places for model, own, other in found}
    return [
        _gauge("atelier_model_in_flight", "Requests that replicas work on", ("model",), in_flight),
        _gauge("atelier_model_waiting", "Requests that wait for a place", ("model",), waiting),
        _gauge("atelier_model_places", "Requests that replicas may work on", ("model",), places),
    ]


def _deployments(records: _Records) -> list[Metric]:
    """What is wished, and what there is of it."""
    own: dict[str, list[Replica]] = {one.id: [] for one in records.deployments}
    for replica in records.replicas:
        own[replica.deployment_id].append(replica)
    named = [(one, one.model_id, own[one.id]) for one in records.deployments]
    states = {model: Counter(one.state for one in replicas) for _, model, replicas in named}
    alive = {model: [one for one in replicas if one.state.alive] for _, model, replicas in named}
    statuses = {(model, one.value): status_of(of, its) is one for of, model, its in named for one in Status}
    replicas = {(model, one.value): states[model][one] for model in states for one in STATES}
    wanted = {(model,): 0 if one.removal else one.replicas for one, model, _ in named}
    cores = {(model,): sum(one.cpu_millicores for one in those) / 1000 for model, those in alive.items()}
    memory = {(model,): sum(one.memory_bytes for one in those) for model, those in alive.items()}
    kept = "Replicas; of those that failed the last three are remembered"
    return [
        _gauge("atelier_model_status", "1 for the status that the model has", ("model", "status"), statuses),
        _gauge("atelier_model_replicas", kept, ("model", "state"), replicas),
        _gauge("atelier_model_replicas_wanted", "Replicas that are wished for", ("model",), wanted),
        _gauge("atelier_model_cpu_cores", "Cores that its replicas use, measured", ("model",), cores),
        _gauge("atelier_model_memory_bytes", "Memory that its replicas use, measured", ("model",), memory),
    ]


def _supervised(tallies: Mapping[str, ReplicaTally], deployments: Sequence[Deployment]) -> list[Metric]:
    """What this worker did, where it led."""
    own = {one.model_id: tallies.get(one.id, ReplicaTally()) for one in deployments}
    scalings = {(model, way.value): n for model, tally in own.items() for way, n in tally.scalings.items()}
    starts = {(model,): tally.starts for model, tally in own.items()}
    failures = {(model,): tally.failures for model, tally in own.items()}
    failed = "Replicas that ended, or were ended, though they were wanted"
    return [
        _counter("atelier_model_replica_starts", "Replicas that were started", ("model",), starts),
        _counter("atelier_model_replica_failures", failed, ("model",), failures),
        _counter("atelier_model_scalings", "Decisions of the autoscaler", ("model", "direction"), scalings),
    ]


def _gauge(name: str, about: str, labels: Sequence[str], values: Mapping[Key, float]) -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(name, about, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _counter(name: str, about: str, labels: Sequence[str], values: Mapping[Key, float]) -> Metric:
    """By this worker."""
    from prometheus_client.core import CounterMetricFamily

    family = CounterMetricFamily(name, about, labels=(*labels, "worker"))
    for key, value in values.items():
        family.add_metric((*key, str(os.getpid())), value)
    return family


def _histogram(name: str, about: str, labels: Sequence[str], values: Mapping[Key, Durations]) -> Metric:
    """By this worker."""
    from prometheus_client.core import HistogramMetricFamily

    family = HistogramMetricFamily(name, about, labels=(*labels, "worker"))
    for key, spent in values.items():
        family.add_metric((*key, str(os.getpid())), buckets=spent.buckets(), sum_value=spent.sum)
    return family
