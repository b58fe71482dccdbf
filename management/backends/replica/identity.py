"""Identity of a control plane: it recognizes its own replicas on an engine that others use, too."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SECRET_BYTES: Final = 32
"""Bytes of a control plane's secret."""


@dataclass(frozen=True)
class ControlPlaneIdentity:
    """Identity of one control plane, the same after every restart."""

    secret: bytes

    @property
    def id(self) -> str:
        """Public id, derived from the secret."""
        return hashlib.sha256(self.secret).hexdigest()[:16]

    def token(self, replica_id: str) -> bytes:
        """Return the token by which a replica proves its identity. It is derived from the secret and stored nowhere."""
        return hmac.new(self.secret, replica_id.encode(), hashlib.sha256).digest()


def of_home(home: Path) -> ControlPlaneIdentity:
    """Return the identity of this home, which its first start creates atomically.

    Raises RuntimeError when the file is damaged.
    """
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = home / "instance.secret"
    with suppress(FileNotFoundError):
        return _read(file)
    new = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(secrets.token_bytes(SECRET_BYTES))
        out.flush()
        os.fsync(out.fileno())
    try:
        with suppress(FileExistsError):  # one of several workers that start at once creates it
            os.link(new, file)
    finally:
        new.unlink()
    return _read(file)


def _read(file: Path) -> ControlPlaneIdentity:
    secret = file.read_bytes()
    if len(secret) != SECRET_BYTES:
        raise RuntimeError(
            f"{file} is damaged; if it is removed, a new one is made, and running replicas are no longer recognized"
        )
    return ControlPlaneIdentity(secret)
