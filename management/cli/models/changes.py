"""Commands that change what runs: deploy, update, scale, delete."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from management.cli.common import COMMAND, Terms, clean, out, remote, show_json, terms
from management.cli.config import changed_flags, config, deploy_flags
from management.cli.examples import example
from management.cli.progress import carried_out
from management.domain.records import LONGEST_TIMEOUT

WAIT_SECONDS: Final = 300
LONGEST_WAIT: Final = LONGEST_TIMEOUT

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def waiting(*, by_default: bool) -> Callable[[Decorated], Decorated]:
    """``--wait`` and for how long."""

    def decorate(command: Decorated) -> Decorated:
        seconds = click.option(
            "--wait-seconds",
            type=click.FloatRange(1, LONGEST_WAIT),
            default=WAIT_SECONDS,
            show_default=True,
            help="How long.",
        )
        flag = click.option(
            "--wait/--no-wait", default=by_default, show_default=True, help="Wait until it is done, and show progress."
        )
        return flag(seconds(command))

    return decorate


@click.command()
@click.argument("file", required=False)
@deploy_flags
@waiting(by_default=True)
@remote
def deploy(file: str | None, *, wait: bool, wait_seconds: float, **flags: Any) -> None:
    r"""Deploy a model, from FILE (JSON or YAML, - is stdin), from flags, or from a file that flags change.

    \b
    python -m management deploy model.yaml
    python -m management deploy --model-id tcm_v2 --name "TCM 2" --version 2.0.0 --type tcm_diagnosis \
        --framework onnx --image atelier/tcm-diagnosis:2.0.0 --cpu 2 --memory 1Gi --max 4 -e LOG_LEVEL=info
    """
    asked, told = terms(), config(file, flags)
    model_id, seconds = str(told.get("model_id", "")), wait_seconds if wait else None
    answer = carried_out(asked, lambda client: client.deploy(told, wait=seconds), model_id, seconds)
    _show(asked, answer)
    if not asked.as_json:
        _show_call(asked, model_id, str(told.get("model_type", "")))


@click.command()
@click.argument("model_id")
@click.argument("file", required=False)
@changed_flags
@click.option("--unset", multiple=True, metavar="KEY", help="Remove an environment variable.")
@waiting(by_default=False)
@remote
def update(
    model_id: str, file: str | None, *, unset: tuple[str, ...], wait: bool, wait_seconds: float, **flags: Any
) -> None:
    r"""Replace a model's replicas by ones of another version or configuration; what is left out stays.

    \b
    python -m management update tcm_v2 --version 2.1.0 --image atelier/tcm-diagnosis:2.1.0 --wait
    """
    asked, told = terms(), config(file, flags, unset)
    seconds = wait_seconds if wait else None
    _show(asked, carried_out(asked, lambda client: client.update(model_id, told, wait=seconds), model_id, seconds))


@click.command(context_settings={"ignore_unknown_options": True})  # -1 is a number that is out of range
@click.argument("model_id")
@click.argument("replicas", type=click.IntRange(min=0))
@waiting(by_default=False)
@remote
def scale(model_id: str, replicas: int, *, wait: bool, wait_seconds: float) -> None:
    r"""Run so many REPLICAS of a model; 0 stops it.

    \b
    python -m management scale tcm_v2 3 --wait
    """
    asked, seconds = terms(), wait_seconds if wait else None
    answer = carried_out(asked, lambda client: client.scale(model_id, replicas, wait=seconds), model_id, seconds)
    _show(asked, answer)


@click.command()
@click.argument("model_id")
@click.option("--force", is_flag=True, help="Without waiting for what is in flight.")
@click.option("--yes", is_flag=True, help="Without asking.")
@waiting(by_default=False)
@remote
def delete(model_id: str, *, force: bool, yes: bool, wait: bool, wait_seconds: float) -> None:
    r"""Delete a model with all its replicas. On a terminal it asks before.

    \b
    python -m management delete tcm_v2 --yes --wait
    """
    asked, seconds = terms(), wait_seconds if wait else None
    if not yes and sys.stdin.isatty():
        click.confirm(f"Delete {clean(model_id)}?", abort=True, err=True)
    answer = carried_out(asked, lambda client: client.delete(model_id, force=force, wait=seconds), model_id, seconds)
    _show(asked, answer)


def _show(asked: Terms, answer: dict[str, Any]) -> None:
    if asked.as_json:
        show_json(answer)
        return
    out().print(clean(answer.get("message", "")), style="green")


def _show_call(asked: Terms, model_id: str, model_type: str) -> None:
    """How to call it."""
    shown = example(model_type)
    url = f"{asked.url.rstrip('/')}/api/v1/models/{model_id}/inference"
    console = out()
    console.print("\nCall it:\n")
    console.print(f"  {COMMAND} infer {model_id} {shown.arguments}\n")
    console.print(f'  curl {url} \\\n    -H "Content-Type: application/json" -H "X-API-Key: $ATELIER_API_KEY" \\')
    console.print(f"    -d {shown.body}\n")
