"""The commands ``bentos``: what the server's Bento store has."""

from __future__ import annotations

import sys
from typing import Any

import click
from rich.console import Group
from rich.filesize import decimal
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from management.cli._options import as_json, client_options, remote
from management.cli._terminal import cell, clean, out, show, show_json, table


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--name", help="Only versions of this Bento.")
@remote
@click.pass_context
def bentos(context: click.Context, name: str | None) -> None:
    r"""List the Bentos in the server's store, show one, or delete one.

    \b
    python -m management bentos
    python -m management bentos show hello:1.0.0
    """
    if context.invoked_subcommand is not None:
        return
    with client_options().client() as client:
        listed = list(client.all_bentos(name))
    if as_json():
        show_json(listed)
        return
    rows = table("BENTO", "SIZE", "BENTOML", "CREATED", "MODELS")
    for bento in listed:
        users = ", ".join(use["model_id"] for use in bento["deployments"])
        fields = (bento["tag"], decimal(bento["size_bytes"]), bento["bentoml_version"], bento["created_at"], users)
        rows.add_row(*map(cell, fields))
    show(out(), rows)


@bentos.command("show")
@click.argument("tag")
@remote
def show_bento(tag: str) -> None:
    r"""Show a Bento's APIs, what it needs, and which models run it.

    \b
    python -m management bentos show hello:1.0.0
    """
    with client_options().client() as client:
        answer = client.get_bento(_tag(tag))
    if as_json():
        show_json(answer)
    else:
        show(out(), _panel(answer))


@bentos.command("delete")
@click.argument("tag")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@remote
def delete_bento(tag: str, *, yes: bool) -> None:
    r"""Delete a Bento that no model uses. On a terminal it asks for confirmation.

    \b
    python -m management bentos delete hello:1.0.0 --yes
    """
    options, wanted = client_options(), _tag(tag)
    if not yes and sys.stdin.isatty():
        click.confirm(f"Delete {clean(wanted)}?", abort=True, err=True)
    with options.client() as client:
        answer = client.delete_bento(wanted)
    if options.as_json:
        show_json(answer)
    else:
        out().print(clean(answer["message"]), style="green")


def _tag(text: str) -> str:
    name, _, version = text.partition(":")
    if not name.strip(".") or not version.strip("."):
        raise click.BadParameter("such as hello:1.0.0", param_hint="TAG")
    return text


def _panel(answer: dict[str, Any]) -> Panel:
    python = answer["python"]
    users = (f"{use['model_id']}{'' if use['live'] else ' (not running)'}" for use in answer["deployments"])
    facts = {
        "service": answer["service"],
        "image": answer["docker_image"],
        "size": decimal(answer["size_bytes"]),
        "created": answer["created_at"],
        "bentoml": answer["bentoml_version"],
        "python": python["version"],
        "requirements": ", ".join(python["requirements"]),
        "system packages": ", ".join(python["system_packages"]),
        "models": ", ".join(answer["models"]),
        "resources": ", ".join(f"{name} {value}" for name, value in answer["resources"].items()),
        "labels": ", ".join(f"{name}={value}" for name, value in answer["labels"].items()),
        "deployed as": ", ".join(users),
        "digest": answer["digest"],
    }
    grid = Table.grid(padding=(0, 2))
    for name, value in facts.items():
        grid.add_row(Text(name, style="bold"), cell(value))
    return Panel(Group(grid, Text(""), _apis(answer["apis"])), title=Text(clean(answer["tag"])), expand=False)


def _apis(apis: list[dict[str, Any]]) -> Table:
    rows = table("API", "ROUTE", "ARGUMENTS", "KIND")
    for api in apis:
        given = api["input"]
        arguments = given.get("properties") or {}
        kinds = [word for word in ("batchable", "streams", "task") if api[word]]
        kind = ", ".join(kinds)
        described = ", ".join(f"{name}: {_type(schema)}" for name, schema in arguments.items()) or _type(given)
        rows.add_row(*map(cell, (api["name"], api["route"], described, kind)))
    return rows


def _type(schema: Any) -> str:
    return str(schema.get("type") or "any") if isinstance(schema, dict) else "any"
