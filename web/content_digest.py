"""The header ``Content-Digest`` of RFC 9530: what a body's checksum must be."""

from __future__ import annotations

import hashlib
import re
from base64 import b64decode
from binascii import Error
from collections.abc import Iterable, Mapping
from typing import Final

LENGTHS: Final[Mapping[str, int]] = {"sha-256": 32, "sha-512": 64}
"""Bytes of a digest, by each algorithm that is compared; others are ignored."""
_KEY: Final = r"[a-z*][a-z0-9_.*-]*"
_PARAMETER: Final = rf" *; *{_KEY}(?:=[A-Za-z0-9?:/+.*_-]+)?"
_MEMBER: Final = re.compile(rf"[ \t]*({_KEY})=:([A-Za-z0-9+/]*={{0,2}}):(?:{_PARAMETER}){{0,4}}[ \t]*(,|\Z)", re.ASCII)


def read(header: str) -> dict[str, bytes]:
    """Return the digests in a header, by the known algorithms. Raises ValueError for a malformed header."""
    digests: dict[str, bytes] = {}
    position, separator = 0, ","
    while separator:
        member = _MEMBER.match(header, position)
        if member is None:
            raise ValueError("not a dictionary of digests")
        name, value, separator = member.groups()
        position = member.end()
        if name in LENGTHS:
            digests[name] = _digest(value, LENGTHS[name])
    return digests


def _digest(text: str, length: int) -> bytes:
    try:
        digest = b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), validate=True)
    except Error:
        raise ValueError("not base64") from None
    if len(digest) != length:
        raise ValueError("not the length of a digest")
    return digest


class Digests:
    """Computes the digests of a body that arrives in pieces."""

    def __init__(self, algorithms: Iterable[str]) -> None:
        """``algorithms`` are names in ``LENGTHS``."""
        self._hashes = {name: hashlib.new(name.replace("-", "")) for name in algorithms}

    def update(self, piece: bytes) -> None:
        """Add a piece of the body."""
        for each in self._hashes.values():
            each.update(piece)

    def agree(self, expected: Mapping[str, bytes]) -> bool:
        """Return whether the body has these digests."""
        return all(self._hashes[name].digest() == digest for name, digest in expected.items())
