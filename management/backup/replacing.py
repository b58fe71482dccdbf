"""Files and folders that come into their places all together or not at all, also where the process is killed meanwhile.

    1. the journal tells what is to move        killed from here on: all of it is taken back
    2. what is in each place goes aside, and what is new comes there
    3. the journal tells that it is done        killed from here on: the new ones stay
    4. what went aside is removed, then the journal, then what is left of the stages

Whoever finds a journal ends what it tells of: by what is where each step can be told, and it may be killed as well. All
moves are renamings within one file system.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

JOURNAL: Final = "restore.journal"
_PARTIAL: Final = f".{JOURNAL}"  # while it is written

Move = tuple[Path | None, Path]
"""What comes into which place; None where what is there only has to go."""


def replace(moves: Iterable[Move], home: Path, stages: Iterable[Path]) -> None:
    """Makes the moves out of the stages, which are gone then. Raises OSError with everything as it was."""
    told: dict[str, Any] = {
        "done": False,
        "steps": [_step(new, place) for new, place in moves],
        "stages": [str(one.absolute()) for one in stages],
    }
    _write(home, told)
    try:
        for step in told["steps"]:
            _make(**step)
        _write(home, told | {"done": True})
    finally:
        settle(home)


def settle(home: Path) -> None:
    """Ends what the journal there tells of, if there is one: it holds whole, or nothing of it."""
    (home / _PARTIAL).unlink(missing_ok=True)
    if not (home / JOURNAL).exists():
        return
    told = json.loads((home / JOURNAL).read_bytes())
    for step in reversed(told["steps"]):
        if told["done"]:
            _remove(Path(step["aside"]))
        else:
            _take_back(**step)
    (home / JOURNAL).unlink()
    for stage in told["stages"]:
        _remove(Path(stage))


def _step(new: Path | None, place: Path) -> dict[str, Any]:
    place = place.absolute()
    return {
        "new": str(new.absolute()) if new else None,
        "place": str(place),
        "aside": str(place.with_name(f".{place.name}.{secrets.token_hex(8)}")),
        "replaces": os.path.lexists(place),
    }


def _write(home: Path, told: dict[str, Any]) -> None:
    """The journal, whole: one that is cut off would tell nothing."""
    with open(os.open(home / _PARTIAL, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
        json.dump(told, out)
        out.flush()
        os.fsync(out.fileno())
    os.rename(home / _PARTIAL, home / JOURNAL)


def _make(new: str | None, place: str, aside: str, *, replaces: bool) -> None:
    Path(place).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if replaces:
        os.rename(place, aside)
    if new:
        os.rename(new, place)


def _take_back(new: str | None, place: str, aside: str, *, replaces: bool) -> None:
    """What is in the place is new if the old one is aside, or if there was none and the new one is not where it was."""
    if os.path.lexists(aside):
        _remove(Path(place))
        os.rename(aside, place)
    elif new and not replaces and not os.path.lexists(new):
        _remove(Path(place))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
