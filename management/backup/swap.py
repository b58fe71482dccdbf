"""Moves new parts into their places, and the old ones into folders ``before-DATE`` beside them.

An error undoes every rename. A process that is killed meanwhile leaves ``restore.unfinished`` in the home, and no
server starts on such a home. The file lists the folders with the old parts. Nothing is deleted in either case.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from management.domain.clock import now, shown

UNFINISHED: Final = "restore.unfinished"
"""File that is in the home from before the first rename until after the last one."""

JOURNAL: Final = "restore.journal"
"""The same file of version 0.1.0. It names hidden files beside the places, which hold the old parts."""


def interrupted(home: Path) -> str | None:
    """Return why no server may start after a restore that was killed, and what to do; None without one."""
    if not any((home / name).exists() for name in (UNFINISHED, JOURNAL)):
        return None
    return f"a restore into {home} was interrupted; run it again: python -m management restore FILE --force"


def is_taken(place: Path) -> bool:
    """Return whether a file or a folder that is not empty exists there."""
    return any(place.iterdir()) if place.is_dir() else os.path.lexists(place)


def swap(
    home: Path,
    parts: Mapping[Path, Path],
    removed: Iterable[Path] = (),
    aside: Iterable[Path] = (),
    commit: Callable[[], None] = lambda: None,
) -> tuple[Path, ...]:
    """Move each part into its place (``{place: part}``), and set aside the old parts there and in ``removed``.

    The files ``aside`` hold other old parts. ``commit`` is called last: where it raises, everything is undone.
    Returns the folders with old parts, including those of an interrupted restore before this one, the earliest first.
    Raises OSError after everything is undone.
    """
    before = f"before-{shown(now()).replace(':', '')}"
    with ExitStack() as undo:
        folders = _mark(home / UNFINISHED, [place.parent / before for place in (home / JOURNAL, *parts)], undo)
        for place in (home / JOURNAL, *removed, *parts):
            if is_taken(place):
                _make_folder(place.parent / before, undo)
                _move(place, place.parent / before / place.name, undo)
        for place, part in parts.items():
            _make_folder(place.parent, undo)
            _move(part, place, undo)
        for old in aside:
            _make_folder(home.absolute() / before, undo)
            _move(old, home.absolute() / before / old.name, undo)
        commit()
        undo.pop_all()
    (home / UNFINISHED).unlink()
    return tuple(folder for folder in folders if folder.is_dir())


def _mark(marker: Path, folders: Iterable[Path], undo: ExitStack) -> list[Path]:
    """Add the folders to the marker file, and return all folders that it lists."""
    listed = marker.read_text(encoding="utf-8").splitlines() if marker.exists() else []
    if not listed:
        undo.callback(marker.unlink)
    listed = list(dict.fromkeys([*listed, *(str(folder.absolute()) for folder in folders)]))
    with marker.open("w", encoding="utf-8") as out:
        out.write("\n".join(listed))
        out.flush()
        os.fsync(out.fileno())
    return [Path(line) for line in listed]


def _make_folder(folder: Path, undo: ExitStack) -> None:
    if not folder.is_dir():
        folder.mkdir(parents=True, mode=0o700)
        undo.callback(folder.rmdir)


def _move(source: Path, target: Path, undo: ExitStack) -> None:
    os.rename(source, target)
    undo.callback(os.rename, target, source)
