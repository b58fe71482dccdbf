"""What several control planes of one database must have in common, kept in it, encrypted with the keys of its secrets.

Replicas prove themselves by tokens that are derived from ``instance.secret``, and codes of browser logins are signed
with ``login.key``. Each control plane has both as files in its home; the database says what is in them.
"""

from __future__ import annotations

import logging
import os
import secrets
from pathlib import Path
from typing import Final

from management.encryption.key_file import EncryptionKey, KeyFile, KeyFileUnusable
from management.encryption.sealing import Unreadable, seal, sealed_by, unseal
from management.store import Session, Store

INSTANCE: Final = "instance.secret"
LOGIN: Final = "login.key"
SECRET_BYTES: Final = 32
"""Bytes of each of them."""

logger = logging.getLogger(__name__)


class SharedIdentity:
    """The files of one home, and their values in the database."""

    def __init__(self, store: Store, key_file: KeyFile, home: Path) -> None:
        self._store, self._key_file, self._home = store, key_file, home

    async def join(self) -> None:
        """Take over what the database has, or give it what is here first.

        Raises RuntimeError where the key file does not open it, and where this home has another ``instance.secret``.
        """
        await self._store.write(self._join, counted=False)

    def _join(self, session: Session) -> None:
        sealed = session.identities.all()
        try:
            keys = self._key_file.read() if sealed or session.secrets.all() else self._key_file.read_or_make()
            for name in (INSTANCE, LOGIN):
                if name in sealed:
                    self._take(name, unseal(keys, sealed[name], _bound(name)))
                else:
                    value = self._read(name) or secrets.token_bytes(SECRET_BYTES)
                    session.identities.add(name, seal(keys[0], value, _bound(name)))
                    self._take(name, value)
        except (KeyFileUnusable, Unreadable) as error:
            raise RuntimeError(
                f"{self._key_file.path} is not the key file of this database ({error}): copy that of another control "
                "plane, and name it by ATELIER_SECRETS_KEY_FILE"
            ) from None

    def _take(self, name: str, value: bytes) -> None:
        """Have this value in the file of that name."""
        file, present = self._home / name, self._read(name)
        if present == value:
            return
        if present is not None and name == INSTANCE:
            raise RuntimeError(
                f"{file} is that of another control plane than those of this database: stop the replicas that were "
                "started with it, and remove it"
            )
        new = file.with_name(f".{name}.{secrets.token_hex(8)}")
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(value)
            out.flush()
            os.fsync(out.fileno())
        new.rename(file)
        logger.info("%s is that of the other control planes from now on", name)

    def _read(self, name: str) -> bytes | None:
        try:
            value = (self._home / name).read_bytes()
        except FileNotFoundError:
            return None
        return value if len(value) == SECRET_BYTES else None


def encrypt_anew(session: Session, keys: list[EncryptionKey]) -> None:
    """Encrypt what is kept with the first of the keys, as a rotation does. Raises Unreadable."""
    for name, sealed in session.identities.all().items():
        if not sealed_by(keys[0], sealed):
            session.identities.put(name, seal(keys[0], unseal(keys, sealed, _bound(name)), _bound(name)))


def _bound(name: str) -> bytes:
    return f"atelier identity {name}".encode()
