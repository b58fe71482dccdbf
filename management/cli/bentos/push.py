"""The command ``push``: bring a Bento into the server's store."""

from __future__ import annotations

import click

from management.cli._options import client_options, remote
from management.cli._terminal import COMMAND, clean, out, show_json
from management.cli.bentos.sending import send
from management.cli.bentos.sources import Kind, source_of
from management.cli.progress import Steps


@click.command()
@click.argument("source", metavar="TAG|FOLDER|FILE")
@click.option("--version", help="Version of the Bento that is built from FOLDER; BentoML makes one otherwise.")
@remote
def push(source: str, version: str | None) -> None:
    r"""Push a Bento: by its TAG in your Bento store, the FOLDER to build it from, or a FILE of bentoml export.

    The same Bento again is not sent again. BENTOML_HOME names your Bento store, as it does for bentoml itself.

    \b
    python -m management push . --version 1.0.0
    python -m management push hello:1.0.0
    python -m management push hello-1.0.0.bento
    """
    options, found = client_options(), source_of(source)
    if found is None:
        raise click.BadParameter(f"{clean(source)} is no folder, archive or tag", param_hint="TAG|FOLDER|FILE")
    if version is not None and found.kind is not Kind.FOLDER:
        raise click.UsageError("--version needs a FOLDER; an archive and a tag have their version")
    with Steps(options) as steps:
        answer, is_new = send(options, found, version, steps)
    if options.as_json:
        show_json(answer)
        return
    tag = clean(answer["tag"])
    out().print(f"{tag} is in the store" if is_new else f"{tag} was in the store already", style="green")
    out().print(f"\nDeploy it:\n\n  {COMMAND} deploy {tag} --model-id {clean(answer['name'])}\n")
