"""The command ``logs``: the last lines of a model's replicas, and those that they write meanwhile."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import click

from management.cli.common import as_json, clean, out, remote, show_json, terms

LOOK_SECONDS: Final = 1.0
WINDOW: Final = 1000
"""Lines of each replica that are asked for at each look: more than are written between two of them."""
SHORT: Final = 8  # letters of a replica's id that tell it from others


@click.command()
@click.argument("model_id")
@click.option("-f", "--follow", is_flag=True, help="Show what is written from now on, until Ctrl-C.")
@click.option("--tail", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Last lines of each.")
@remote
def logs(model_id: str, *, follow: bool, tail: int) -> None:
    r"""Show what a model's replicas wrote; where there are several, each line begins with its replica's id.

    \b
    python -m management logs tcm_v2 -f --tail 20
    """
    if follow and as_json():
        raise click.UsageError("--follow and --json do not go together")
    with terms().client() as client:
        told = client.logs(model_id, tail)
        if as_json():
            show_json(told)
            return
        _show(told["replicas"], {})
        if follow:
            with suppress(KeyboardInterrupt):  # it is how one ends it
                seen = _lines(told["replicas"])
                while True:
                    time.sleep(LOOK_SECONDS)
                    told = client.logs(model_id, max(WINDOW, tail))
                    _show(told["replicas"], seen)
                    seen |= _lines(told["replicas"])


def fresh(before: Sequence[str], now: Sequence[str]) -> Sequence[str]:
    """The lines of ``now`` that were not in ``before``; both are the end of one log, at two moments.

    The last line of before may have been half written, and is shown again when it was.
    """
    for start in range(len(before)):
        rest = before[start:]
        whole, last = rest[:-1], rest[-1]
        if len(now) >= len(rest) and list(now[: len(whole)]) == list(whole) and now[len(whole)].startswith(last):
            return now[len(rest) if now[len(whole)] == last else len(whole) :]
    return _after(before, now)


def _after(before: Sequence[str], now: Sequence[str]) -> Sequence[str]:
    """The same where more is looked at now than before: what was seen stands somewhere within."""
    for start in range(len(now) - len(before), 0, -1):
        if before and list(now[start : start + len(before)]) == list(before):
            return now[start + len(before) :]
    return now


def _lines(replicas: list[dict[str, Any]]) -> dict[str, list[str]]:
    return {one["replica_id"]: one["lines"] for one in replicas}


def _show(replicas: list[dict[str, Any]], seen: dict[str, list[str]]) -> None:
    console = out()
    several = len(replicas) > 1 or len(seen.keys() | _lines(replicas).keys()) > 1
    for one in replicas:
        before = seen.get(one["replica_id"], [])
        for line in fresh(before, one["lines"]) if before else one["lines"]:
            console.print(f"{one['replica_id'][:SHORT]} " if several else "", style="cyan", end="")
            console.print(clean(line), soft_wrap=True)
