"""Traffic of the models: the management's Prometheus metrics, compared with the reading before."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise
from typing import Any, Final

STATES: Final = ("starting", "ready", "silent", "draining", "failed")

Labels = frozenset[tuple[str, str]]
Series = defaultdict[str, dict[Labels, float]]
"""Values of one model, or of the platform, by metric name and labels."""


class Traffic:
    """Traffic of every model since the reading before; at the first reading, since the server's worker started."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._before: dict[tuple[str, Labels], float] = {}
        self._read_at: dict[str, float] = {}
        """Time of the last reading by worker: each request may reach another worker of the server."""

    def models(self, text: str) -> list[dict[str, Any]]:
        """The traffic of each model, from metrics in Prometheus' text format."""
        series_by_model, now = _read(text), self._clock()
        platform = series_by_model.pop("", Series(dict))
        workers = {dict(labels).get("worker", "") for labels in platform["atelier_requests_total"]}
        seconds = min((now - self._read_at[worker] for worker in workers if worker in self._read_at), default=None)
        result = [self._model(model, series_by_model[model], seconds) for model in sorted(series_by_model)]
        for series in series_by_model.values():
            self._before |= {
                (name, labels): value for name, values in series.items() for labels, value in values.items()
            }
        self._read_at |= dict.fromkeys(workers, now)
        return result

    def _model(self, model: str, series: Series, seconds: float | None) -> dict[str, Any]:
        statuses, states = _by("status", series["atelier_model_status"]), _by("state", series["atelier_model_replicas"])
        answered = self._increase(series, "atelier_model_inference_seconds_count")
        queued = self._increase(series, "atelier_model_queue_seconds_count")
        return {
            "model_id": model,
            "status": next((status for status, applies in statuses.items() if applies), None),
            "replicas": {
                "desired": _now(series, "atelier_model_replicas_wanted"),
                **{state: int(states[state]) if state in states else None for state in STATES},
            },
            "waiting": _now(series, "atelier_model_waiting"),
            "in_flight": _now(series, "atelier_model_in_flight"),
            "places": _now(series, "atelier_model_places"),
            "answered": int(answered),
            "failed": int(self._increase(series, "atelier_model_requests_total", outcome="failed")),
            "rejected": int(self._increase(series, "atelier_model_rejections_total")),
            "requests_per_second": round(answered / seconds, 3) if seconds else None,
            "latency": {
                "mean": _mean(self._increase(series, "atelier_model_inference_seconds_sum"), answered),
                "p50": self._quantile(series, 0.5),
                "p99": self._quantile(series, 0.99),
            },
            "queue_seconds": _mean(self._increase(series, "atelier_model_queue_seconds_sum"), queued),
        }

    def _increase(self, series: Series, name: str, **labels: str) -> float:
        """The increase of all counters with these labels. A counter below its last value restarted from zero."""
        increase = 0.0
        for counter, value in series[name].items():
            if labels.items() <= counter:
                before = self._before.get((name, counter), 0.0)
                increase += value - before if value >= before else value
        return increase

    def _quantile(self, series: Series, fraction: float) -> float | None:
        """Seconds within which a fraction of the requests was answered, interpolated linearly within a bucket."""
        name = "atelier_model_inference_seconds_bucket"
        ends = {end for labels in series[name] if (end := dict(labels).get("le"))}
        cumulative = sorted((float(end), self._increase(series, name, le=end)) for end in ends)
        rank = fraction * cumulative[-1][1] if cumulative else 0.0
        if not rank:
            return None
        for (low, fewer), (high, more) in pairwise([(0.0, 0.0), *cumulative]):
            if more >= rank:
                return round(low if high == float("inf") else low + (high - low) * (rank - fewer) / (more - fewer), 6)
        return None


def _read(text: str) -> dict[str, Series]:
    """The series by model; those of the platform under the empty name."""
    from prometheus_client.parser import text_string_to_metric_families

    by_model: dict[str, Series] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            series = by_model.setdefault(sample.labels.get("model", ""), Series(dict))
            series[sample.name][frozenset(sample.labels.items())] = sample.value
    return by_model


def _by(label: str, values: dict[Labels, float]) -> dict[str, float]:
    return {dict(labels).get(label, ""): value for labels, value in values.items()}


def _now(series: Series, name: str) -> int | None:
    return next(map(int, series[name].values()), None)


def _mean(total: float, number: float) -> float | None:
    return round(total / number, 6) if number else None
