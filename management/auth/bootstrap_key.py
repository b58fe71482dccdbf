"""The first admin key of a server: the one in its environment, or a generated one that is kept in a file."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from management.auth.weak_keys import is_placeholder, is_weak
from management.domain import keys
from management.domain.clock import now
from management.domain.keys import Key, Role
from management.store import Session

CHOSEN: Final = "ATELIER_API_KEY"
"""Environment variable of the chosen key, and the name of that key."""
WEAK: Final = "ATELIER_API_KEY (weak)"
"""Name of a chosen key that can be guessed."""
GUESSABLE: Final = (
    "ATELIER_API_KEY can be guessed: a caller who guesses it may deploy code here. A key of 16 random characters"
    " or more is safe (openssl rand -hex 32). The next start without this key deletes it"
)
"""Warning for a weak key."""
FIRST: Final = "first"
"""Name of the generated key."""
FILE: Final = "admin.key"
"""File of the generated key in the home folder."""

logger = logging.getLogger(__name__)


def first_key(session: Session, api_key: SecretStr | None, home: Path) -> None:
    """Make sure that there is an admin key. Raises ValueError for a chosen key that no header can carry.

    A weak key is valid only while it is set: the next start without it deletes it.
    """
    chosen = keys.chosen(api_key.get_secret_value(), CHOSEN, now()) if api_key else None
    _forget_weak(session, chosen)
    if api_key is not None and chosen is not None:
        _keep_chosen(session, chosen, weak=is_weak(api_key.get_secret_value()))
    elif not any(key.role is Role.ADMIN and key.valid(now()) for key in session.keys.all()):
        _make_first(session, home)


def _forget_weak(session: Session, chosen: Key | None) -> None:
    """Delete weak keys that are no longer set. A revoked key is kept, so that it stays revoked."""
    for key in session.keys.all():
        weak = key.name == WEAK or (key.name == CHOSEN and is_placeholder(key))
        if weak and key.revoked_at is None and (chosen is None or key.id != chosen.id):
            session.keys.remove(key.id)


def _keep_chosen(session: Session, chosen: Key, *, weak: bool) -> None:
    """Store the chosen key and revoke those that were chosen before it."""
    if weak:
        logger.warning(GUESSABLE)
    known = {key.id: key for key in session.keys.all()}
    for key in known.values():
        if key.name == CHOSEN and key.id != chosen.id:
            session.keys.revoke(key.id, now())
    if weak and chosen.id in known and known[chosen.id].valid(now()):
        session.keys.remove(known.pop(chosen.id).id)  # an earlier version gave weak keys the same name as the others
    if chosen.id not in known:
        session.keys.add(replace(chosen, name=WEAK if weak else CHOSEN))
    elif known[chosen.id].revoked_at is not None:
        logger.warning("the key in %s was revoked and stays revoked", CHOSEN)


def _make_first(session: Session, home: Path) -> None:
    new_key = keys.make(FIRST, Role.ADMIN, now())
    session.keys.add(new_key.key)
    file = home.absolute() / FILE
    file.unlink(missing_ok=True)
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(handle, "w", encoding="ascii") as out:
        out.write(new_key.text + "\n")
    logger.warning("the first admin key was made: it is in %s", file)  # the key itself must not be in any log
