"""Commands that show something: list, status, events."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any, Final

import click
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from management.cli.common import as_json, cell, clean, out, remote, show_json, terms
from management.domain.model_types import MODEL_TYPES

STATUSES: Final = ("pending", "running", "failed", "stopped")
STYLES: Final = {
    "running": "green",
    "ready": "green",
    "pending": "yellow",
    "starting": "yellow",
    "silent": "yellow",
    "draining": "yellow",
    "failed": "bold red",
    "stopped": "dim",
}
WATCH_SECONDS: Final = 1.0


def table(*columns: str) -> Table:
    """An empty one, as all of them look."""
    made = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def show(console: Console, made: Table | Panel | Group) -> None:
    """As wide as the terminal, or, for a file or a pipe, as wide as it wants to be."""
    if not console.is_terminal:
        console.width = 1000
    console.print(made, soft_wrap=False, crop=False)


@click.command("list")
@click.option("--status", type=click.Choice(STATUSES), help="Only models of this status.")
@click.option("--type", "model_type", type=click.Choice(MODEL_TYPES), help="Only models of this type.")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="Most models shown.")
@click.option("--offset", type=click.IntRange(0), default=0, show_default=True, help="How many are skipped.")
@click.option("--all", "everything", is_flag=True, help="Every model, page by page.")
@remote
def models(status: str | None, model_type: str | None, limit: int, offset: int, *, everything: bool) -> None:
    r"""List the models.

    \b
    python -m management list --status running
    """
    with terms().client() as client:
        if everything:
            found = list(client.all_models(status, model_type))
        else:
            found = client.models(status, model_type, limit, offset)
    if as_json():
        show_json(found)
        return
    made = table("MODEL", "NAME", "VERSION", "TYPE", "STATUS", "UPDATED")
    for one in found:
        state = clean(one["status"])
        row = (one["model_id"], one["name"], one["version"], one["model_type"])
        made.add_row(*map(cell, row), cell(state, STYLES.get(state, "")), cell(one["updated_at"]))
    show(out(), made)


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
    with terms().client() as client:
        if as_json():
            show_json(client.status(model_id))
        elif not watch:
            show(out(), _panel(client.status(model_id)))
        else:
            with suppress(KeyboardInterrupt), Live(_panel(client.status(model_id)), console=out()) as live:
                while True:
                    time.sleep(WATCH_SECONDS)
                    live.update(_panel(client.status(model_id)), refresh=True)


@click.command()
@click.argument("model_id")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="The newest so many.")
@remote
def events(model_id: str, limit: int) -> None:
    r"""Show who changed what; a deleted model's events are kept.

    \b
    python -m management events tcm_v2 --limit 20
    """
    with terms().client() as client:
        found = client.events(model_id, limit)
    if as_json():
        show_json(found)
        return
    made = table("TIME", "WHO", "WHAT", "DETAILS")
    for one in found:
        details = ", ".join(f"{name}={value}" for name, value in one["details"].items())
        made.add_row(*map(cell, (one["timestamp"], one["actor"], one["action"], details)))
    show(out(), made)


def _panel(told: dict[str, Any]) -> Panel:
    state, config = clean(told["status"]), told["config"]
    counts, use = told["replicas"], told["resource_usage"]
    facts = {
        "message": told["message"],
        "name": told["name"],
        "version": f"{told['version']} (revision {told['revision']})",
        "type": f"{told['model_type']}, {config['framework']}",
        "image": config["docker_image"],
        "replicas": f"{counts['ready']} ready, {counts['current']} running, {counts['desired']} wanted",
        "asked": ", ".join(f"{name} {value}" for name, value in config["resource_requirements"].items()),
        "used": ", ".join(f"{name} {value}" for name, value in use.items()),
        "variables": ", ".join(config["environment_variables"]),
        "updated": told["updated_at"],
        "inference": told["endpoints"][0]["url"],
    }
    grid = Table.grid(padding=(0, 2))
    grid.add_row(Text("status", style="bold"), cell(state, STYLES.get(state, "")))
    for name, value in facts.items():
        grid.add_row(Text(name, style="bold"), cell(value))
    title = Text(clean(told["model_id"]))
    return Panel(Group(grid, Text(""), _replicas(told["replica_details"])), title=title, expand=False)


def _replicas(details: list[dict[str, Any]]) -> Table:
    made = table("REPLICA", "STATE", "VERSION", "CPU", "MEMORY", "GPUS", "READY SINCE", "REASON")
    for one in details:
        use, state = one["resource_usage"] or {}, clean(one["state"])
        made.add_row(
            cell(one["replica_id"][:8]),
            cell(state, STYLES.get(state, "")),
            *map(cell, (one["version"], use.get("cpu"), use.get("memory"), ",".join(map(str, one["gpus"])))),
            *map(cell, (one["ready_at"], one["reason"])),
        )
    return made
