"""The command ``events``: who changed what of a model."""

from __future__ import annotations

import click

from management.cli._options import as_json, client_options, remote
from management.cli._terminal import cell, out, show, show_json, table


@click.command()
@click.argument("model_id")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="Number of newest events.")
@remote
def events(model_id: str, limit: int) -> None:
    r"""Show who changed what; a deleted model's events are kept.

    \b
    python -m management events tcm_v2 --limit 20
    """
    with client_options().client() as client:
        newest = client.events(model_id, limit)
    if as_json():
        show_json(newest)
        return
    rows = table("TIME", "WHO", "WHAT", "DETAILS")
    for event in newest:
        details = ", ".join(f"{name}={value}" for name, value in event["details"].items())
        rows.add_row(*map(cell, (event["timestamp"], event["actor"], event["action"], details)))
    show(out(), rows)
