"""The folder of all environments: which are ready, being made or failed, and which are removed for space.

DIGEST/          an environment that is ready; the time of its last change is that of its last use
DIGEST.lock      locked by the process that makes it, or removes it; removed with it
DIGEST.log       what its making wrote
DIGEST.failure   why its last making failed
cache/, python/  of uv
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from management.backends.launcher import TAIL_BYTES
from management.backends.preparation import EnvironmentState, Preparation
from management.backends.process import replica_folder
from management.backends.process.environments.maker import FACTS

MAKING: Final = ".making-"
TRACES: Final = ("log", "overrides", "failure", "lock")
"""Endings of the files beside an environment; the lock goes last, by the process that holds it."""


@dataclass(frozen=True)
class Failure:
    """Why an environment could not be made."""

    reason: str
    temporary: bool
    at: float
    """Unix time."""


def failure_of(outcome: Mapping[str, Any]) -> Failure:
    """Return the failure in an outcome of the maker."""
    at = outcome.get("at")
    moment = float(at) if isinstance(at, int | float) else 0.0
    return Failure(str(outcome.get("reason")), outcome.get("temporary") is True, moment)


@dataclass(frozen=True)
class Places:
    """The folder, read and changed by several processes at once."""

    home: Path

    def target(self, digest: str) -> Path:
        """Return the path of an environment that is ready."""
        return self.home / digest

    def python(self, digest: str) -> Path:
        """Return the path of its interpreter."""
        return self.home / digest / "bin" / "python"

    def make_home(self) -> None:
        """Create the folders. Raises OSError."""
        for folder in (self.home, self.home / "tmp"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def look(self, digest: str, python: str) -> Preparation:
        """Return the preparation of an environment, by its files."""
        facts = self.facts(digest)
        if facts is not None:
            return Preparation(
                EnvironmentState.READY, digest, python, seconds=facts.get("seconds"), size_bytes=facts.get("bytes")
            )
        if self.is_locked(digest):
            return Preparation(EnvironmentState.PREPARING, digest, python)
        return Preparation(EnvironmentState.ABSENT, digest, python)

    def facts(self, digest: str) -> dict[str, Any] | None:
        """Return what is known of an environment that is ready; None where it is not, or its Python was removed."""
        return _read(self.target(digest) / FACTS) if self.python(digest).exists() else None

    def failure(self, digest: str) -> Failure | None:
        """Return the last failure to make the environment; None without a failure."""
        kept = _read(self.home / f"{digest}.failure")
        return None if kept is None else failure_of(kept)

    def is_locked(self, digest: str) -> bool:
        """Return whether a process makes or removes the environment."""
        try:
            with (self.home / f"{digest}.lock").open("rb") as lock:
                return not _lock(lock.fileno())
        except FileNotFoundError:
            return False

    @contextmanager
    def locked(self, digest: str) -> Iterator[int | None]:
        """Hold the environment's lock in the block, and give its descriptor; None where another process holds it."""
        file = self.home / f"{digest}.lock"
        while True:
            with file.open("ab") as lock:
                if not _lock(lock.fileno()):
                    yield None
                elif not _is_at(lock.fileno(), file):  # removed with its environment after it was opened
                    continue
                else:
                    yield lock.fileno()
                return

    def used(self, digest: str) -> None:
        """Note that the environment is used now."""
        with suppress(OSError):
            os.utime(self.target(digest))

    def log(self, digest: str, lines: int) -> list[str]:
        """Return the last lines of its making."""
        try:
            with (self.home / f"{digest}.log").open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
                return file.read().decode(errors="replace").splitlines()[-lines:]
        except OSError:
            return []

    def sweep(self) -> None:
        """Remove what killed processes left."""
        for folder in self.home.glob(f"*{MAKING}*"):
            with self.locked(folder.name.partition(MAKING)[0]) as lock:
                if lock is not None:
                    shutil.rmtree(folder, ignore_errors=True)

    def sizes(self) -> dict[str, int]:
        """Return the bytes of every environment that is ready, the least recently used first."""
        ready = [file.parent for file in self.home.glob(f"*/{FACTS}") if MAKING not in file.parent.name]
        ready.sort(key=lambda folder: folder.stat().st_mtime)
        return {folder.name: int((_read(folder / FACTS) or {}).get("bytes", 0)) for folder in ready}

    def cached_bytes(self) -> int:
        """Return the bytes of uv's cache that are not those of an environment under a second name."""
        return _unshared_bytes(self.home / "cache")

    def evict(self, kept: Collection[str], most_bytes: int) -> list[str]:
        """Remove environments that are not ``kept`` while all exceed the bytes; return the removed ones."""
        sizes, removed = self.sizes(), []
        for digest in [digest for digest in sizes if digest not in kept]:
            if sum(sizes.values()) <= most_bytes:
                break
            if self._remove(digest):
                removed.append(digest)
                del sizes[digest]
        return removed

    def forget(self, kept: Collection[str]) -> None:
        """Remove the files of environments that were never made, or that others removed, unless they are ``kept``."""
        for digest in {file.stem for kind in TRACES for file in self.home.glob(f"*.{kind}")}.difference(kept):
            with self.locked(digest) as lock:
                if lock is not None and not self.target(digest).exists():
                    self._remove_traces(digest)

    def _remove(self, digest: str) -> bool:
        with self.locked(digest) as lock:
            if lock is None:
                return False
            gone = self.home / f"{digest}{MAKING}removed"  # no longer ready from one moment to the next
            shutil.rmtree(gone, ignore_errors=True)
            self.target(digest).rename(gone)
            shutil.rmtree(gone, ignore_errors=True)
            self._remove_traces(digest)
        return True

    def _remove_traces(self, digest: str) -> None:
        for kind in TRACES:
            (self.home / f"{digest}.{kind}").unlink(missing_ok=True)


def digests_in_use(replicas: Path) -> set[str]:
    """Return the environments that replicas with a folder run in."""
    used = set()
    for file in replicas.glob(f"*/{replica_folder.ENVIRONMENT}"):
        with suppress(OSError):
            used.add(file.read_text().strip())
    return used


def _unshared_bytes(folder: Path) -> int:
    """Return the bytes of the files that have one name only."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                status = os.lstat(os.path.join(place, name))
                total += status.st_blocks * 512 if status.st_nlink == 1 else 0
    return total


def _lock(file: int) -> bool:
    """Take the lock for this open file. Return False where another open file holds it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(opened: int, file: Path) -> bool:
    """Return whether the open file still has that path."""
    try:
        return os.path.samestat(os.fstat(opened), file.stat())
    except FileNotFoundError:
        return False


def _read(file: Path) -> dict[str, Any] | None:
    """Return the JSON object in a file; None where the file has no whole object."""
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
