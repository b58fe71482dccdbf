"""The shared store of the settings, and the shelves over it or over this machine alone."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Final

from management.domain.bento_tag import StoredKind, Tag
from management.packaging.archives.admission import Admission, admission
from management.packaging.build import BentoHome
from management.packaging.model_shelf import ModelShelf
from management.packaging.shared.shared_store import SharedStore
from management.packaging.shared.shelves import SharedBentoShelf, SharedModelShelf
from management.packaging.shelf import BentoShelf
from management.settings import StorageSettings

PACKAGE: Final = "obstore"
"""Package that a shared store needs."""


def open_store(storage: StorageSettings) -> SharedStore | None:
    """Return the shared store of the settings, the same in all of this process; None without the setting."""
    return _opened(storage.store_url, storage.bentoml_home) if storage.store_url else None


@lru_cache
def _opened(url: str, home: Path) -> SharedStore:
    from management.packaging.shared.client import ObstoreClient  # an extra, which only a shared store needs

    return SharedStore(ObstoreClient(url), BentoHome(home), hashlib.sha256(url.encode()).hexdigest()[:16])


def bento_shelf(storage: StorageSettings) -> BentoShelf:
    """Return the Bentos that may be deployed: of all control planes, or of this machine without a shared store."""
    return bentos_of(BentoHome(storage.bentoml_home), open_store(storage))


def bentos_of(home: BentoHome, shared: SharedStore | None) -> BentoShelf:
    """Return the Bentos of a shared store, or of the BentoML home."""
    return BentoShelf(home) if shared is None else SharedBentoShelf(shared)


def models_of(home: BentoHome, shared: SharedStore | None) -> ModelShelf:
    """Return the models of a shared store, or of the BentoML home."""
    return ModelShelf(home) if shared is None else SharedModelShelf(shared)


def admission_to(shared: SharedStore | None, kind: StoredKind, expected: Tag) -> Admission:
    """Return how a Bento or a model comes in that must have this tag: into the shared store, or into the home alone."""
    return admission(kind, expected) if shared is None else shared.admission(kind, expected)
