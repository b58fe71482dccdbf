"""Authenticated encryption of one value by AES-256-GCM, bound to what is stored beside it.

A sealed value is a format byte, the id of its key, a random nonce of 12 bytes, and the ciphertext with its tag. Moving
it to another row, or changing what it is bound to, makes it unreadable.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

from management.encryption.key_file import ID_BYTES, EncryptionKey

FORMAT: Final = b"\x01"
NONCE_BYTES: Final = 12
"""Bytes of a nonce. Two of 2**32 random ones are equal with a probability below 2**-32 (NIST SP 800-38D, 8.3)."""
HEAD_BYTES: Final = 1 + ID_BYTES + NONCE_BYTES


class Unreadable(Exception):
    """The sealed value cannot be opened; the text says why, without any part of it."""


def seal(key: EncryptionKey, value: bytes, bound: bytes) -> bytes:
    """Return the value encrypted and bound to ``bound``."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = os.urandom(NONCE_BYTES)
    head = FORMAT + key.id
    return head + nonce + AESGCM(key.secret).encrypt(nonce, value, head + bound)


def unseal(keys: Sequence[EncryptionKey], sealed: bytes, bound: bytes) -> bytes:
    """Return the value. Raises Unreadable when no key fits, or when the value or what it is bound to was changed."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    if sealed[:1] != FORMAT or len(sealed) < HEAD_BYTES:
        raise Unreadable("its stored value is damaged")
    head, nonce = sealed[: 1 + ID_BYTES], sealed[1 + ID_BYTES : HEAD_BYTES]
    key = next((key for key in keys if key.id == head[1:]), None)
    if key is None:
        raise Unreadable("the key file does not have the key that encrypted it")
    try:
        return AESGCM(key.secret).decrypt(nonce, sealed[HEAD_BYTES:], head + bound)
    except InvalidTag:
        raise Unreadable("its stored value was changed") from None


def sealed_by(key: EncryptionKey, sealed: bytes) -> bool:
    """Return whether this key encrypted the value."""
    return sealed[1 : 1 + ID_BYTES] == key.id
