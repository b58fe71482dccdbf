"""Prometheus metrics in addition to BentoML's own, on the same ``/metrics``.

prometheus_client decides at import whether it counts for one process or several, by a variable that BentoML sets at
process start. So it is imported at the first count.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from prometheus_client import Counter, Histogram

SECONDS_BUCKETS: Final = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Upper bounds of the histograms' buckets in seconds."""
SIZE_BUCKETS: Final = (1, 2, 4, 8, 16, 32)
"""Upper bounds of the batch size histogram's buckets in items."""
OTHER_ROUTE: Final = "other"
"""Label of all paths except the models' endpoints: each unknown path would create a time series."""


@dataclass(frozen=True)
class _Metrics:
    requests: Counter
    request_seconds: Histogram
    batch_size: Histogram
    batch_wait: Histogram


@cache
def _metrics() -> _Metrics:
    from prometheus_client import Counter, Histogram

    served = ("service", "method", "route")
    return _Metrics(
        Counter("atelier_requests", "Requests answered", (*served, "status")),
        Histogram(
            "atelier_request_seconds", "From the headers to the end of the answer", served, buckets=SECONDS_BUCKETS
        ),
        Histogram("atelier_batch_size", "Items that were computed together", ("service",), buckets=SIZE_BUCKETS),
        Histogram(
            "atelier_batch_wait_seconds", "How long a batch's first item waited", ("service",), buckets=SECONDS_BUCKETS
        ),
    )


def request(service: str, method: str, route: str, status: int, seconds: float) -> None:
    """Count an answered request and its seconds; all labels come from closed sets."""
    metrics = _metrics()
    metrics.requests.labels(service, method, route, f"{status // 100}xx").inc()
    metrics.request_seconds.labels(service, method, route).observe(seconds)


def batch(service: str, size: int, waited: float) -> None:
    """Count a batch of ``size`` items; ``waited`` is in seconds."""
    metrics = _metrics()
    metrics.batch_size.labels(service).observe(size)
    metrics.batch_wait.labels(service).observe(waited)
