"""The command ``status``: one model's state, configuration and replicas."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any, Final

import click
from rich.console import Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from management.cli._options import as_json, client_options, remote
from management.cli._terminal import STYLES, cell, clean, out, show, show_json, table
from management.domain.bento import ROOT_ARGUMENT

WATCH_INTERVAL_SECONDS: Final = 1.0
"""Seconds between two refreshes of ``--watch``."""


@click.command()
@click.argument("model_id")
@click.option("--watch", is_flag=True, help="Refresh every second until Ctrl-C.")
@remote
def status(model_id: str, *, watch: bool) -> None:
    r"""Show a model's status, configuration and replicas.

    \b
    python -m management status tcm_v2 --watch
    """
    if watch and as_json():
        raise click.UsageError("--watch and --json do not go together")
    with client_options().client() as client:
        if as_json():
            show_json(client.status(model_id))
        elif not watch:
            show(out(), _panel(client.status(model_id)))
        else:
            with suppress(KeyboardInterrupt), Live(_panel(client.status(model_id)), console=out()) as live:
                while True:
                    time.sleep(WATCH_INTERVAL_SECONDS)
                    live.update(_panel(client.status(model_id)), refresh=True)


def _panel(answer: dict[str, Any]) -> Panel:
    state, config = clean(answer["status"]), answer["config"]
    counts, usage = answer["replicas"], answer["resource_usage"]
    facts = {
        "message": answer["message"],
        "name": answer["name"],
        "version": f"{answer['version']} (revision {answer['revision']})",
        "type": f"{answer['model_type']}, {config['framework']}",
        "image": config["docker_image"],
        "environment": _environment(answer.get("environment")),
        "replicas": f"{counts['ready']} ready, {counts['current']} running, {counts['desired']} wanted",
        "requested": ", ".join(f"{name} {value}" for name, value in config["resource_requirements"].items()),
        "used": ", ".join(f"{name} {value}" for name, value in usage.items()),
        "variables": ", ".join(config["environment_variables"]),
        "secrets": ", ".join(config.get("secrets", ())),
        **_options(config),
        "updated": answer["updated_at"],
        "inference": answer["endpoints"][0]["url"],
        "own address": next((end["url"] for end in answer["endpoints"] if end["type"] == "own"), ""),
        "APIs": ", ".join(_signature(api) for api in answer.get("apis", ())),
    }
    grid = Table.grid(padding=(0, 2))
    grid.add_row(Text("status", style="bold"), cell(state, STYLES.get(state, "")))
    for name, value in facts.items():
        grid.add_row(Text(name, style="bold"), cell(value))
    title = Text(clean(answer["model_id"]))
    return Panel(Group(grid, Text(""), _replicas(answer["replica_details"])), title=title, expand=False)


def _options(config: dict[str, Any]) -> dict[str, str]:
    """The optional fields that were chosen."""
    options = {} if config.get("access_authorization", True) else {"access": "no key for its own address"}
    if "strategy" in config:
        options["strategy"] = config["strategy"]
    if labels := config.get("labels"):
        options["labels"] = ", ".join(f"{key}={value}" for key, value in labels.items())
    return options


def _signature(api: dict[str, Any]) -> str:
    """An API with its arguments; a question mark follows one that may be omitted."""
    names, required = api["input"].get("properties"), api["input"].get("required", ())
    arguments = [name if name in required else f"{name}?" for name in names] if names is not None else [ROOT_ARGUMENT]
    kind = " stream" if api["streams"] else " task" if api["task"] else ""
    return f"{api['name']}({', '.join(arguments)}){kind}"


def _environment(shown: dict[str, Any] | None) -> str:
    if shown is None:
        return "that of the image"
    parts = [shown["state"], f"Python {shown['python']}", shown["size"], shown["reason"]]
    return ", ".join(part for part in parts if part)


def _replicas(details: list[dict[str, Any]]) -> Table:
    rows = table("REPLICA", "STATE", "VERSION", "CPU", "MEMORY", "GPUS", "READY SINCE", "REASON")
    for replica in details:
        usage, state = replica["resource_usage"] or {}, clean(replica["state"])
        gpus = ",".join(map(str, replica["gpus"]))
        rows.add_row(
            cell(replica["replica_id"][:8]),
            cell(state, STYLES.get(state, "")),
            *map(cell, (replica["version"], usage.get("cpu"), usage.get("memory"), gpus)),
            *map(cell, (replica["ready_at"], replica["reason"])),
        )
    return rows
