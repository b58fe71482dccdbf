"""The key that somebody begins with: one of their own choice, or one that is made and shown once."""

from __future__ import annotations

import logging
import os
from typing import Final

from management import keys
from management.clock import now
from management.keys import Role
from management.settings import Settings
from management.store import Session

CHOSEN: Final = "ATELIER_API_KEY"
FIRST: Final = "first"
FILE: Final = "admin.key"

logger = logging.getLogger(__name__)


def first_key(session: Session, settings: Settings) -> None:
    """Sees to it that there is an admin key. Raises ValueError for a chosen one that is none."""
    if settings.api_key is not None:
        _keep_chosen(session, settings.api_key.get_secret_value())
    elif not any(one.role is Role.ADMIN and one.valid(now()) for one in session.keys.all()):
        _make_first(session, settings)


def _keep_chosen(session: Session, text: str) -> None:
    """Another one that was chosen before counts no more."""
    chosen = keys.chosen(text, CHOSEN, now())
    known = {one.id: one for one in session.keys.all()}
    for one in known.values():
        if one.name == CHOSEN and one.id != chosen.id:
            session.keys.revoke(one.id, now())
    if chosen.id not in known:
        session.keys.add(chosen)
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
    print(f"\nThe first admin key, shown this once and kept in {file}:\n\n  {made.text}\n", flush=True)  # noqa: T201
