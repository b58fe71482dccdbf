"""Removes what pushes left that do not go on."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from management.domain.bento_tag import StoredKind
from management.domain.clock import Clock
from management.packaging.build import BentoHome
from management.packaging.pushes import records, tickets, uploads

KEPT_SECONDS: Final = 24 * 3600.0
"""Seconds for which a registration or an upload stays after its last change. What is in the store by then says itself
what its registration said."""


def remove_abandoned(home: BentoHome, clock: Clock) -> None:
    """Remove registrations and uploads that did not change for a day, and tickets that are no longer valid."""
    root, now = home.home / records.FOLDER, clock.unix()
    if not root.is_dir():
        return
    for folder in _older(root / uploads.FOLDER, KEPT_SECONDS, now):
        shutil.rmtree(folder, ignore_errors=True)
    with records.locked(home):
        for ticket in _older(root / tickets.FOLDER, tickets.VALID_SECONDS, now):
            ticket.unlink(missing_ok=True)
        for names in (root / kind for kind in StoredKind):
            for name in names.iterdir() if names.is_dir() else ():
                for file in _older(name, KEPT_SECONDS, now):
                    file.unlink(missing_ok=True)
                if not any(name.iterdir()):
                    name.rmdir()


def _older(folder: Path, seconds: float, now: float) -> list[Path]:
    """Return what is in the folder and was not changed for so long."""
    return [path for path in folder.iterdir() if records.age(path, now) >= seconds] if folder.is_dir() else []
