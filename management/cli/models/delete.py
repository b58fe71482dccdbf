"""The command ``delete``: end a model and all its replicas."""

from __future__ import annotations

import sys

import click

from management.cli._options import client_options, remote
from management.cli._terminal import clean
from management.cli.models._changes import show_result, wait_options
from management.cli.progress import make_change


@click.command()
@click.argument("model_id")
@click.option("--force", is_flag=True, help="Do not wait for requests in flight.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@wait_options(by_default=False)
@remote
def delete(model_id: str, *, force: bool, yes: bool, wait: bool, wait_seconds: float) -> None:
    r"""Delete a model with all its replicas. On a terminal it asks for confirmation.

    \b
    python -m management delete tcm_v2 --yes --wait
    """
    options, seconds = client_options(), wait_seconds if wait else None
    if not yes and sys.stdin.isatty():
        click.confirm(f"Delete {clean(model_id)}?", abort=True, err=True)
    answer = make_change(options, lambda client: client.delete(model_id, force=force, wait=seconds), model_id, seconds)
    show_result(options, answer)
