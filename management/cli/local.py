"""Commands that work on this machine alone: serve and build."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Any, Final

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from management.cli.base import (
    COMMAND,
    Failed,
    as_json,
    aside,
    cell,
    clean,
    json_option,
    known_settings,
    out,
    show_json,
)
from management.cli.views import show, table
from web import listening

if TYPE_CHECKING:
    from management.bentos import Tag
    from management.build import Recipe, Store

START_SECONDS: Final = 60.0
ANNOUNCEMENT: Final = """
The model management answers on {url}   (documentation: {url}/docs, stop with Ctrl-C)

  {command} list{option}
  curl -H "X-API-Key: $ATELIER_API_KEY" {url}/models
"""


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(1, 65535), default=8080, show_default=True, help="TCP port.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes that answer.")
def serve(host: str, port: int, workers: int) -> None:
    r"""Serve the management API alone, until Ctrl-C; the models that are deployed run with it.

    \b
    ATELIER_API_KEY=your-api-key python -m management serve --port 8080
    """
    url = f"http://{listening.reached(host)}:{port}"
    _refuse_used_port(host, port)
    _refuse_bad_settings()
    os.environ.setdefault("ATELIER_PUBLIC_URL", url)
    threading.Thread(target=_announce, args=(listening.reached(host), port, url), daemon=True).start()
    from management import server

    try:
        server.serve(host, port, workers)
    except SystemExit as ended:
        if ended.code:
            raise Failed("the server could not start; the lines above say why") from None


def _announce(host: str, port: int, url: str) -> None:
    """Says where it answers, once it does."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        time.sleep(0.1)
        if listening.answers(host, port):
            option = "" if port == 8080 else f" --url {url}"
            click.echo(ANNOUNCEMENT.format(url=f"{url}/api/v1", command=COMMAND, option=option))
            return


def _refuse_used_port(host: str, port: int) -> None:
    try:
        listening.check_port(host, port)
    except OSError as error:
        raise Failed(f"{host} port {port} cannot be used ({error.strerror}); choose another one: --port") from None


def _refuse_bad_settings() -> None:
    """Says in a sentence what the server would say in a traceback."""
    try:
        known_settings().home.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise Failed(f"{error.strerror}: {error.filename}") from None


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--version", help="Another version than those that the build files name.")
@click.option("--list", "listing", is_flag=True, help="Show what there is to build, and what is built.")
@json_option
def build(names: tuple[str, ...], version: str | None, *, listing: bool) -> None:
    r"""Build this project's Bentos into the Bento store, all of them or those named. What is up to date is left alone.

    \b
    python -m management build
    python -m management build tcm-diagnosis --version 2.2.0
    """
    from management.build import BuildError, Store

    store = Store(known_settings().bentoml_home)
    try:
        wanted = _wanted(names, version)
        told = [_state(store, *one) for one in wanted] if listing else _built(store, wanted)
    except (BuildError, OSError) as error:
        raise Failed(str(error)) from None
    _show(told)
    if not listing and any(one["state"] == "failed" for one in told):
        raise Failed("not every Bento is built")


def _wanted(names: tuple[str, ...], version: str | None) -> list[tuple[Recipe, Tag]]:
    from management.bentos import tag_of
    from management.build import recipes

    known = {one.name: one for one in recipes()}
    if unknown := [one for one in names if one not in known]:
        raise click.BadParameter(f"{unknown[0]!r} is none of {', '.join(known)}", param_hint="NAME")
    if version is not None:
        if not names:
            raise click.UsageError("--version wants a NAME")
        try:
            version = tag_of(f"{names[0]}:{version}").version
        except ValueError:
            raise click.BadParameter("such as 2.2.0", param_hint="--version") from None
    return [(known[name], tag) for name in names or known for tag in known[name].tags(version)]


def _state(store: Store, recipe: Recipe, tag: Tag) -> dict[str, Any]:
    from management.build import digest

    found = store.digest(tag)
    there = (store.folder(tag) / "bento.yaml").is_file()
    state = "built" if found == digest(recipe, tag, store) else "outdated" if there else "not built"
    return {"name": tag.name, "version": tag.version, "state": state}


def _built(store: Store, wanted: list[tuple[Recipe, Tag]]) -> list[dict[str, Any]]:
    """Builds each, and goes on where one cannot be built."""
    console, told = aside(), []
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(20), MofNCompleteColumn())
    disable = as_json() or not console.is_terminal
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True, disable=disable) as progress:
        task = progress.add_task("", total=len(wanted))
        for recipe, tag in wanted:
            progress.update(task, description=str(tag))
            told.append(_built_one(store, recipe, tag))
            progress.advance(task)
    return told


def _built_one(store: Store, recipe: Recipe, tag: Tag) -> dict[str, Any]:
    from management.build import BuildError, build

    try:
        state = "built" if build(recipe, tag, store) else "up to date"
    except (BuildError, OSError) as error:
        console = aside()
        for line in str(error).splitlines():
            console.print(clean(line), style="red")
        state = "failed"
    return {"name": tag.name, "version": tag.version, "state": state}


def _show(told: list[dict[str, Any]]) -> None:
    if as_json():
        show_json(told)
        return
    styles = {"built": "green", "up to date": "green", "failed": "bold red", "outdated": "yellow"}
    made = table("BENTO", "VERSION", "STATE")
    for one in told:
        made.add_row(cell(one["name"]), cell(one["version"]), cell(one["state"], styles.get(one["state"], "")))
    show(out(), made)
