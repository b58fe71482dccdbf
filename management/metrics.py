"""The management's metrics for Prometheus, made at each scrape from this worker's counters and from the records.

Counters have the label ``worker``: each worker exports its own, and a scrape reaches one of them. Gauges from the
records are the same in all workers. Both exist only for deployments that exist: a removed one takes its series along.

prometheus_client decides at its import whether it counts for one process or for several, by a variable that BentoML
sets when its process starts. It is therefore imported at the first scrape, and none of its own counters is used.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from management.control.demand import TotalLoad, total_load
from management.counters import Durations, ReplicaCounters, RequestCounters
from management.domain.records import GATEWAY, Deployment, LoadReport, Replica, ReplicaState, Status, status_of
from management.errors import StoreUnavailable
from management.gateway.route_table import Route
from management.store import Session, Store
from management.store.leases import Lease

if TYPE_CHECKING:
    from prometheus_client.core import Metric

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
SERVICE: Final = "management"
STATES: Final = tuple(state for state in ReplicaState if state is not ReplicaState.GONE)
"""Replica states that have a series."""

Key = TypeVar("Key", bound=tuple[str, ...])
"""The values of a series' labels."""


@dataclass(frozen=True)
class _Records:
    """The records of the database at one moment."""

    deployments: Sequence[Deployment]
    replicas: Sequence[Replica]
    load_reports: Sequence[LoadReport]
    lease: Lease | None


class Metrics:
    """The metrics of one worker."""

    def __init__(
        self,
        store: Store,
        routes: Iterable[Route],
        counters: MutableMapping[str, ReplicaCounters],
        worker: str,
        home: Path,
    ) -> None:
        """``counters`` are the journal's, by deployment id; ``worker`` is this worker's name in load reports."""
        self._store, self._routes, self._counters, self._worker, self._home = store, routes, counters, worker, home
        self.requests = RequestCounters()

    async def text(self) -> bytes:
        """The metrics in the text format. Without the database, those that this worker knows by itself."""
        try:
            records = await self._store.read(_records)
        except StoreUnavailable:
            records = None
        if records is not None:
            for gone in self._counters.keys() - {deployment.id for deployment in records.deployments}:
                del self._counters[gone]
        return await asyncio.to_thread(self._text, list(self._routes), dict(self._counters), records)

    def _text(
        self, routes: Sequence[Route], counters: Mapping[str, ReplicaCounters], records: _Records | None
    ) -> bytes:
        from prometheus_client import generate_latest
        from prometheus_client.registry import Collector

        families = [*self._platform(records), *_requests(self.requests), *_models(routes)]
        if records is not None:
            # The gateway's report of an activation stands for a request that a worker's queue counts, too.
            counted_here = {self._worker, GATEWAY}
            reports = (report for report in records.load_reports if report.worker not in counted_here)
            others = total_load(reports, self._store.clock.unix())
            families += [
                *_load(routes, others),
                *_deployments(records),
                *_leader_actions(counters, records.deployments),
            ]
        else:
            families += _load(routes, {})

        class Families(Collector):
            def collect(self) -> Iterator[Metric]:
                yield from families

        return generate_latest(Families())

    def _platform(self, records: _Records | None) -> list[Metric]:
        held = records is not None and records.lease is not None and records.lease.held_until > self._store.clock.unix()
        families = [
            _gauge("atelier_management_database_up", "Whether the database answers", (), {(): records is not None}),
            _gauge("atelier_management_lease_held", "Whether a worker starts and stops replicas", (), {(): held}),
        ]
        try:
            disk = shutil.disk_usage(self._home)
        except OSError:  # the folder was removed
            return families
        where = "of the disk that holds ATELIER_HOME"
        return [
            *families,
            _gauge("atelier_management_disk_bytes", f"Size {where}", (), {(): disk.total}),
            _gauge("atelier_management_disk_free_bytes", f"Free bytes {where}", (), {(): disk.free}),
        ]


def _records(session: Session) -> _Records:
    return _Records(session.deployments.all(), session.replicas.all(), session.load_reports.all(), session.leases.get())


def _requests(requests: RequestCounters) -> list[Metric]:
    """Under the names of the models' own endpoints, so that one query finds both."""
    answered = {(SERVICE, *labels): number for labels, number in list(requests.answered.items())}
    seconds = {(SERVICE, *labels): spent for labels, spent in list(requests.seconds.items())}
    served, help_text = ("service", "method", "route"), "From the headers to the end of the answer"
    return [
        _counter("atelier_requests", "Requests answered", (*served, "status"), answered),
        _histogram("atelier_request_seconds", help_text, served, seconds),
    ]


def _models(routes: Sequence[Route]) -> list[Metric]:
    """The outcomes and durations of the requests for each model."""
    counters = {route.model_id: route.counters for route in routes}
    outcomes = {
        (model, outcome.value): number
        for model, counted in counters.items()
        for outcome, number in counted.outcomes.items()
    }
    reasons = {
        (model, reason.value): number
        for model, counted in counters.items()
        for reason, number in counted.rejections.items()
    }
    answered = {(model,): counted.answered for model, counted in counters.items()}
    queued = {(model,): counted.queued for model, counted in counters.items()}
    return [
        _counter("atelier_model_requests", "Requests for a model", ("model", "outcome"), outcomes),
        _counter("atelier_model_rejections", "Requests that were rejected", ("model", "reason"), reasons),
        _histogram("atelier_model_inference_seconds", "Until the answer, waiting included", ("model",), answered),
        _histogram("atelier_model_queue_seconds", "Until a replica had a place", ("model",), queued),
    ]


def _load(routes: Sequence[Route], others: Mapping[str, TotalLoad]) -> list[Metric]:
    """The load of each model at this moment, in all workers."""
    loads = [(route.model_id, route.queue, others.get(route.deployment.id, TotalLoad())) for route in routes]
    in_flight = {(model,): queue.in_flight + other.in_flight for model, queue, other in loads}
    waiting = {(model,): queue.waiting + other.waiting for model, queue, other in loads}
    slots = {(model,): queue.slots + other.slots for model, queue, other in loads}
    return [
        _gauge("atelier_model_in_flight", "Requests that replicas work on", ("model",), in_flight),
        _gauge("atelier_model_waiting", "Requests that wait for a place", ("model",), waiting),
        _gauge("atelier_model_places", "Requests that replicas may work on", ("model",), slots),
    ]


def _deployments(records: _Records) -> list[Metric]:
    """The desired state of each deployment, and its replicas."""
    by_deployment: dict[str, list[Replica]] = {deployment.id: [] for deployment in records.deployments}
    for replica in records.replicas:
        by_deployment[replica.deployment_id].append(replica)
    deployed = [(deployment, deployment.model_id, by_deployment[deployment.id]) for deployment in records.deployments]
    states = {model: Counter(replica.state for replica in replicas) for _, model, replicas in deployed}
    alive = {model: [replica for replica in replicas if replica.state.alive] for _, model, replicas in deployed}
    statuses = {
        (model, status.value): status_of(deployment, replicas) is status
        for deployment, model, replicas in deployed
        for status in Status
    }
    numbers = {(model, state.value): states[model][state] for model in states for state in STATES}
    desired = {(model,): 0 if deployment.deletion else deployment.replicas for deployment, model, _ in deployed}
    cores = {(model,): sum(replica.cpu_millicores for replica in replicas) / 1000 for model, replicas in alive.items()}
    memory = {(model,): sum(replica.memory_bytes for replica in replicas) for model, replicas in alive.items()}
    kept = "Replicas by state; of failed ones the last three are kept"
    return [
        _gauge("atelier_model_status", "1 for the status that the model has", ("model", "status"), statuses),
        _gauge("atelier_model_replicas", kept, ("model", "state"), numbers),
        _gauge("atelier_model_replicas_wanted", "Replicas that are desired", ("model",), desired),
        _gauge("atelier_model_cpu_cores", "Cores that its replicas use, measured", ("model",), cores),
        _gauge("atelier_model_memory_bytes", "Memory that its replicas use, measured", ("model",), memory),
    ]


def _leader_actions(counters: Mapping[str, ReplicaCounters], deployments: Sequence[Deployment]) -> list[Metric]:
    """What this worker did while it led."""
    by_model = {deployment.model_id: counters.get(deployment.id, ReplicaCounters()) for deployment in deployments}
    scalings = {
        (model, direction.value): number
        for model, counted in by_model.items()
        for direction, number in counted.scalings.items()
    }
    starts = {(model,): counted.starts for model, counted in by_model.items()}
    failures = {(model,): counted.failures for model, counted in by_model.items()}
    failed = "Replicas that ended, or were stopped, though they were wanted"
    return [
        _counter("atelier_model_replica_starts", "Replicas that were started", ("model",), starts),
        _counter("atelier_model_replica_failures", failed, ("model",), failures),
        _counter("atelier_model_scalings", "Decisions of the autoscaler", ("model", "direction"), scalings),
    ]


def _gauge(name: str, help_text: str, labels: Sequence[str], values: Mapping[Key, float]) -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(name, help_text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _counter(name: str, help_text: str, labels: Sequence[str], values: Mapping[Key, float]) -> Metric:
    """By this worker."""
    from prometheus_client.core import CounterMetricFamily

    family = CounterMetricFamily(name, help_text, labels=(*labels, "worker"))
    for key, value in values.items():
        family.add_metric((*key, str(os.getpid())), value)
    return family


def _histogram(name: str, help_text: str, labels: Sequence[str], values: Mapping[Key, Durations]) -> Metric:
    """By this worker."""
    from prometheus_client.core import HistogramMetricFamily

    family = HistogramMetricFamily(name, help_text, labels=(*labels, "worker"))
    for key, spent in values.items():
        family.add_metric((*key, str(os.getpid())), buckets=spent.buckets(), sum_value=spent.sum)
    return family
