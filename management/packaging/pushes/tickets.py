"""Tickets for downloads: each is the permission to fetch one Bento or model for an hour, without a key."""

from __future__ import annotations

import hashlib
import re
import secrets
from pathlib import Path
from typing import Final

from management.domain.bento_tag import StoredKind, Tag
from management.domain.clock import Clock
from management.packaging.build import BentoHome
from management.packaging.pushes import records

FOLDER: Final = "tickets"
VALID_SECONDS: Final = 3600.0
"""Seconds for which a ticket is valid."""
MAX_TICKETS: Final = 256
"""Tickets that are valid at a time; the oldest are forgotten first."""
RANDOM_BYTES: Final = 32
"""Bytes of chance in what opens something by itself."""
FORM: Final = re.compile(r"[A-Za-z0-9_-]{43}")
"""So many bytes as ``secrets.token_urlsafe`` writes them."""


class Tickets:
    """The tickets of a BentoML home. A ticket's file has the digest of its text as a name. All methods block."""

    def __init__(self, home: BentoHome, clock: Clock) -> None:
        self._home, self._clock = home, clock

    def issue(self, kind: StoredKind, tag: Tag) -> str:
        """Return a new ticket's text. Raises InvalidTag and OSError."""
        content = records.address(kind, tag)
        text = secrets.token_urlsafe(RANDOM_BYTES)
        folder = records.folder_of(self._home, FOLDER)
        records.write(self._file(text), content)
        oldest = sorted(folder.iterdir(), key=lambda file: -records.age(file, self._clock.unix()))
        for file in oldest[:-MAX_TICKETS]:
            file.unlink(missing_ok=True)
        return text

    def of(self, text: str) -> tuple[StoredKind, Tag] | None:
        """Return what the ticket is for; None for one that is unknown, or no longer valid."""
        if not FORM.fullmatch(text):
            return None
        file = self._file(text)
        return None if records.age(file, self._clock.unix()) >= VALID_SECONDS else records.addressed(records.read(file))

    def _file(self, text: str) -> Path:
        return self._home.home / records.FOLDER / FOLDER / hashlib.sha256(text.encode()).hexdigest()
