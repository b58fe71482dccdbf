"""The command ``update``: another version or configuration of a model."""

from __future__ import annotations

from typing import Any

import click

from management.cli._options import client_options, remote
from management.cli.config import config, update_flags
from management.cli.models._changes import show_result, wait_options
from management.cli.progress import make_change


@click.command()
@click.argument("model_id")
@click.argument("file", required=False)
@update_flags
@click.option("--unset", multiple=True, metavar="KEY", help="Remove an environment variable.")
@wait_options(by_default=False)
@remote
def update(
    model_id: str, file: str | None, *, unset: tuple[str, ...], wait: bool, wait_seconds: float, **flags: Any
) -> None:
    r"""Replace a model's replicas by replicas of another version or configuration; omitted fields stay as they are.

    \b
    python -m management update tcm_v2 --version 2.1.0 --image atelier/tcm-diagnosis:2.1.0 --wait
    """
    options, body = client_options(), config(file, flags, unset)
    seconds = wait_seconds if wait else None
    answer = make_change(options, lambda client: client.update(model_id, body, wait=seconds), model_id, seconds)
    show_result(options, answer)
