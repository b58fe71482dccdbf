"""The command ``backup``: on the folders of this machine, by users who can read them."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from management.cli._options import json_option, known_settings
from management.cli.errors import Failed
from management.cli.server._archives import STREAM, file_argument, show_summary


@click.command()
@file_argument
@json_option
def backup(file: Path) -> None:
    r"""Write the database, the first key, the models and the Bentos into one archive, - for standard output.

    The server may run. Anyone who can read the archive can read the key in it, so its mode is 0600.

    \b
    python -m management backup atelier-$(date +%Y%m%d).tar.gz
    """
    from management.backup.archive import BackupError, back_up, write

    try:
        streamed = file == STREAM
        storage = known_settings().storage
        contents = write(storage, sys.stdout.buffer) if streamed else back_up(storage, file)
    except (BackupError, OSError) as error:
        raise Failed(str(error)) from None
    show_summary("backed up", contents, to_stdout=not streamed)
