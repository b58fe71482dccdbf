"""What a server of the management tells Prometheus, read the way Prometheus does."""

from __future__ import annotations

import httpx
from prometheus_client.parser import text_string_to_metric_families

Series = dict[str, list[tuple[dict[str, str], float]]]


def scraped(api: httpx.Client) -> Series:
    """By name, the labels and the value of each series."""
    answer = api.get("/metrics")
    assert answer.status_code == 200, answer.text
    found: Series = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((dict(sample.labels), sample.value))
    return found


def total(api: httpx.Client, name: str, **labels: str) -> float:
    """The sum of the series of this name that have these labels."""
    return sum(value for told, value in scraped(api).get(name, []) if labels.items() <= told.items())


def occupied(api: httpx.Client) -> tuple[float, float]:
    """The requests that replicas work on, and those that wait for a place."""
    return total(api, "atelier_model_in_flight"), total(api, "atelier_model_waiting")
