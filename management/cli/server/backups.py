"""The commands ``backup`` and ``restore``: on the folders of this machine, by users who may read and write there."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from management.cli.common import Failed, as_json, aside, json_option, known_settings, show_json

if TYPE_CHECKING:
    from management.backup.archive import Contents

STREAM = Path("-")
_file = click.argument("file", type=click.Path(dir_okay=False, path_type=Path, allow_dash=True))


@click.command()
@_file
@json_option
def backup(file: Path) -> None:
    r"""Write the database, the first key, the models and the Bentos into one archive, - for standard output.

    The server may run. Whoever can read the archive can read the key in it: its mode is 0600.

    \b
    python -m management backup atelier-$(date +%Y%m%d).tar.gz
    """
    from management.backup.archive import BackupError, back_up, write

    try:
        streamed = file == STREAM
        contents = write(known_settings(), sys.stdout.buffer) if streamed else back_up(known_settings(), file)
    except (BackupError, OSError) as error:
        raise Failed(str(error)) from None
    _tell("backed up", contents, to_stdout=not streamed)


@click.command()
@_file
@click.option("--force", is_flag=True, help="Set aside what is there, in folders named before-DATE.")
@json_option
def restore(file: Path, *, force: bool) -> None:
    r"""Put everything of an archive back into ATELIER_HOME and BENTOML_HOME, - for standard input.

    The server must be stopped. Everything is checked before anything is moved into place.

    \b
    python -m management restore atelier-20261127.tar.gz
    """
    from management.backup.archive import BackupError
    from management.backup.restore import restore

    try:
        with sys.stdin.buffer if file == STREAM else file.open("rb") as archive:
            restored = restore(known_settings(), archive, force=force)
    except (BackupError, OSError) as error:
        raise Failed(str(error)) from None
    _tell("restored", restored.contents, to_stdout=True)
    for folder in restored.set_aside:
        aside().print(f"what was there before is in {folder}; remove it when it is no longer needed")


def _tell(what: str, contents: Contents, *, to_stdout: bool) -> None:
    told = contents.summary()
    if as_json() and to_stdout:
        show_json(told)
        return
    parts = [
        *(["the database"] if told["database"] else []),
        *(["the first key"] if told["admin_key"] else []),
        f"{told['models']} models",
        f"{told['bentos']} Bentos",
    ]
    aside().print(f"{what}: {', '.join(parts)}, {told['bytes'] / 1e6:.1f} MB of {contents.made_at}")
