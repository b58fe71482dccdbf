"""The keys that encrypt values at rest: a file of mode 0600 that no back-up contains.

Each line is a key: 32 random bytes as base64. The first one encrypts, all of them decrypt. The file is read whenever it
is needed, so that a rotation needs no restart.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

KEY_BYTES: Final = 32
"""Bytes of a key."""
ID_BYTES: Final = 8
"""Bytes of a key's id."""
MAX_FILE_BYTES: Final = 64 * 1024
"""Bytes of the longest key file that is read."""


class KeyFileUnusable(Exception):
    """The key file is missing, unreadable or damaged; the text says which, without the file's path or content."""


@dataclass(frozen=True)
class EncryptionKey:
    """A key with the id that marks what it encrypted."""

    secret: bytes = field(repr=False)

    @property
    def id(self) -> bytes:
        """The first bytes of the key's SHA-256 digest, which do not reveal the key."""
        return hashlib.sha256(b"atelier key id\0" + self.secret).digest()[:ID_BYTES]


@dataclass(frozen=True)
class KeyFile:
    """The file at one path."""

    path: Path

    def exists(self) -> bool:
        """Return whether the file exists."""
        return self.path.exists()

    def read(self) -> tuple[EncryptionKey, ...]:
        """Return the keys, the encrypting one first. Raises KeyFileUnusable."""
        try:
            with self.path.open("rb") as file:
                text = file.read(MAX_FILE_BYTES)
        except FileNotFoundError:
            raise KeyFileUnusable("the key file is missing") from None
        except OSError as error:
            raise KeyFileUnusable(f"the key file cannot be read ({error.strerror})") from None
        keys = tuple(map(_key, text.split()))
        if not keys:
            raise KeyFileUnusable("the key file is empty")
        return keys

    def read_or_make(self) -> tuple[EncryptionKey, ...]:
        """Return the keys of the file, which is made with one new key if it is missing. Raises KeyFileUnusable."""
        with suppress(KeyFileUnusable):
            return self.read()
        if self.exists():
            return self.read()  # the file is damaged: it is never overwritten
        try:
            with suppress(FileExistsError):  # one of several workers makes it
                self._put([new_key()], replace=False)
        except OSError as error:
            raise KeyFileUnusable(f"the key file cannot be made ({error.strerror})") from None
        return self.read()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock of those that replace the file, which is a file beside it; wait for it. Raises OSError."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(self.path.with_name(f".{self.path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def write(self, keys: list[EncryptionKey]) -> None:
        """Replace the file by one with these keys, atomically. Raises OSError."""
        self._put(keys, replace=True)

    def _put(self, keys: list[EncryptionKey], *, replace: bool) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = self.path.with_name(f".{self.path.name}.{secrets.token_hex(8)}")
        try:
            with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
                out.write(b"".join(b64encode(key.secret) + b"\n" for key in keys))
                out.flush()
                os.fsync(out.fileno())
            if replace:
                os.replace(new, self.path)
            else:
                os.link(new, self.path)
            _sync(self.path.parent)
        finally:
            new.unlink(missing_ok=True)


def new_key() -> EncryptionKey:
    """Return a random key."""
    return EncryptionKey(secrets.token_bytes(KEY_BYTES))


def _key(line: bytes) -> EncryptionKey:
    try:
        secret = b64decode(line, validate=True)
    except ValueError:
        secret = b""
    if len(secret) != KEY_BYTES:
        raise KeyFileUnusable("the key file is damaged") from None
    return EncryptionKey(secret)


def _sync(folder: Path) -> None:
    """Write the folder's entries to the disk: values encrypted with a key that is lost would be lost with it."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
