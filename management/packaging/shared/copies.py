"""What a BentoML home holds of a shared store: copies, each with a mark that says of which content it is.

A mark is beside the store, in a folder of its own, and names the folder that it was made for: one that BentoML or
``atelier build`` has put in its place since is no copy.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from management.domain.bento_tag import StoredKind, Tag
from management.packaging.archives import latest
from management.packaging.archives.admission import sync
from management.packaging.archives.tree_digest import digest_of, digest_of_bento, entries_of
from management.packaging.build import BentoHome

FOLDER: Final = ".shared"
"""Folder of the marks and locks in the BentoML home."""
SET_ASIDE: Final = ".set-aside"
"""Folder of what was built here under a tag that the shared store has with another content."""
_FILES: Final = {StoredKind.BENTO: "bento.yaml", StoredKind.MODEL: "model.yaml"}

logger = logging.getLogger(__name__)


class Copies:
    """The copies in a BentoML home of what one shared store has. All methods block."""

    def __init__(self, home: BentoHome, store: str) -> None:
        """``store`` is a name of the store: what is a copy of another one is not one of this."""
        self.home = home
        self._folder = home.home / FOLDER / store

    def held(self, kind: StoredKind, tag: Tag) -> str | None:
        """Return the digest of the content whose copy is here; None without a copy."""
        folder = self.home.folder(tag, kind)
        try:
            mark = json.loads(self._mark(kind, tag).read_text(encoding="ascii"))
            if mark["folder"] == folder.stat().st_ino and (folder / _FILES[kind]).is_file():
                return str(mark["content"])
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return None

    def all(self) -> list[tuple[StoredKind, Tag]]:
        """Return what has a copy here."""
        found = []
        for kind in StoredKind:
            for mark in (self._folder / kind).glob("*/*.json"):
                tag = Tag(mark.parent.name, mark.name.removesuffix(".json"))
                if self.held(kind, tag) is not None:
                    found.append((kind, tag))
        return found

    def content(self, kind: StoredKind, tag: Tag) -> str:
        """Return the digest of what is here under the tag, copy or not. Raises OSError where nothing is."""
        if (held := self.held(kind, tag)) is not None:
            return held
        folder = self.home.folder(tag, kind)
        (folder / _FILES[kind]).stat()
        return digest_of_bento(folder) if kind is StoredKind.BENTO else digest_of(entries_of(folder))

    def is_here(self, kind: StoredKind, tag: Tag, content: str) -> bool:
        """Return whether this content is here. What was built or came in here before is a copy from then on."""
        held = self.held(kind, tag)
        if held is not None:
            return held == content
        try:
            if self.content(kind, tag) != content:
                return False
        except OSError:
            return False
        self.mark(kind, tag, content)
        return True

    def mark(self, kind: StoredKind, tag: Tag, content: str) -> None:
        """Note that what is here under the tag is a copy of this content. Raises OSError."""
        mark = self._mark(kind, tag)
        mark.parent.mkdir(parents=True, exist_ok=True)
        new = mark.with_name(f".{os.getpid()}-{time.monotonic_ns()}")
        new.write_text(
            json.dumps({"content": content, "folder": self.home.folder(tag, kind).stat().st_ino}), encoding="ascii"
        )
        new.rename(mark)

    def place(self, kind: StoredKind, tag: Tag, content: str, folder: Path) -> None:
        """Put a folder, which is on the same file system, in the place of what is here under the tag. Raises OSError.

        An earlier copy goes with the folder's workplace; what was built here is set aside.
        """
        target = self.home.folder(tag, kind)
        with self.home.locked():
            if self.is_here(kind, tag, content):
                return
            if target.exists():
                self._move_away(kind, tag, target, folder.parent)
            target.parent.mkdir(parents=True, exist_ok=True)
            folder.rename(target)
            self.mark(kind, tag, content)
            latest.point_latest(target)
            sync(target.parent)

    def _move_away(self, kind: StoredKind, tag: Tag, target: Path, workplace: Path) -> None:
        if self.held(kind, tag) is not None or not (target / _FILES[kind]).is_file():
            target.rename(workplace / f"earlier-{tag.name}-{tag.version}")
            return
        aside = self.home.home / SET_ASIDE / kind / tag.name / f"{tag.version}-{time.time_ns()}"
        aside.parent.mkdir(parents=True, exist_ok=True)
        target.rename(aside)
        logger.warning("%s was built here and differs from the one in the shared store: it is now in %s", tag, aside)

    def take_away(self, kind: StoredKind, tag: Tag, aside: Path) -> bool:
        """Move a copy into the folder ``aside``, on the same file system. Return whether there was one."""
        target = self.home.folder(tag, kind)
        with self.home.locked():
            if self.held(kind, tag) is None:
                return False
            target.rename(aside / f"{kind}-{tag.name}-{tag.version}")
            latest.forget(target)
            self._mark(kind, tag).unlink(missing_ok=True)
        return True

    @contextmanager
    def fetching(self, content: str) -> Iterator[None]:
        """Hold the lock of this content while it is fetched into this home, so that it is fetched once."""
        folder = self._folder / "fetching"
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / content
        with file.open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        with suppress(OSError):
            file.unlink()

    def _mark(self, kind: StoredKind, tag: Tag) -> Path:
        return self._folder / kind / tag.name / f"{tag.version}.json"
