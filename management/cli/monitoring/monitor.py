"""The command ``monitor``: the machine, the API's health and the models at intervals, for people or programs."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import click
import requests
from rich.live import Live

from client import AtelierClient, AtelierError
from management.cli._options import ClientOptions, client_options, remote
from management.cli._terminal import json_text, out, show
from management.cli.monitoring.machine import Machine
from management.cli.monitoring.traffic import Traffic
from management.cli.monitoring.view import view
from management.cli.progress import backend_fault

HEALTH_TIMEOUT_SECONDS: Final = 10.0
"""Seconds for the API to report its health or its metrics."""
WARNED: Final = 1
"""Exit status with warnings alone."""
UNHEALTHY: Final = 3
"""Exit status with errors, the same as for a server that does not answer."""
HIDDEN: Final = (401, 403, 404)
"""HTTP statuses without an alert: the caller has no key, or the server is a single model without the management."""

Observation = dict[str, Any]
Decorated = TypeVar("Decorated", bound=Callable[..., Any])


@dataclass(frozen=True)
class Thresholds:
    """Percentages above which there is a warning."""

    cpu: float
    memory: float
    gpu: float


@dataclass
class Monitor:
    """Observes the machine, the API and the models, and keeps the counters of the observation before."""

    options: ClientOptions
    thresholds: Thresholds
    machine: Machine = field(default_factory=Machine)
    traffic: Traffic = field(default_factory=Traffic)

    def look(self) -> Observation:
        """One observation, with its alerts."""
        system = self.machine.look()
        with self.options.client() as client:
            api = health(client)
            models = self._models(client) if api["status"] != "error" else {"models": None}
        observed = {"system": system, "api": api, **models}
        return {**observed, "alerts": alerts(observed, self.thresholds)}

    def _models(self, client: AtelierClient) -> Observation:
        try:
            answer = client.send("GET", "/api/v1/metrics", timeout=HEALTH_TIMEOUT_SECONDS)
            if answer.status_code in HIDDEN:
                return {"models": None}
            answer.raise_for_status()
            return {"models": self.traffic.models(answer.text)}
        except (AtelierError, requests.HTTPError, ValueError):
            return {"models": None, "models_error": "the management does not report its models"}


def health(client: AtelierClient) -> Observation:
    """The health that the API reports about itself; the status ``error`` means that it does not answer."""
    try:
        answer = client.send("GET", "/health", timeout=HEALTH_TIMEOUT_SECONDS)
    except AtelierError as error:
        return {"status": "error", "error": error.message, "response_time": None, "status_code": None}
    fault = _fault(answer)
    unhealthy = answer.status_code != requests.codes.ok or fault is not None
    return {
        "status": "unhealthy" if unhealthy else "healthy",
        "response_time": round(answer.elapsed.total_seconds(), 6),
        "status_code": answer.status_code,
        **({} if fault is None else {"error": fault}),
    }


def _fault(answer: requests.Response) -> str | None:
    """Why the management cannot start models although it answers; the front door reports it under ``management``."""
    try:
        body = answer.json()
    except requests.JSONDecodeError:
        return None
    management = body.get("management", body) if isinstance(body, dict) else None
    return backend_fault(management)


def alerts(observed: Observation, thresholds: Thresholds) -> list[dict[str, str]]:
    """The alerts of an observation, each a ``warning`` or an ``error``."""
    system, api = observed["system"], observed["api"]
    result = []
    if system["cpu_percent"] > thresholds.cpu:
        result.append(_alert("warning", f"High CPU usage: {system['cpu_percent']:.1f}%"))
    if system["memory_percent"] > thresholds.memory:
        result.append(_alert("warning", f"High memory usage: {system['memory_percent']:.1f}%"))
    for gpu in system["gpu_metrics"]:
        if (gpu["load"] or 0) > thresholds.gpu:
            result.append(_alert("warning", f"High GPU load: {gpu['load']:.1f}% on {gpu['name']}"))
    for model in observed["models"] or ():
        if model["status"] == "failed":
            result.append(_alert("warning", f"Model failed: {model['model_id']}"))
    if "models_error" in observed:
        result.append(_alert("warning", f"Models unknown: {observed['models_error']}"))
    if api["status"] != "healthy":
        reason = api.get("error") or f"HTTP {api['status_code']}"
        result.append(_alert("error", f"API {api['status']}: {reason}"))
    return result


def _alert(level: str, message: str) -> dict[str, str]:
    return {"level": level, "message": message}


def exit_status(observed: Observation) -> int:
    """0 without alerts, 1 with warnings, 3 where the API is not healthy or does not answer."""
    levels = {alert["level"] for alert in observed["alerts"]}
    return UNHEALTHY if "error" in levels else WARNED if levels else 0


def _percent(name: str, default: float, about: str) -> Callable[[Decorated], Decorated]:
    return click.option(
        f"--warn-{name}",
        name,
        type=click.FloatRange(0, 100),
        default=default,
        show_default=True,
        metavar="PERCENT",
        help=f"Warn if {about} is used more than this.",
    )


@click.command()
@click.option(
    "--interval",
    type=click.FloatRange(0.1, 86_400),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="Seconds between two checks.",
)
@click.option("--once", is_flag=True, help="Check once; the exit status is the result.")
@_percent("cpu", 80.0, "the CPU")
@_percent("memory", 90.0, "the memory")
@_percent("gpu", 90.0, "a GPU")
@remote
def monitor(*, interval: float, once: bool, **percent: float) -> None:
    r"""Show this machine's CPU, memory, disk and GPUs, the API's health, and each model's queue, latency and replicas.

    \b
    python -m management monitor --api-url http://localhost:5000 --interval 5
    python -m management monitor --once --json

    The server is the front door, the management, or a single model; --api-url is another name of --url, and the default
    is http://localhost:8080. Models are shown if the API key allows it. --json prints one object per line. The command
    ends with Ctrl-C, or after one check with --once. The exit status of --once is 0 without alerts, 1 with warnings, 2
    for wrong usage, and 3 if the API is not healthy or does not answer.
    """
    options = client_options()
    observer = Monitor(options, Thresholds(**percent))
    if once:
        observed = observer.look()
        _print(observed, options)
        click.get_current_context().exit(exit_status(observed))
    with suppress(KeyboardInterrupt):  # Ctrl-C is the normal end
        _watch(observer, options, interval)


def _watch(observer: Monitor, options: ClientOptions, interval: float) -> None:
    console = out()
    if options.as_json or not console.is_terminal:
        while True:
            _print(observer.look(), options)
            time.sleep(interval)
    with Live(view(None, options.url), console=console, auto_refresh=False) as live:
        while True:
            live.update(view(observer.look(), options.url), refresh=True)
            time.sleep(interval)


def _print(observed: Observation, options: ClientOptions) -> None:
    if options.as_json:
        click.echo(json_text(observed))
        return
    show(out(), view(observed, options.url))
