"""The command ``backup``: on the folders of this machine, by users who can read them."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from management.cli._options import json_option, known_settings
from management.cli._terminal import aside
from management.cli.errors import Failed
from management.cli.server._archives import STREAM, file_argument, show_summary
from management.errors import SharedStoreUnavailable
from management.settings import StorageSettings


@click.command()
@file_argument
@json_option
def backup(file: Path) -> None:
    r"""Write the database, the first key, the models and the Bentos into one archive, - for standard output.

    The server may run. Anyone who can read the archive can read the key in it, so its mode is 0600. Secrets stay
    encrypted in it; the file with their keys is not in it: keep a copy elsewhere. With ATELIER_STORE_URL, everything in
    that store is fetched to this machine first.

    \b
    python -m management backup atelier-$(date +%Y%m%d).tar.gz
    """
    from management.backup.archive import back_up, has_secrets, write
    from management.backup.errors import BackupError

    try:
        streamed = file == STREAM
        storage = known_settings().storage
        bring_all(storage)
        contents = write(storage, sys.stdout.buffer) if streamed else back_up(storage, file)
    except (BackupError, OSError) as error:
        raise Failed(str(error)) from None
    show_summary("backed up", contents, to_stdout=not streamed)
    if has_secrets(storage):
        aside().print(f"the secrets in it need {storage.secrets_key}, which is not in it: keep a copy elsewhere")


def bring_all(storage: StorageSettings) -> None:
    """Have a copy here of everything that a shared store has. Raises Failed."""
    from management.packaging.archives.refusals import DiskFull
    from management.packaging.shared.opening import open_store

    shared = open_store(storage)
    if shared is None:
        return
    try:
        for kind, tag in shared.all():
            aside().print(f"fetching {tag}")
            shared.fetch(kind, tag)
    except SharedStoreUnavailable:
        raise Failed("the shared store does not answer, or has a damaged archive: nothing was backed up") from None
    except DiskFull:
        raise Failed("the disk of the Bento store has no room for what the shared store has") from None
