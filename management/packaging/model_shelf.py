"""The models in the store of this machine, read without BentoML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from management.domain.bento_tag import StoredKind, Tag, is_tag
from management.packaging import bento_files
from management.packaging.archives import latest
from management.packaging.archives.admission import MODEL_FILE
from management.packaging.bento_files import UnreadableBento
from management.packaging.build import BentoHome
from management.packaging.shelf import Shelf, size_of

MAX_KNOWN: Final = 1024
"""Models that are remembered; the least recently used are read again."""


@dataclass(frozen=True)
class KeptModel:
    """A model in the store."""

    tag: Tag
    size: int
    """Bytes of its files."""
    created_at: datetime
    """When it was saved, by its file; ``latest.LONG_AGO`` where that does not say it."""
    document: Mapping[str, Any]
    """Content of its ``model.yaml``, of values that JSON can carry."""


class ModelShelf(Shelf):
    """The folder ``models`` of a BentoML home. All methods but ``run`` block."""

    def __init__(self, home: BentoHome) -> None:
        self.home = home
        self._read = lru_cache(MAX_KNOWN)(_read)

    def all(self) -> list[KeptModel]:
        """Return all models whose files can be read, the newest first."""
        files = (self.home.home / StoredKind.MODEL).glob(f"*/*/{MODEL_FILE}")
        found = (self.get(Tag(file.parent.parent.name, file.parent.name)) for file in files)
        models = sorted((model for model in found if model), key=lambda model: str(model.tag))
        return sorted(models, key=lambda model: model.created_at, reverse=True)

    def tags(self) -> list[Tag]:
        """Return the tags of all models whose files can be read, the newest first."""
        return [model.tag for model in self.all()]

    def get(self, tag: Tag) -> KeptModel | None:
        """Return the model; None where the store does not have it, or its file cannot be read.

        Its file is read again when it has changed.
        """
        if not is_tag(tag):
            return None
        folder = self.home.folder(tag, StoredKind.MODEL)
        try:
            return self._read(folder, tag, (folder / MODEL_FILE).stat().st_mtime_ns)
        except (OSError, UnreadableBento):
            return None

    def bring(self, tag: Tag) -> None:
        """Have the model's files in the BentoML home; here they are there already."""


def _read(folder: Path, tag: Tag, changed: int) -> KeptModel:
    """Return the model in a folder whose file was last changed at that time. Raises OSError and UnreadableBento."""
    document = bento_files.document(folder / MODEL_FILE)
    return KeptModel(tag, size_of(folder, changed), latest.created(document), document)
