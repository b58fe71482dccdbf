"""The command ``move-database``: from SQLite to PostgreSQL, or back, while no server runs."""

from __future__ import annotations

import click

from management.cli._options import as_json, json_option, known_settings
from management.cli._terminal import show_json
from management.cli.errors import Failed


@click.command("move-database")
@click.option(
    "--to",
    "target",
    metavar="URL",
    required=True,
    envvar="ATELIER_NEW_DATABASE_URL",
    show_envvar=True,
    help="The new database: postgresql://USER@HOST/NAME or sqlite:///FILE.",
)
@json_option
def move_database(target: str) -> None:
    r"""Copy the database of this server into another one, whole or not at all, and leave the old one as it is.

    The server must be stopped, and the new database empty; a repeated move changes nothing. A password belongs into
    ~/.pgpass, PGPASSWORD or ATELIER_NEW_DATABASE_URL: other users of the machine can see the arguments of a command.

    \b
    python -m management move-database --to postgresql://atelier@db.example.com/atelier
    """
    from management.backup.errors import BackupError
    from management.backup.moving import move

    try:
        moved = move(known_settings().storage, target)
    except (BackupError, OSError) as error:
        raise Failed(str(error)) from None
    if as_json():
        show_json({"from": moved.source, "to": moved.target, "rows": moved.rows})
        return
    done = f"copied {moved.rows} rows" if moved.rows else "all rows were there already"
    click.echo(f"{done}, from {moved.source} to {moved.target}")
    click.echo("set ATELIER_DATABASE_URL to the new URL, and start the server")
