"""The command ``check``: whether a server could start here with these settings."""

from __future__ import annotations

import click

from management.cli.common import WrongSetting, known_settings


@click.command()
@click.option("--quiet", is_flag=True, help="Say nothing where all is well.")
def check(*, quiet: bool) -> None:
    r"""Check home, database and backend without starting anything; exit status 2 where a server cannot start.

    \b
    python -m management check
    """
    refuse_unfit()
    if not quiet:
        click.echo("A server can start with these settings.")


def refuse_unfit() -> None:
    """Raises WrongSetting where a server could not start."""
    from management.preflight import obstacles

    found = obstacles(known_settings())
    if found:
        raise WrongSetting("; ".join(found))
