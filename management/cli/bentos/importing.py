"""The command ``import``: push every Bento of the caller's store that the server does not have."""

from __future__ import annotations

from typing import Any

import click

from client import AtelierError, AtelierUnreachable
from management.cli._options import ClientOptions, client_options, remote
from management.cli.bentos._batches import refuse_failed, report_failure, show_rows
from management.cli.bentos.sending import send
from management.cli.bentos.sources import Kind, Source, own_home, own_tags
from management.cli.errors import Failed
from management.cli.progress import Steps


@click.command("import")
@remote
def import_() -> None:
    r"""Push all Bentos of your Bento store; those that the server has are skipped.

    BENTOML_HOME names your Bento store, as it does for bentoml itself.

    \b
    python -m management import
    """
    options, tags = client_options(), own_tags()
    if not tags:
        raise Failed(f"the Bento store {own_home()} is empty; BENTOML_HOME names another one")
    with Steps(options) as steps:
        rows = [_imported(options, tag, steps) for tag in tags]
    show_rows(rows, "BENTO", "SIZE", "STATE")
    refuse_failed(rows, "not all Bentos were pushed")


def _imported(options: ClientOptions, tag: str, steps: Steps) -> dict[str, Any]:
    """Push one Bento, and return its row; a failed one does not stop the others, an unreachable server does."""
    try:
        answer, is_new = send(options, Source(Kind.TAG, tag), None, steps)
    except AtelierUnreachable:
        raise
    except (AtelierError, Failed) as error:
        text = error.message if isinstance(error, Failed) else f"{error}"
        return {"tag": tag, "size_bytes": None, "state": report_failure(Exception(f"{tag}: {text}"))}
    return {"tag": tag, "size_bytes": answer["size_bytes"], "state": "pushed" if is_new else "there already"}
