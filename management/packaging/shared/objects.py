"""What a shared store is asked for: objects by key, some written once, some only where there is none."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

PIECE_BYTES: Final = 8 * 1024 * 1024
"""Bytes of a piece of an archive; a transfer holds a few of them."""


@dataclass(frozen=True)
class StoredObject:
    """An object in a listing."""

    key: str
    size: int
    """Bytes."""
    changed_at: datetime
    """When it was written last, by the store's clock."""


@dataclass(frozen=True)
class Version:
    """The content of an object, and the mark that the store gave it."""

    content: bytes
    mark: str


class ObjectStore(ABC):
    """Objects by key. All methods block, for as long as their deadlines at most.

    They raise SharedStoreUnavailable when the store does not answer in time or refuses its credentials.
    """

    @abstractmethod
    def read(self, key: str, known: Version | None = None) -> Version | None:
        """Return an object's content; ``known`` itself while that is still its content, None without the object."""

    @abstractmethod
    def create(self, key: str, content: bytes) -> bool:
        """Write an object unless there is one; return whether it was written. Raises DiskFull."""

    @abstractmethod
    def write(self, key: str, content: bytes) -> None:
        """Write an object in place of any that there is. Raises DiskFull."""

    @abstractmethod
    def remove(self, key: str) -> None:
        """Remove an object, if there is one."""

    @abstractmethod
    def below(self, prefix: str) -> list[StoredObject]:
        """Return the objects whose keys begin with the parts of the prefix, sorted by key."""

    @abstractmethod
    def pieces(self, key: str, size: int) -> Iterator[bytes]:
        """Yield the content of an object that is never written again, so many bytes.

        Raises FileNotFoundError where there is none, or a shorter one.
        """

    @abstractmethod
    def send(self, key: str, pieces: Iterator[bytes]) -> int:
        """Write a large object from pieces, which appears whole or not at all, and return its bytes. Raises DiskFull.

        What ``pieces`` raises is raised.
        """

    @abstractmethod
    def remove_unfinished(self, seconds: float) -> None:
        """Remove what was left of writes that were killed so long ago, as far as the store does not do it itself."""
