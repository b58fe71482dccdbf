"""The Bentos in the store of this machine, read without BentoML, and taken away."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar

from management.domain.bento import Bento
from management.domain.bento_tag import Tag
from management.packaging import bento_files
from management.packaging.archives import latest
from management.packaging.archives.tree_digest import digest_of_bento
from management.packaging.bento_files import UnreadableBento
from management.packaging.build import BentoHome

Answer = TypeVar("Answer")
MAX_KNOWN: Final = 1024
"""Bentos that are remembered; the least recently used are read again."""
MAX_DOCUMENTS: Final = 128
"""Bentos whose files are remembered whole."""


@dataclass(frozen=True)
class KeptBento:
    """A Bento in the store."""

    bento: Bento
    """As far as its files can be read; its tag is that of its folder."""
    size: int
    """Bytes of its files, without those of its models."""


class Shelf:
    """What is read in threads."""

    executor: ClassVar[Executor | None] = None
    """Threads in which the methods run; those of the event loop without others."""

    async def run(self, work: Callable[..., Answer], *given: Any) -> Answer:
        """Return what the work returns, in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self.executor, partial(work, *given))


class BentoShelf(Shelf):
    """The folder ``bentos`` of a BentoML home. All methods but ``run`` block."""

    def __init__(self, home: BentoHome) -> None:
        self.home = home
        self._read = lru_cache(MAX_KNOWN)(_read)
        self._document = lru_cache(MAX_DOCUMENTS)(_document)
        self._size = lru_cache(MAX_KNOWN)(size_of)

    def tags(self) -> list[Tag]:
        """Return the tags of all Bentos, sorted by name and version."""
        files = (self.home.home / "bentos").glob(f"*/*/{bento_files.BENTO_FILE}")
        tags = (Tag(file.parent.parent.name, file.parent.name) for file in files)
        return sorted(tags, key=lambda tag: (tag.name, tag.version))

    def has(self, tag: Tag) -> bool:
        """Return whether this exact version is in the store, complete and readable."""
        try:
            return (self.home.folder(tag) / bento_files.BENTO_FILE).is_file()
        except PermissionError:
            return False

    def describe(self, tag: Tag) -> Bento | None:
        """Return the Bento as its files say; None where the store does not have it, or its files cannot be read.

        It is the same object until its file changes, or until it is forgotten for others.
        """
        try:
            return self._read(self.home.folder(tag), self._changed(tag))
        except (OSError, UnreadableBento):
            return None

    def document(self, tag: Tag) -> dict[str, Any] | None:
        """Return the content of the Bento's file, of values that JSON can carry; None where it cannot be read.

        It is the same object until its file changes, or until it is forgotten for others: nobody may change it.
        """
        try:
            return self._document(self.home.folder(tag), self._changed(tag))
        except (OSError, UnreadableBento):
            return None

    def get(self, tag: Tag) -> KeptBento | None:
        """Return the Bento; None when the store does not have it. It is read again when its file has changed."""
        try:
            size = self._size(self.home.folder(tag), self._changed(tag))
        except OSError:
            return None
        unknown = Bento(tag, service="", bentoml_version="", created_at="", apis=())
        return KeptBento(replace(self.describe(tag) or unknown, tag=tag), size)

    def several(self, tags: list[Tag]) -> list[tuple[Tag, KeptBento]]:
        """Return the Bentos of these tags that are in the store."""
        found = ((tag, self.get(tag)) for tag in tags)
        return [(tag, kept) for tag, kept in found if kept is not None]

    def bring(self, tag: Tag, *, models: bool = False) -> None:
        """Have the Bento's files in the BentoML home, and its models' with ``models``; here they are there already."""

    def digest(self, tag: Tag) -> str:
        """Return the digest of the Bento's content. Raises OSError when a file cannot be read."""
        return digest_of_bento(self.home.folder(tag))

    def take_away(self, tag: Tag, aside: Path) -> bool:
        """Move the Bento into the folder ``aside``, on the same file system. Return whether there was one."""
        folder = self.home.folder(tag)
        with self.home.locked():
            if not (folder / bento_files.BENTO_FILE).is_file():
                return False
            folder.rename(aside / "bento")
            latest.forget(folder)
        return True

    def _changed(self, tag: Tag) -> int:
        """Return the time of the last change of the Bento's file, in nanoseconds. Raises OSError without one."""
        return (self.home.folder(tag) / bento_files.BENTO_FILE).stat().st_mtime_ns


def _read(folder: Path, _: int) -> Bento:
    """Return the Bento in a folder whose file was last changed at that time. Raises OSError and UnreadableBento."""
    return bento_files.read(folder)


def _document(folder: Path, _: int) -> dict[str, Any]:
    """Return the content of such a Bento's file. Raises OSError and UnreadableBento."""
    return bento_files.document(folder / bento_files.BENTO_FILE)


def size_of(folder: Path, _: int) -> int:
    """Return the bytes of the files in such a folder. Raises OSError."""
    return sum((Path(place) / name).lstat().st_size for place, _, names in os.walk(folder) for name in names)
