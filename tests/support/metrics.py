"""The metrics of a server of the management, as Prometheus reads them."""

from __future__ import annotations

import httpx
from prometheus_client.parser import text_string_to_metric_families

Series = dict[str, list[tuple[dict[str, str], float]]]


def scraped(api: httpx.Client) -> Series:
    """Return the labels and the value of each series, by name."""
    answer = api.get("/metrics")
    assert answer.status_code == 200, answer.text
    found: Series = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((dict(sample.labels), sample.value))
    return found


def total(api: httpx.Client, name: str, **labels: str) -> float:
    """Return the sum of the series with this name and these labels."""
    return sum(value for series, value in scraped(api).get(name, []) if labels.items() <= series.items())


def occupied(api: httpx.Client) -> tuple[float, float]:
    """Return the numbers of requests in flight and in the queue."""
    return total(api, "atelier_model_in_flight"), total(api, "atelier_model_waiting")
