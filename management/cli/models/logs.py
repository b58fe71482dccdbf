"""The command ``logs``: the last lines of a model's replicas, and with ``--follow`` the lines that come after them."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any, Final

import click

from management.cli._options import as_json, client_options, remote
from management.cli._terminal import aside, clean, out, show_json
from management.control.log_lines import fresh

POLL_INTERVAL_SECONDS: Final = 1.0
"""Seconds between two requests of ``--follow``."""
FOLLOW_LINES: Final = 1000
"""Lines of each replica in every request of ``--follow``: more than a replica writes between two requests."""
SHORT_ID_LENGTH: Final = 8
"""Letters of a replica's id at the beginning of its lines."""


@click.command()
@click.argument("model_id")
@click.option("-f", "--follow", is_flag=True, help="Show new lines until Ctrl-C.")
@click.option(
    "--tail", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Last lines of each replica."
)
@remote
def logs(model_id: str, *, follow: bool, tail: int) -> None:
    r"""Show the log lines of a model's replicas; with several replicas, each line begins with the replica's id.

    \b
    python -m management logs tcm_v2 -f --tail 20
    """
    if follow and as_json():
        raise click.UsageError("--follow and --json do not go together")
    with client_options().client() as client:
        answer = client.logs(model_id, tail)
        if as_json():
            show_json(answer)
            return
        _show(answer["replicas"], {})
        if not follow and not any(replica["lines"] for replica in answer["replicas"]):
            aside().print("No replica has written a line")
        if follow:
            with suppress(KeyboardInterrupt):  # Ctrl-C is the normal end of --follow
                shown = _lines(answer["replicas"])
                while True:
                    time.sleep(POLL_INTERVAL_SECONDS)
                    answer = client.logs(model_id, max(FOLLOW_LINES, tail))
                    _show(answer["replicas"], shown)
                    shown |= _lines(answer["replicas"])


def _lines(replicas: list[dict[str, Any]]) -> dict[str, list[str]]:
    return {replica["replica_id"]: replica["lines"] for replica in replicas}


def _show(replicas: list[dict[str, Any]], shown: dict[str, list[str]]) -> None:
    """Print the lines of each replica that were not shown before."""
    console = out()
    several = len(replicas) > 1 or len(shown.keys() | _lines(replicas).keys()) > 1
    for replica in replicas:
        before = shown.get(replica["replica_id"], [])
        for line in fresh(before, replica["lines"]) if before else replica["lines"]:
            console.print(f"{replica['replica_id'][:SHORT_ID_LENGTH]} " if several else "", style="cyan", end="")
            console.print(clean(line), soft_wrap=True)
