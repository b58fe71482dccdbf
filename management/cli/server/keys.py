"""The commands ``keys``: on the database of ATELIER_HOME, so users who can write there need no API key."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from management.cli._options import as_json, json_option, known_settings
from management.cli._terminal import COMMAND, cell, clean, out, show, show_json, table
from management.cli.errors import Failed
from management.domain.clock import now, shown
from management.domain.keys import Key, Role, make

if TYPE_CHECKING:
    from management.store import Store

_AGE: Final = re.compile(r"([1-9][0-9]{0,4})([mhdw])\Z", re.ASCII)
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@json_option
def keys() -> None:
    r"""Create, list and revoke API keys in the database of ATELIER_HOME; a running server follows within a second.

    \b
    python -m management keys create grafana --role viewer --expires 90d
    """


@keys.command()
@click.argument("name")
@click.option("--role", type=click.Choice([role.value for role in Role]), required=True, help="What the key allows.")
@click.option("--expires", metavar="30d", help="Lifetime in m(inutes), h(ours), d(ays) or w(eeks); default: unlimited.")
@json_option
def create(name: str, role: str, expires: str | None) -> None:
    r"""Create a key and show it once. A viewer reads, an operator also calls models, an admin does everything.

    \b
    python -m management keys create shop --role operator --expires 30d
    """
    if not name.isprintable() or not 1 <= len(name) <= 100:
        raise click.BadParameter("a name has 1 to 100 printable characters", param_hint="NAME")
    created = make(name, Role(role), now(), _end(expires))
    with _store() as store, store.writing() as session:
        session.keys.add(created.key)
    if as_json():
        show_json({**_shown(created.key), "key": created.text})
        return
    click.echo(f"Key {created.key.id} for {clean(name)}, {role}; it is not shown again:", err=True)
    click.echo(created.text)


@keys.command("list")
@json_option
def listed() -> None:
    r"""List the keys, including revoked and expired ones; their secrets are stored nowhere.

    \b
    python -m management keys list
    """
    with _store() as store, store.reading() as session:
        entries = [_shown(key) for key in session.keys.all()]
    if as_json():
        show_json(entries)
        return
    rows = table("ID", "NAME", "ROLE", "STATE", "CREATED", "LAST USED", "EXPIRES", "DESCRIPTION")
    for entry in entries:
        style = "" if entry["state"] == "valid" else "dim"
        fields = ("id", "name", "role", "state", "created_at", "last_used_at", "expires_at", "description")
        rows.add_row(*(cell(entry[name], style) for name in fields))
    show(out(), rows)


@keys.command()
@click.argument("key_id", metavar="ID")
@json_option
def revoke(key_id: str) -> None:
    r"""Revoke the key with this ID permanently.

    \b
    python -m management keys revoke 4k1v9x0q2m7z
    """
    with _store() as store, store.writing() as session:
        if not session.keys.revoke(key_id, now()):
            raise Failed(f"there is no valid key {clean(key_id)}; {COMMAND} keys list shows all")
    if as_json():
        show_json({"id": key_id, "state": "revoked"})
    else:
        click.echo(f"Key {key_id} is revoked")


@contextmanager
def _store() -> Iterator[Store]:
    """The database, migrated to this version's schema."""
    from management.store import Store

    store = Store(known_settings().storage.database)
    try:
        store.migrate()
        yield store
    finally:
        store.close()


def _end(expires: str | None) -> datetime | None:
    if expires is None:
        return None
    match = _AGE.match(expires)
    if match is None:
        raise click.BadParameter("such as 12h, 30d or 8w", param_hint="--expires")
    return now() + timedelta(**{_UNITS[match[2]]: int(match[1])})


def _shown(key: Key) -> dict[str, Any]:
    times = {name: getattr(key, name) for name in ("created_at", "last_used_at", "expires_at", "revoked_at")}
    state = "revoked" if key.revoked_at else "valid" if key.valid(now()) else "expired"
    fields = {"id": key.id, "name": key.name, "role": key.role.value, "state": state, "description": key.description}
    return fields | {name: None if time is None else shown(time) for name, time in times.items()}
