"""What a control plane knows its own replicas by, where others may run some on the same engine."""

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


@dataclass(frozen=True)
class ControlPlaneIdentity:
    """One control plane, however often it is started anew."""

    secret: bytes

    @property
    def id(self) -> str:
        """Its name, which is no secret."""
        return hashlib.sha256(self.secret).hexdigest()[:16]

    def token(self, replica_id: str) -> bytes:
        """What a replica proves itself by. Kept nowhere: who has the secret knows it, also after a restart."""
        return hmac.new(self.secret, replica_id.encode(), hashlib.sha256).digest()


def of_home(home: Path) -> ControlPlaneIdentity:
    """That of this home; it is made at its first start, whole or not at all."""
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = home / "instance.secret"
    with suppress(FileNotFoundError):
        return _whole(file)
    new = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(secrets.token_bytes(SECRET_BYTES))
        out.flush()
        os.fsync(out.fileno())
    try:
        with suppress(FileExistsError):  # of several workers that begin at once one makes it
            os.link(new, file)
    finally:
        new.unlink()
    return _whole(file)


def _whole(file: Path) -> ControlPlaneIdentity:
    secret = file.read_bytes()
    if len(secret) != SECRET_BYTES:
        raise RuntimeError(f"{file} is damaged; without it a new one is made, and what runs is not known again")
    return ControlPlaneIdentity(secret)
