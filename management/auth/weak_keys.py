"""Detection of keys chosen by an operator that can be guessed."""

from __future__ import annotations

from typing import Final

from management.domain.clock import now
from management.domain.keys import Key, chosen

STRONG_CHARACTERS: Final = 16
"""Length in characters of the shortest key that is not weak."""
STRONG_ALPHABET: Final = 8
"""Number of different characters below which a key is weak."""

PLACEHOLDERS: Final = (
    *("your-api-key", "your_api_key", "your-api-key-here", "your-admin-api-key", "my-api-key", "change-me-please"),
    *("changeme", "change-me", "api-key-12345678", "atelier-api-key", "insecure", "insecure-api-key"),
    *("password", "passw0rd", "password1", "password123", "secret-key", "supersecret", "super-secret-key"),
    *("12345678", "123456789", "1234567890", "0123456789abcdef", "admin123", "administrator", "adminadmin"),
    *("qwertyui", "qwertyuiop", "iloveyou", "test-key", "test-api-key", "testtest", "letmein1", "atelier1"),
)
"""Keys in examples, and common passwords."""

_PLACEHOLDER_IDS: Final = frozenset(chosen(text, "", now()).id for text in PLACEHOLDERS)


def is_weak(text: str) -> bool:
    """Return whether the key is short, made of few characters, or known from examples."""
    is_guessed = text.lower() in PLACEHOLDERS
    return is_guessed or len(text) < STRONG_CHARACTERS or len(set(text)) < STRONG_ALPHABET


def is_placeholder(key: Key) -> bool:
    """Return whether a stored key, of which only a digest is known, is one of the examples'."""
    return key.id in _PLACEHOLDER_IDS
