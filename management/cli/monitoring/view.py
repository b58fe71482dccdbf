"""What ``monitor`` has seen, as people look at it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from management.cli.common import cell
from management.cli.models.views import STYLES, table

BAR: Final = 24
MIB_IN_GIB: Final = 1024
LEVELS: Final = {"warning": "yellow", "error": "bold red"}
HEALTH: Final = {"healthy": "green", "unhealthy": "bold red", "error": "bold red"}


def view(seen: Mapping[str, Any] | None, url: str) -> Group:
    """The machine, the API, the models, and what is a reason to worry; nothing was seen before the first look."""
    if seen is None:
        return Group(cell(f"{url}: looking"))
    parts: list[RenderableType] = [_api(seen, url), Text(""), _machine(seen["system"])]
    if seen["models"] is not None:
        parts += [Text(""), _models(seen["models"])]
    if seen["alerts"]:
        parts += [
            Text(""),
            *(cell(f"{one['level']}: {one['message']}", LEVELS[one["level"]]) for one in seen["alerts"]),
        ]
    return Group(*parts)


def _api(seen: Mapping[str, Any], url: str) -> Text:
    api = seen["api"]
    took = "" if api["response_time"] is None else f" in {1000 * api['response_time']:.0f} ms"
    state = cell(f"{api['status']}{took}", HEALTH[api["status"]])
    return Text("  ").join([cell(url, "bold"), state, cell(seen["system"]["timestamp"], "dim")])


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
    bar = ProgressBar(100, percent or 0, BAR, complete_style="cyan", finished_style="cyan")
    grid.add_row(Text(name, style="bold"), bar, cell(None if percent is None else f"{percent:.0f} %"), Text(more))


def _models(models: Iterable[Mapping[str, Any]]) -> Table:
    made = table("MODEL", "STATUS", "READY", "QUEUE", "BUSY", "PER S", "MEAN", "P99", "FAILED", "REJECTED")
    for column in made.columns[1:]:
        column.no_wrap = True  # a narrow terminal folds long names, and no numbers
    for one in models:
        replicas, latency = one["replicas"], one["latency"]
        rate = one["requests_per_second"]
        made.add_row(
            cell(one["model_id"]),
            cell(one["status"], STYLES.get(one["status"] or "", "")),
            cell(f"{replicas['ready']}/{replicas['desired']}"),
            cell(one["waiting"], "yellow" if one["waiting"] else ""),
            cell(f"{one['in_flight']}/{one['places']}"),
            cell(None if rate is None else f"{rate:.1f}"),
            *(cell(None if value is None else _seconds(value)) for value in (latency["mean"], latency["p99"])),
            cell(one["failed"], "bold red" if one["failed"] else ""),
            cell(one["rejected"], "yellow" if one["rejected"] else ""),
        )
    return made


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value >= 1 else f"{1000 * value:.0f} ms"
