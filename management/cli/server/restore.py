"""The command ``restore``: on the folders of this machine, by users who can write there."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from management.cli._options import json_option, known_settings
from management.cli._terminal import aside
from management.cli.errors import Failed
from management.cli.server._archives import STREAM, file_argument, show_summary


@click.command()
@file_argument
@click.option("--force", is_flag=True, help="Move existing contents aside, into folders named before-DATE.")
@json_option
def restore(file: Path, *, force: bool) -> None:
    r"""Restore everything in an archive into ATELIER_HOME and BENTOML_HOME, - for standard input.

    The server must be stopped. Everything is checked before anything is moved into place. The file with the keys of
    secrets is in no archive: put its copy back, or set the secrets anew.

    \b
    python -m management restore atelier-20261127.tar.gz
    """
    from management.backup.archive import has_secrets
    from management.backup.errors import BackupError
    from management.backup.restore import restore

    try:
        with sys.stdin.buffer if file == STREAM else file.open("rb") as archive:
            storage = known_settings().storage
            restored = restore(storage, archive, force=force)
    except (BackupError, OSError) as error:
        raise Failed(str(error)) from None
    show_summary("restored", restored.contents, to_stdout=True)
    if has_secrets(storage):
        aside().print(f"its secrets need the key file of that server, which no archive has, at {storage.secrets_key}")
    for folder in restored.set_aside:
        aside().print(f"the earlier contents are in {folder}; remove them when they are no longer needed")
