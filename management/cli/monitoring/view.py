"""An observation of ``monitor`` as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from management.cli._terminal import STYLES, cell, table

BAR_WIDTH: Final = 24
"""Characters of a bar that shows a percentage."""
MIB_IN_GIB: Final = 1024
LEVELS: Final = {"warning": "yellow", "error": "bold red"}
HEALTH: Final = {"healthy": "green", "unhealthy": "bold red", "error": "bold red"}


def view(observed: Mapping[str, Any] | None, url: str) -> Group:
    """The API, the machine, the models and the alerts; None is shown as a check that is still running."""
    if observed is None:
        return Group(cell(f"{url}: checking"))
    parts: list[RenderableType] = [_api(observed, url), Text(""), _machine(observed["system"])]
    if observed["models"] is not None:
        parts += [Text(""), _models(observed["models"])]
    if observed["alerts"]:
        parts += [
            Text(""),
            *(cell(f"{alert['level']}: {alert['message']}", LEVELS[alert["level"]]) for alert in observed["alerts"]),
        ]
    return Group(*parts)


def _api(observed: Mapping[str, Any], url: str) -> Text:
    api = observed["api"]
    took = "" if api["response_time"] is None else f" in {1000 * api['response_time']:.0f} ms"
    state = cell(f"{api['status']}{took}", HEALTH[api["status"]])
    return Text("  ").join([cell(url, "bold"), state, cell(observed["system"]["timestamp"], "dim")])


def _machine(system: Mapping[str, Any]) -> Table:
    grid = Table.grid(padding=(0, 2))
    memory = f"{system['memory_used_gb']:.1f} of {system['memory_total_gb']:.1f} GiB"
    _add(grid, "CPU", system["cpu_percent"], "")
    _add(grid, "memory", system["memory_percent"], memory)
    _add(grid, "disk", system["disk_percent"], f"{system['disk_used_gb']:.1f} GiB used")
    for gpu in system["gpu_metrics"]:
        _add(grid, f"GPU {gpu['id']}", gpu["load"], ", ".join(_gpu(gpu)))
    return grid


def _gpu(gpu: Mapping[str, Any]) -> Iterable[str]:
    yield str(gpu["name"])
    if gpu["memory_total"]:
        used, total = (gpu[name] / MIB_IN_GIB for name in ("memory_used", "memory_total"))
        yield f"{used:.1f} of {total:.1f} GiB"
    if gpu["temperature"] is not None:
        yield f"{gpu['temperature']} °C"


def _add(grid: Table, name: str, percent: float | None, more: str) -> None:
    bar = ProgressBar(100, percent or 0, BAR_WIDTH, complete_style="cyan", finished_style="cyan")
    grid.add_row(Text(name, style="bold"), bar, cell(None if percent is None else f"{percent:.0f} %"), Text(more))


def _models(models: Iterable[Mapping[str, Any]]) -> Table:
    rows = table("MODEL", "STATUS", "READY", "QUEUE", "BUSY", "PER S", "MEAN", "P99", "FAILED", "REJECTED")
    for column in rows.columns[1:]:
        column.no_wrap = True  # a narrow terminal folds long names but no numbers
    for model in models:
        replicas, latency = model["replicas"], model["latency"]
        rate = model["requests_per_second"]
        rows.add_row(
            cell(model["model_id"]),
            cell(model["status"], STYLES.get(model["status"] or "", "")),
            cell(f"{replicas['ready']}/{replicas['desired']}"),
            cell(model["waiting"], "yellow" if model["waiting"] else ""),
            cell(f"{model['in_flight']}/{model['places']}"),
            cell(None if rate is None else f"{rate:.1f}"),
            *(cell(None if value is None else _seconds(value)) for value in (latency["mean"], latency["p99"])),
            cell(model["failed"], "bold red" if model["failed"] else ""),
            cell(model["rejected"], "yellow" if model["rejected"] else ""),
        )
    return rows


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value >= 1 else f"{1000 * value:.0f} ms"
