"""The command ``list``: every model, or a page of them."""

from __future__ import annotations

from typing import Final

import click

from management.cli._options import as_json, client_options, remote
from management.cli._terminal import STYLES, cell, clean, out, show, show_json, table

STATUSES: Final = ("pending", "running", "failed", "stopped")


@click.command("list")
@click.option("--status", type=click.Choice(STATUSES), help="Only models of this status.")
@click.option("--type", "--model-type", "model_type", help="Only models of this type.")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="Maximum number of models.")
@click.option("--offset", type=click.IntRange(0), default=0, show_default=True, help="Number of models to skip.")
@click.option("--all", "everything", is_flag=True, help="Every model, page by page.")
@remote
def models(status: str | None, model_type: str | None, limit: int, offset: int, *, everything: bool) -> None:
    r"""List the models.

    \b
    python -m management list --status running
    """
    with client_options().client() as client:
        if everything:
            listed = list(client.all_models(status, model_type))
        else:
            listed = client.models(status, model_type, limit, offset)
    if as_json():
        show_json(listed)
        return
    rows = table("MODEL", "NAME", "VERSION", "TYPE", "STATUS", "UPDATED")
    for model in listed:
        state = clean(model["status"])
        fields = (model["model_id"], model["name"], model["version"], model["model_type"])
        rows.add_row(*map(cell, fields), cell(state, STYLES.get(state, "")), cell(model["updated_at"]))
    show(out(), rows)
