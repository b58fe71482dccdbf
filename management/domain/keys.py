"""API keys: their form, what is stored of them, and what each role may do.

A key is ``atl_<id>_<secret>_<checksum>``: 12 letters and digits, 43 characters of base64url (256 bits), and the CRC-32
of all before it as 8 hexadecimal digits, which refuses typing errors and lets scanners find lost keys. Stored is the
SHA-256 of the secret: what has 256 random bits needs no slow hash.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from zlib import crc32

_FORM: Final = re.compile(r"(atl_([0-9a-z]{12})_([A-Za-z0-9_-]{43}))_([0-9a-f]{8})\Z", re.ASCII)
_ALPHABET: Final = string.digits + string.ascii_lowercase
_NOBODY: Final = "0" * 64
LONGEST: Final = 512
"""Characters of a key that are looked at."""
SHORTEST: Final = 8
"""Characters of an admin key of one's own choice."""


class Role(StrEnum):
    """What a key may do; each may do what those before it may."""

    VIEWER = "viewer"
    """Look: every GET."""
    OPERATOR = "operator"
    """Call models, too."""
    ADMIN = "admin"
    """Everything."""

    def includes(self, other: Role) -> bool:
        """Whether it may do what the other may."""
        order = list(Role)
        return order.index(self) >= order.index(other)


@dataclass(frozen=True)
class Key:
    """What is known of a key."""

    id: str
    name: str
    role: Role
    digest: str
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None

    def valid(self, now: datetime) -> bool:
        """Whether it is neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True)
class NewKey:
    """A new key and, this once, the text that its owner sends."""

    key: Key
    text: str


def make(name: str, role: Role, now: datetime, expires_at: datetime | None = None) -> NewKey:
    """A new key."""
    key_id = "".join(secrets.choice(_ALPHABET) for _ in range(12))
    secret = secrets.token_urlsafe(32)
    body = f"atl_{key_id}_{secret}"
    return NewKey(Key(key_id, name, role, _digest(secret), now, expires_at), f"{body}_{_checksum(body)}")


def check_chosen(text: str) -> None:
    """Raises ValueError for a key of somebody's own choice that cannot travel in a header, or is short."""
    if not SHORTEST <= len(text) <= LONGEST or not text.isascii() or not text.isprintable() or text != text.strip():
        raise ValueError(f"a key has {SHORTEST} to {LONGEST} printable ASCII characters, and no space around them")


def chosen(text: str, name: str, now: datetime) -> Key:
    """An admin key of somebody's own choice. Raises ValueError for one that cannot travel in a header, or is short."""
    check_chosen(text)
    key_id, secret = _parts(text)
    return Key(key_id, name, Role.ADMIN, _digest(secret), now)


def find(text: str, known: Mapping[str, Key], now: datetime) -> Key | None:
    """The valid key, of those ``known`` by id, that this text is. An unknown id takes the same work as a known one."""
    if len(text) > LONGEST:
        return None
    key_id, secret = _parts(text)
    found = known.get(key_id)
    same = hmac.compare_digest(_digest(secret), found.digest if found else _NOBODY)
    return found if found is not None and same and found.valid(now) else None


def _parts(text: str) -> tuple[str, str]:
    """Id and secret; of a key that is not of our form, or mistyped, the id is made from all of it."""
    match = _FORM.match(text)
    if match and hmac.compare_digest(_checksum(match[1]), match[4]):
        return match[2], match[3]
    return "c" + hashlib.sha256(b"id:" + text.encode(errors="surrogateescape")).hexdigest()[:12], text


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogateescape")).hexdigest()


def _checksum(body: str) -> str:
    return f"{crc32(body.encode()):08x}"
