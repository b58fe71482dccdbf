"""The command ``build``: this project's Bentos in the Bento store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from management.cli._options import json_option, known_settings
from management.cli.bentos._batches import (
    Make,
    Report,
    make_each,
    refuse_failed,
    report_failure,
    select,
    show_rows,
)
from management.cli.errors import Failed

if TYPE_CHECKING:
    from management.domain.bento_tag import Tag
    from management.packaging.build import BentoHome, Recipe


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--version", help="Version to build instead of those in the build files.")
@click.option("--list", "listing", is_flag=True, help="Show what can be built and what is built, and build nothing.")
@json_option
def build(names: tuple[str, ...], version: str | None, *, listing: bool) -> None:
    r"""Build all of this project's Bentos, or the named ones, into the Bento store; those up to date are skipped.

    \b
    python -m management build
    python -m management build tcm-diagnosis --version 2.2.0
    """
    from management.packaging.build import BentoHome, BuildError

    store = BentoHome(known_settings().storage.bentoml_home)
    try:
        selection = select(names, version)
        if listing:
            rows = [_state(store, recipe, tag) for recipe, tag in selection]
        else:
            rows = make_each(selection, _builder(store))
    except (BuildError, OSError) as error:
        raise Failed(str(error)) from None
    show_rows(rows, "BENTO", "VERSION", "STATE")
    refuse_failed(rows, "not all Bentos were built")


def _state(store: BentoHome, recipe: Recipe, tag: Tag) -> dict[str, Any]:
    from management.packaging.build import digest

    stored = store.digest(tag)
    exists = (store.folder(tag) / "bento.yaml").is_file()
    state = "built" if stored == digest(recipe, tag, store) else "outdated" if exists else "not built"
    return {"name": tag.name, "version": tag.version, "state": state}


def _builder(store: BentoHome) -> Make:
    from management.packaging import build as packaging

    def make(recipe: Recipe, tag: Tag, _: Report) -> dict[str, Any]:
        try:
            state = "built" if packaging.build(recipe, tag, store) else "up to date"
        except (packaging.BuildError, OSError) as error:
            state = report_failure(error)
        return {"name": tag.name, "version": tag.version, "state": state}

    return make
