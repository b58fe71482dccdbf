"""How the models fare: what the management tells Prometheus, read for people, and compared with the last time."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise
from typing import Any, Final

STATES: Final = ("starting", "ready", "silent", "draining", "failed")

Labels = frozenset[tuple[str, str]]
Series = defaultdict[str, dict[Labels, float]]
"""Of one model, or of none, by name."""


class Traffic:
    """Of every model since the last look; at the first one, since the server's worker began."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._before: dict[tuple[str, Labels], float] = {}
        self._read_at: dict[str, float] = {}
        """Of each worker of the server, whichever happens to be asked."""

    def models(self, text: str) -> list[dict[str, Any]]:
        """What is told of each model in Prometheus' format."""
        found, at = _read(text), self._clock()
        platform = found.pop("", Series(dict))
        workers = {dict(labels).get("worker", "") for labels in platform["atelier_requests_total"]}
        since = min((at - self._read_at[one] for one in workers if one in self._read_at), default=None)
        told = [self._model(model, found[model], since) for model in sorted(found)]
        for own in found.values():
            self._before |= {(name, labels): value for name, one in own.items() for labels, value in one.items()}
        self._read_at |= dict.fromkeys(workers, at)
        return told

    def _model(self, model: str, own: Series, seconds: float | None) -> dict[str, Any]:
        statuses, states = _by("status", own["atelier_model_status"]), _by("state", own["atelier_model_replicas"])
        answered = self._grown(own, "atelier_model_inference_seconds_count")
        queued = self._grown(own, "atelier_model_queue_seconds_count")
        return {
            "model_id": model,
            "status": next((status for status, has_it in statuses.items() if has_it), None),
            "replicas": {
                "desired": _now(own, "atelier_model_replicas_wanted"),
                **{state: int(states[state]) if state in states else None for state in STATES},
            },
            "waiting": _now(own, "atelier_model_waiting"),
            "in_flight": _now(own, "atelier_model_in_flight"),
            "places": _now(own, "atelier_model_places"),
            "answered": int(answered),
            "failed": int(self._grown(own, "atelier_model_requests_total", outcome="failed")),
            "rejected": int(self._grown(own, "atelier_model_rejections_total")),
            "requests_per_second": round(answered / seconds, 3) if seconds else None,
            "latency": {
                "mean": _mean(self._grown(own, "atelier_model_inference_seconds_sum"), answered),
                "p50": self._quantile(own, 0.5),
                "p99": self._quantile(own, 0.99),
            },
            "queue_seconds": _mean(self._grown(own, "atelier_model_queue_seconds_sum"), queued),
        }

    def _grown(self, own: Series, name: str, **labels: str) -> float:
        """By how much these counters have grown; one that is less than it was began anew."""
        grown = 0.0
        for one, value in own[name].items():
            if labels.items() <= one:
                before = self._before.get((name, one), 0.0)
                grown += value - before if value >= before else value
        return grown

    def _quantile(self, own: Series, part: float) -> float | None:
        """Seconds within which so large a part was answered; between two ends of a bucket by rule of three."""
        name = "atelier_model_inference_seconds_bucket"
        ends = {end for labels in own[name] if (end := dict(labels).get("le"))}
        upto = sorted((float(end), self._grown(own, name, le=end)) for end in ends)
        rank = part * upto[-1][1] if upto else 0.0
        if not rank:
            return None
        for (low, fewer), (high, more) in pairwise([(0.0, 0.0), *upto]):
            if more >= rank:
                return round(low if high == float("inf") else low + (high - low) * (rank - fewer) / (more - fewer), 6)
        return None


def _read(text: str) -> dict[str, Series]:
    """By model; what is of no model, under no name."""
    from prometheus_client.parser import text_string_to_metric_families

    found: dict[str, Series] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            own = found.setdefault(sample.labels.get("model", ""), Series(dict))
            own[sample.name][frozenset(sample.labels.items())] = sample.value
    return found


def _by(label: str, series: dict[Labels, float]) -> dict[str, float]:
    return {dict(one).get(label, ""): value for one, value in series.items()}


def _now(own: Series, name: str) -> int | None:
    return next(map(int, own[name].values()), None)


def _mean(total: float, number: float) -> float | None:
    return round(total / number, 6) if number else None
