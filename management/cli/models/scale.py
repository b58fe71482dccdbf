"""The command ``scale``: another number of replicas."""

from __future__ import annotations

import click

from management.cli._options import client_options, remote
from management.cli.models._changes import show_result, wait_options
from management.cli.progress import make_change


@click.command(context_settings={"ignore_unknown_options": True})  # -1 is a number out of range, not an option
@click.argument("model_id")
@click.argument("replicas", type=click.IntRange(min=0))
@wait_options(by_default=False)
@remote
def scale(model_id: str, replicas: int, *, wait: bool, wait_seconds: float) -> None:
    r"""Set the number of a model's REPLICAS; 0 stops the model.

    \b
    python -m management scale tcm_v2 3 --wait
    """
    options, seconds = client_options(), wait_seconds if wait else None
    answer = make_change(options, lambda client: client.scale(model_id, replicas, wait=seconds), model_id, seconds)
    show_result(options, answer)
