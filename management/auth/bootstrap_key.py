"""The key that a server begins with: a chosen one, or one that is made and kept in a file."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from typing import Final

from management.auth.weak_keys import is_placeholder, is_weak
from management.domain import keys
from management.domain.clock import now
from management.domain.keys import Key, Role
from management.settings import Settings
from management.store import Session

CHOSEN: Final = "ATELIER_API_KEY"
"""The environment variable of the chosen key, and that key's name."""
WEAK: Final = "ATELIER_API_KEY (weak)"
"""The name of a chosen key that can be guessed."""
GUESSABLE: Final = (
    "ATELIER_API_KEY can be guessed: a caller who guesses it may deploy code here. A key of 16 random characters"
    " or more is safe (openssl rand -hex 32). This one is forgotten by the next start that does not name it"
)
FIRST: Final = "first"
FILE: Final = "admin.key"

logger = logging.getLogger(__name__)


def first_key(session: Session, settings: Settings) -> None:
    """Make sure that there is an admin key. Raises ValueError for a chosen key that no header can carry.

    A weak key counts only while a start names it: the next start that does not name it forgets it.
    """
    chosen = keys.chosen(settings.api_key.get_secret_value(), CHOSEN, now()) if settings.api_key else None
    _forget_weak(session, chosen)
    if settings.api_key is not None and chosen is not None:
        _keep_chosen(session, chosen, weak=is_weak(settings.api_key.get_secret_value()))
    elif not any(one.role is Role.ADMIN and one.valid(now()) for one in session.keys.all()):
        _make_first(session, settings)


def _forget_weak(session: Session, chosen: Key | None) -> None:
    """A key that an admin has revoked stays, so that it stays revoked."""
    for key in session.keys.all():
        weak = key.name == WEAK or (key.name == CHOSEN and is_placeholder(key))
        if weak and key.revoked_at is None and (chosen is None or key.id != chosen.id):
            session.keys.remove(key.id)


def _keep_chosen(session: Session, chosen: Key, *, weak: bool) -> None:
    """Keys that were chosen before this one count no more."""
    if weak:
        logger.warning(GUESSABLE)
    known = {key.id: key for key in session.keys.all()}
    for key in known.values():
        if key.name == CHOSEN and key.id != chosen.id:
            session.keys.revoke(key.id, now())
    if weak and chosen.id in known and known[chosen.id].valid(now()):
        session.keys.remove(known.pop(chosen.id).id)  # the version before gave weak keys the name of the others
    if chosen.id not in known:
        session.keys.add(replace(chosen, name=WEAK if weak else CHOSEN))
    elif known[chosen.id].revoked_at is not None:
        logger.warning("the key in %s was revoked, and stays so", CHOSEN)


def _make_first(session: Session, settings: Settings) -> None:
    made = keys.make(FIRST, Role.ADMIN, now())
    session.keys.add(made.key)
    file = settings.home.absolute() / FILE
    file.unlink(missing_ok=True)
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(handle, "w", encoding="ascii") as out:
        out.write(made.text + "\n")
    logger.warning("the first admin key was made: it is in %s", file)  # and in no journal that collects this output
