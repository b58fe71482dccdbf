"""The command ``check``: whether a server can start here with these settings."""

from __future__ import annotations

import click

from management.cli._options import known_settings
from management.cli.errors import WrongSetting


@click.command()
@click.option("--quiet", is_flag=True, help="Print nothing if a server can start.")
def check(*, quiet: bool) -> None:
    r"""Check home, database and backend without starting anything; exit status 2 where a server cannot start.

    \b
    python -m management check
    """
    require_fit(lasting=False)
    if not quiet:
        click.echo("A server can start with these settings.")


def require_fit(*, lasting: bool) -> None:
    """Raise WrongSetting where a server cannot start; with ``lasting`` for what does not pass by itself alone."""
    from management.preflight import obstacles

    reasons = obstacles(known_settings(), lasting=lasting)
    if reasons:
        raise WrongSetting("; ".join(reasons))
