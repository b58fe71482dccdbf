"""The command ``update``: another version or configuration of a model."""

from __future__ import annotations

from typing import Any

import click

from management.cli._options import client_options, remote
from management.cli.bentos.sources import source_of
from management.cli.config import config, update_flags
from management.cli.models._changes import show_result, wait_options
from management.cli.models._from_bento import flags_of_update
from management.cli.progress import Steps, make_change


@click.command()
@click.argument("model_id")
@click.argument("file", metavar="[FILE|FOLDER|ARCHIVE|TAG]", required=False)
@update_flags
@click.option("--unset", multiple=True, metavar="KEY", help="Remove an environment variable.")
@click.option("--no-secrets", is_flag=True, help="Give the replicas no secret any more.")
@click.option("--no-labels", is_flag=True, help="Remove all labels.")
@wait_options(by_default="--wait for a Bento of your own, else --no-wait")
@remote
def update(
    model_id: str, file: str | None, *, unset: tuple[str, ...], wait: bool | None, wait_seconds: float, **flags: Any
) -> None:
    r"""Replace a model's replicas by replicas of another version or configuration; omitted fields stay as they are.

    The change is in FILE (JSON or YAML, - is stdin), in flags, or in a file that flags override. Or it is a Bento of
    your own, as of deploy: the FOLDER of its bentofile.yaml, an ARCHIVE of bentoml export, or its TAG in your Bento
    store. It is built, pushed, and takes the place of the one that serves.

    --secret names all secrets of the model anew; one that was changed since makes new replicas with its new value.
    --label sets all labels anew. --target-concurrency 0 removes the target.

    \b
    python -m management update hello .
    python -m management update tcm_v2 --version 2.1.0 --image atelier/tcm-diagnosis:2.1.0 --wait
    python -m management update tcm_v2 --secret hf --wait
    """
    for name in ("secret", "label"):
        if flags[f"no_{name}s"] and flags[f"{name}s"]:
            raise click.UsageError(f"--{name} and --no-{name}s do not go together")
    options, source = client_options(), None if file is None else source_of(file)
    seconds = wait_seconds if (source is not None if wait is None else wait) else None
    with Steps(options) as steps:
        if source is not None:
            file, flags = None, flags_of_update(options, model_id, source, flags, steps)
        body = config(file, flags, unset)
        answer = make_change(
            options, lambda client: client.update(model_id, body, wait=seconds), model_id, seconds, steps
        )
    show_result(options, answer)
