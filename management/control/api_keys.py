"""API keys as commands: made, listed and revoked by administrators, and by a person who logs a command line in."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final

from management.domain.clock import SYSTEM, Clock
from management.domain.keys import Key, NewKey, Role, find, is_login_of, login_name, make, with_text
from management.errors import InvalidRequest, KeyNotFound, Problem
from management.store import Session, Store

LONGEST_NAME: Final = 100
"""Characters of the longest name."""
RESERVED: Final = ("ATELIER_API_KEY", "first", "bentoml login of ")
"""Beginnings of the names of keys that the server makes itself."""
MAX_LOGINS: Final = 20
"""Command lines that are logged in by one key at a time."""

logger = logging.getLogger(__name__)


class ApiKeys:
    """The keys of one database. A new key works at once in this process, and within a second in others."""

    def __init__(self, store: Store, changed: Callable[[], Awaitable[None]], clock: Clock = SYSTEM) -> None:
        """``changed`` has the workers read the keys again."""
        self._store, self._changed, self._clock = store, changed, clock

    async def all(self) -> list[Key]:
        """The keys that are not revoked."""
        keys = await self._store.read(lambda session: session.keys.all())
        return [key for key in keys if key.revoked_at is None]

    async def get(self, key_id: str) -> Key:
        """A key that is not revoked. Raises KeyNotFound."""
        found = next((key for key in await self.all() if key.id == key_id), None)
        if found is None:
            raise KeyNotFound({"id": key_id})
        return found

    async def create(
        self, name: str, role: Role, expires_at: datetime | None, actor: str, description: str = ""
    ) -> NewKey:
        """Make a key, whose text is stored nowhere. Raises InvalidRequest for a name or a time that it cannot have."""
        check_name(name)
        if expires_at is not None and expires_at <= self._clock.now():
            raise InvalidRequest(Problem("expired_at", "past"))
        new = make(name, role, self._clock.now(), expires_at, description)
        await self._store.write(lambda session: session.keys.add(new.key))
        logger.info("key %s (%s) was made by %s", new.key.id, role.value, actor)
        await self._changed()
        return new

    async def log_in(self, text: str, parent: Key) -> bool:
        """Store the key of a command line that a person logs in by showing ``parent``; it may do as much, for as long.

        Of the keys that were got so, the newest stay. False where the key has been revoked already.
        """

        def write(session: Session) -> bool:
            new = with_text(text, login_name(parent), parent.role, self._clock.now(), parent.expires_at)
            known = session.keys.all()
            if (before := next((key for key in known if key.id == new.id), None)) is not None:
                return before.revoked_at is None  # the form was sent twice
            logins = [key for key in known if key.revoked_at is None and is_login_of(key, parent.id)]
            for oldest in logins[: max(0, len(logins) - MAX_LOGINS + 1)]:
                session.keys.revoke(oldest.id, self._clock.now())
            session.keys.add(new)
            return True

        is_valid = await self._store.write(write)
        logger.info("a command line was logged in by %s", parent.name)
        await self._changed()
        return is_valid

    async def hand_out(self, text: str) -> bool:
        """Return whether the key with this text may be given to its command line now: it may once."""

        def write(session: Session) -> bool:
            moment = self._clock.now()
            key = find(text, {key.id: key for key in session.keys.all()}, moment)
            if key is None or key.last_used_at is not None:
                return False
            session.keys.used({key.id: moment})
            return True

        return await self._store.write(write)

    async def revoke(self, key_id: str, actor: str) -> None:
        """Revoke a key, and those that command lines got for it.

        Raises KeyNotFound, and InvalidRequest for the last admin's, without which no other key could be made.
        """

        def write(session: Session) -> None:
            moment, known = self._clock.now(), session.keys.all()
            others = [key for key in known if key.id != key_id and not is_login_of(key, key_id)]
            if not any(key.role is Role.ADMIN and key.valid(moment) for key in others):
                raise InvalidRequest(Problem("uid", "last_admin"))
            if not session.keys.revoke(key_id, moment):
                raise KeyNotFound({"id": key_id})

        await self._store.write(write)
        logger.info("key %s was revoked by %s", key_id, actor)
        await self._changed()


def check_name(name: str) -> None:
    """Raise InvalidRequest for a name that a key cannot have."""
    if not name.isprintable() or not 1 <= len(name) <= LONGEST_NAME:
        raise InvalidRequest(Problem("name", "length", {"expected": f"1..{LONGEST_NAME}"}))
    if name.startswith(RESERVED):
        raise InvalidRequest(Problem("name", "reserved"))
