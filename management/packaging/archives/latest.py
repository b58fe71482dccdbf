"""The file ``latest`` beside the versions of a Bento or a model: the newest one's version, which BentoML reads."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from management.domain.clock import written
from management.packaging import bento_files
from management.packaging.bento_files import UnreadableBento

LATEST: Final = "latest"
LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)
"""When something was made that does not say it."""
_FILES: Final = ("bento.yaml", "model.yaml")


def point_latest(folder: Path) -> None:
    """Make this version the latest, unless a newer one is; the file is replaced by one rename."""
    file = folder.parent / LATEST
    present = _version(file)
    if present and (folder.parent / present).is_dir() and _created(folder.parent / present) > _created(folder):
        return
    new = folder.parent / f".{LATEST}-{os.getpid()}"
    new.write_text(folder.name, encoding="utf-8")
    new.rename(file)


def forget(folder: Path) -> None:
    """Let BentoML choose the latest again where this version was it; remove an empty folder of versions."""
    file = folder.parent / LATEST
    if _version(file) == folder.name:
        file.unlink(missing_ok=True)
    if not any(folder.parent.iterdir()):
        folder.parent.rmdir()


def created(document: Mapping[str, Any]) -> datetime:
    """Return when a Bento or a model was made, by the content of its file; ``LONG_AGO`` where it does not say it."""
    return written(str(document.get("creation_time"))) or LONG_AGO


def _version(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _created(folder: Path) -> datetime:
    """Return when a version was made; long ago where its file does not say it."""
    for name in _FILES:
        with suppress(OSError, UnreadableBento):
            return created(bento_files.document(folder / name))
    return LONG_AGO
