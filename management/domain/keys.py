"""API keys: their form, what is stored of them, and what each role may do.

A key is ``atl_<id>_<secret>_<checksum>``: 12 letters and digits, 43 characters of base64url (256 bits), and the CRC-32
of all before it as 8 hexadecimal digits. The checksum rejects typing errors and lets scanners find leaked keys. The
SHA-256 of the secret is stored: a secret of 256 random bits needs no slow hash.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from zlib import crc32

_FORM: Final = re.compile(r"(atl_([0-9a-z]{12})_([A-Za-z0-9_-]{43}))_([0-9a-f]{8})\Z", re.ASCII)
_ALPHABET: Final = string.digits + string.ascii_lowercase
_UNKNOWN_DIGEST: Final = "0" * 64
"""Digest that an unknown key is compared with, so that it takes the same time."""
LONGEST: Final = 512
"""Characters of the longest key that is checked."""
SHORTEST: Final = 8
"""Characters of the shortest admin key that an operator may choose."""


class Role(StrEnum):
    """What a key may do; each role includes those before it."""

    VIEWER = "viewer"
    """Read: every GET."""
    OPERATOR = "operator"
    """Read and call models."""
    ADMIN = "admin"
    """Everything."""

    def includes(self, other: Role) -> bool:
        """Return whether this role may do all that the other may."""
        order = list(Role)
        return order.index(self) >= order.index(other)


@dataclass(frozen=True)
class Key:
    """A stored key, without its secret."""

    id: str
    name: str
    role: Role
    digest: str
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None
    description: str = ""

    def valid(self, now: datetime) -> bool:
        """Return whether the key is neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True)
class NewKey:
    """A new key, with the text that its owner sends; the text is stored nowhere."""

    key: Key
    text: str


def make(name: str, role: Role, now: datetime, expires_at: datetime | None = None, description: str = "") -> NewKey:
    """Generate a key with a random id and secret."""
    key_id = "".join(secrets.choice(_ALPHABET) for _ in range(12))
    secret = secrets.token_urlsafe(32)
    body = f"atl_{key_id}_{secret}"
    key = Key(key_id, name, role, _digest(secret), now, expires_at, description=description)
    return NewKey(key, f"{body}_{_checksum(body)}")


def text_from(seed: bytes) -> str:
    """Return the text of the key that these 32 bytes make: always the same one."""
    digest = hashlib.sha256(b"id:" + seed).digest()
    key_id = "".join(_ALPHABET[value % len(_ALPHABET)] for value in digest[:12])
    secret = urlsafe_b64encode(hashlib.sha256(b"secret:" + seed).digest()).decode().rstrip("=")
    body = f"atl_{key_id}_{secret}"
    return f"{body}_{_checksum(body)}"


def with_text(text: str, name: str, role: Role, now: datetime, expires_at: datetime | None = None) -> Key:
    """Return the key of a text that this module made."""
    key_id, secret = _parts(text)
    return Key(key_id, name, role, _digest(secret), now, expires_at)


LOGIN: Final = "bentoml login of "
"""Beginning of the name of a key that a person got for a command line by showing another one."""
_SHOWN_LETTERS: Final = 60


def login_name(parent: Key) -> str:
    """Return the name of a key that is got by showing ``parent``; it ends with the id of that one."""
    return f"{LOGIN}{parent.name[:_SHOWN_LETTERS]} ({parent.id})"


def is_login_of(key: Key, parent_id: str) -> bool:
    """Return whether the key was got by showing the key of that id, and ends with it."""
    return key.name.startswith(LOGIN) and key.name.endswith(f" ({parent_id})")


def check_chosen(text: str) -> None:
    """Raise ValueError for a chosen key that a header cannot carry, or that is too short."""
    if not SHORTEST <= len(text) <= LONGEST or not text.isascii() or not text.isprintable() or text != text.strip():
        raise ValueError(f"a key has {SHORTEST} to {LONGEST} printable ASCII characters, and no space around them")


def chosen(text: str, name: str, now: datetime) -> Key:
    """Return a chosen admin key. Raises ValueError when a header cannot carry it, or it is too short."""
    check_chosen(text)
    key_id, secret = _parts(text)
    return Key(key_id, name, Role.ADMIN, _digest(secret), now)


def find(text: str, known: Mapping[str, Key], now: datetime) -> Key | None:
    """Return the valid key with this text among those ``known`` by id; None without one.

    An unknown id takes the same time as a known one.
    """
    if len(text) > LONGEST:
        return None
    key_id, secret = _parts(text)
    key = known.get(key_id)
    same = hmac.compare_digest(_digest(secret), key.digest if key else _UNKNOWN_DIGEST)
    return key if key is not None and same and key.valid(now) else None


def _parts(text: str) -> tuple[str, str]:
    """Return id and secret. For a key of another form, or with a wrong checksum, the id is a digest of its text."""
    match = _FORM.match(text)
    if match and hmac.compare_digest(_checksum(match[1]), match[4]):
        return match[2], match[3]
    return "c" + hashlib.sha256(b"id:" + text.encode(errors="surrogateescape")).hexdigest()[:12], text


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogateescape")).hexdigest()


def _checksum(body: str) -> str:
    return f"{crc32(body.encode()):08x}"
