"""How the command ``monitor`` reads what the management tells Prometheus: what has come since the last look."""

from __future__ import annotations

import pytest

from management.cli.monitoring.traffic import Traffic
from tests.doubles.stage import HandClock


def text(worker: str, model: str = "a", *, answered: int, seconds: float, slow: int = 0, **more: int) -> str:
    """What a worker tells of a model: ``answered`` of which ``slow`` took more than 0.1 s and all less than 1 s."""
    own, its = f'model="{model}"', f'model="{model}",worker="{worker}"'
    counts = {"failed": 0, "rejected": 0, **more}
    return f"""
# TYPE atelier_requests counter
atelier_requests_total{{service="management",worker="{worker}"}} 1
# TYPE atelier_model_inference_seconds histogram
atelier_model_inference_seconds_bucket{{{its},le="0.1"}} {answered - slow}
atelier_model_inference_seconds_bucket{{{its},le="1.0"}} {answered}
atelier_model_inference_seconds_bucket{{{its},le="+Inf"}} {answered}
atelier_model_inference_seconds_count{{{its}}} {answered}
atelier_model_inference_seconds_sum{{{its}}} {seconds}
# TYPE atelier_model_requests counter
atelier_model_requests_total{{{its},outcome="failed"}} {counts["failed"]}
# TYPE atelier_model_rejections counter
atelier_model_rejections_total{{{its},reason="queue_full"}} {counts["rejected"]}
# TYPE atelier_model_waiting gauge
atelier_model_waiting{{{own}}} 7
"""


def test_a_look_tells_what_has_come_since_the_last_one() -> None:
    clock = HandClock(0.0)
    traffic = Traffic(clock.steady)
    (first,) = traffic.models(text("1", answered=100, seconds=10.0))
    assert (first["answered"], first["latency"]["mean"], first["requests_per_second"]) == (100, 0.1, None)
    clock.at = 10.0
    (second,) = traffic.models(text("1", answered=120, seconds=20.0, failed=2, rejected=3))
    assert (second["answered"], second["failed"], second["rejected"]) == (20, 2, 3)
    assert (second["latency"]["mean"], second["requests_per_second"]) == (0.5, 2.0)
    assert (second["waiting"], second["status"], second["replicas"]["ready"]) == (7, None, None)
    clock.at = 20.0
    (idle,) = traffic.models(text("1", answered=120, seconds=20.0))
    assert (idle["answered"], idle["latency"]) == (0, {"mean": None, "p50": None, "p99": None})


def test_the_quantiles_are_those_of_the_buckets() -> None:
    (told,) = Traffic().models(text("1", answered=100, seconds=10.0, slow=10))
    assert told["latency"]["p50"] == pytest.approx(0.1 * 50 / 90, abs=1e-6)
    assert told["latency"]["p99"] == pytest.approx(0.1 + 0.9 * 9 / 10, abs=1e-6)


def test_another_worker_and_one_that_began_anew_are_no_leap() -> None:
    clock = HandClock(0.0)
    traffic = Traffic(clock.steady)
    traffic.models(text("1", answered=100, seconds=10.0))
    traffic.models(text("2", answered=1000, seconds=10.0))
    clock.at = 10.0
    (told,) = traffic.models(text("1", answered=110, seconds=11.0))
    assert told["answered"] == 10
    (anew,) = traffic.models(text("1", answered=5, seconds=1.0))
    assert anew["answered"] == 5
