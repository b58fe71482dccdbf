"""The command ``monitor``: the machine, the API's health and the models, again and again, for people or machines."""

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
from management.cli.common import Terms, json_text, out, remote, terms
from management.cli.models.views import show
from management.cli.monitoring.machine import Machine
from management.cli.monitoring.traffic import Traffic
from management.cli.monitoring.view import view
from management.cli.progress import backend_fault

HEALTH_SECONDS: Final = 10.0
"""That the API may take to say how it is."""
WARNED: Final = 1
UNHEALTHY: Final = 3
"""As for a server that does not answer."""
HIDDEN: Final = (401, 403, 404)
"""Statuses for callers without a key, and of a model that is served alone: models are not shown, nothing is wrong."""

Look = dict[str, Any]
Decorated = TypeVar("Decorated", bound=Callable[..., Any])


@dataclass(frozen=True)
class Thresholds:
    """Percentages; more is warned of."""

    cpu: float
    memory: float
    gpu: float


@dataclass
class Monitor:
    """What is looked at, with what was seen the last time."""

    terms: Terms
    thresholds: Thresholds
    machine: Machine = field(default_factory=Machine)
    traffic: Traffic = field(default_factory=Traffic)

    def look(self) -> Look:
        """All of it, and what of it is a reason to worry."""
        system = self.machine.look()
        with self.terms.client() as client:
            api = health(client)
            models = self._models(client) if api["status"] != "error" else {"models": None}
        seen = {"system": system, "api": api, **models}
        return {**seen, "alerts": alerts(seen, self.thresholds)}

    def _models(self, client: AtelierClient) -> Look:
        try:
            answer = client.send("GET", "/api/v1/metrics", timeout=HEALTH_SECONDS)
            if answer.status_code in HIDDEN:
                return {"models": None}
            answer.raise_for_status()
            return {"models": self.traffic.models(answer.text)}
        except (AtelierError, requests.HTTPError, ValueError):
            return {"models": None, "models_error": "the management does not report its models"}


def health(client: AtelierClient) -> Look:
    """Whether the API is well, by its own word; an ``error`` is that it does not answer."""
    try:
        answer = client.send("GET", "/health", timeout=HEALTH_SECONDS)
    except AtelierError as error:
        return {"status": "error", "error": error.message, "response_time": None, "status_code": None}
    fault = _fault(answer)
    ill = answer.status_code != requests.codes.ok or fault is not None
    return {
        "status": "unhealthy" if ill else "healthy",
        "response_time": round(answer.elapsed.total_seconds(), 6),
        "status_code": answer.status_code,
        **({} if fault is None else {"error": fault}),
    }


def _fault(answer: requests.Response) -> str | None:
    """What keeps the management from starting models, though it answers: by itself, or beside a front door's models."""
    try:
        told = answer.json()
    except requests.JSONDecodeError:
        return None
    management = told.get("management", told) if isinstance(told, dict) else None
    return backend_fault(management)


def alerts(seen: Look, thresholds: Thresholds) -> list[dict[str, str]]:
    """What is a reason to worry, as ``warning`` or ``error``."""
    system, api = seen["system"], seen["api"]
    told = []
    if system["cpu_percent"] > thresholds.cpu:
        told.append(_alert("warning", f"High CPU usage: {system['cpu_percent']:.1f}%"))
    if system["memory_percent"] > thresholds.memory:
        told.append(_alert("warning", f"High memory usage: {system['memory_percent']:.1f}%"))
    for gpu in system["gpu_metrics"]:
        if (gpu["load"] or 0) > thresholds.gpu:
            told.append(_alert("warning", f"High GPU load: {gpu['load']:.1f}% on {gpu['name']}"))
    for model in seen["models"] or ():
        if model["status"] == "failed":
            told.append(_alert("warning", f"Model failed: {model['model_id']}"))
    if "models_error" in seen:
        told.append(_alert("warning", f"Models unknown: {seen['models_error']}"))
    if api["status"] != "healthy":
        why = api.get("error") or f"HTTP {api['status_code']}"
        told.append(_alert("error", f"API {api['status']}: {why}"))
    return told


def _alert(level: str, message: str) -> dict[str, str]:
    return {"level": level, "message": message}


def exit_status(seen: Look) -> int:
    """0 is well, 1 is warned of, 3 is an API that is not healthy or does not answer."""
    levels = {one["level"] for one in seen["alerts"]}
    return UNHEALTHY if "error" in levels else WARNED if levels else 0


def _percent(name: str, default: float, about: str) -> Callable[[Decorated], Decorated]:
    return click.option(
        f"--warn-{name}",
        name,
        type=click.FloatRange(0, 100),
        default=default,
        show_default=True,
        metavar="PERCENT",
        help=f"Warn where {about} is used more.",
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

    The server may be the front door, the management, or one model alone: --api-url is --url under another name, and
    http://localhost:8080 where neither is given. Models are shown where there is a key that may look. --json prints
    an object a line. It ends with Ctrl-C, or with --once, whose exit status is 0 where all is well, 1 where there are
    warnings, 2 where it is called wrongly, 3 where the API is not healthy or does not answer.
    """
    asked = terms()
    watched = Monitor(asked, Thresholds(**percent))
    if once:
        seen = watched.look()
        _print(seen, asked)
        click.get_current_context().exit(exit_status(seen))
    with suppress(KeyboardInterrupt):  # it is how one ends it
        _watch(watched, asked, interval)


def _watch(watched: Monitor, asked: Terms, interval: float) -> None:
    console = out()
    if asked.as_json or not console.is_terminal:
        while True:
            _print(watched.look(), asked)
            time.sleep(interval)
    with Live(view(None, asked.url), console=console, auto_refresh=False) as live:
        while True:
            live.update(view(watched.look(), asked.url), refresh=True)
            time.sleep(interval)


def _print(seen: Look, asked: Terms) -> None:
    if asked.as_json:
        click.echo(json_text(seen))
        return
    show(out(), view(seen, asked.url))
