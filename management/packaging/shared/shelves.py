"""The Bentos and models of a shared store as shelves: what is listed is what the store has, not what is here."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from typing_extensions import override

from management.domain.bento import Bento
from management.domain.bento_tag import StoredKind, Tag, is_tag
from management.errors import SharedStoreUnavailable
from management.packaging import bento_files
from management.packaging.archives import latest
from management.packaging.archives.admission import MODEL_FILE
from management.packaging.bento_files import BENTO_FILE, UnreadableBento
from management.packaging.model_shelf import MAX_KNOWN, KeptModel, ModelShelf
from management.packaging.shared.pointers import Pointer
from management.packaging.shared.shared_store import SharedStore
from management.packaging.shelf import BentoShelf, KeptBento

THREADS: Final = ThreadPoolExecutor(16, thread_name_prefix="shared-shelf")
"""Threads that wait for the store: one that hangs takes none of those that read files."""

FETCHERS: Final = ThreadPoolExecutor(4, thread_name_prefix="shared-fetch")
"""Threads that fetch archives, each of which may take minutes."""


class SharedBentoShelf(BentoShelf):
    """The Bentos of all control planes. All methods but ``run`` block, and raise SharedStoreUnavailable."""

    executor = THREADS

    def __init__(self, shared: SharedStore) -> None:
        super().__init__(shared.home)
        self.shared = shared
        self._bentos: dict[str, Bento | None] = {}

    @override
    def tags(self) -> list[Tag]:
        return self.shared.pointers.tags(StoredKind.BENTO)

    @override
    def has(self, tag: Tag) -> bool:
        return self._pointer(tag) is not None

    @override
    def describe(self, tag: Tag) -> Bento | None:
        """Return the Bento, as it was known last while the store does not answer.

        Calls ask this for each path, so what is remembered is good enough: the Bento of a deployment is not deleted.
        """
        pointer = self._remembered(tag)
        if pointer is None:
            try:
                pointer = self._pointer(tag)
            except SharedStoreUnavailable:  # a copy here is what the tag named when the store answered
                held = self.shared.copies.held(StoredKind.BENTO, tag)
                return None if held is None else super().describe(tag)
        return None if pointer is None else self._bento(pointer)

    @override
    def document(self, tag: Tag) -> dict[str, Any] | None:
        pointer = self._remembered(tag) or self._pointer(tag)
        try:
            return None if pointer is None else bento_files.mapping(pointer.texts[BENTO_FILE], BENTO_FILE)
        except (UnreadableBento, KeyError):
            return None

    @override
    def get(self, tag: Tag) -> KeptBento | None:
        pointer = self._pointer(tag)
        return None if pointer is None else self._kept(tag, pointer)

    @override
    def several(self, tags: list[Tag]) -> list[tuple[Tag, KeptBento]]:
        found = self.shared.pointers.several(StoredKind.BENTO, tags)
        return [(tag, self._kept(tag, pointer)) for tag, pointer in found.items()]

    def _kept(self, tag: Tag, pointer: Pointer) -> KeptBento:
        unknown = Bento(tag, service="", bentoml_version="", created_at="", apis=())
        return KeptBento(self._bento(pointer) or unknown, pointer.size)

    @override
    def digest(self, tag: Tag) -> str:
        """Return the digest of the Bento's content. Raises FileNotFoundError where the store does not have it."""
        if (pointer := self._pointer(tag)) is None:
            raise FileNotFoundError(str(tag))
        return pointer.content

    @override
    def take_away(self, tag: Tag, aside: Path) -> bool:
        """Move the copy here into the folder ``aside``. Return True: the store was asked before."""
        self.shared.copies.take_away(StoredKind.BENTO, tag, aside)
        return True

    @override
    def bring(self, tag: Tag, *, models: bool = False) -> None:
        self.shared.fetch(StoredKind.BENTO, tag, models=models)

    def _bento(self, pointer: Pointer) -> Bento | None:
        """Return the Bento that a pointer describes, the same object for the same content until it is forgotten."""
        if pointer.content not in self._bentos:
            if len(self._bentos) >= MAX_KNOWN:
                self._bentos.clear()
            self._bentos[pointer.content] = _parsed(pointer)
        return self._bentos[pointer.content]

    def _pointer(self, tag: Tag) -> Pointer | None:
        return self.shared.pointers.get(StoredKind.BENTO, tag)

    def _remembered(self, tag: Tag) -> Pointer | None:
        return self.shared.pointers.remembered(StoredKind.BENTO, tag)


def _parsed(pointer: Pointer) -> Bento | None:
    """Return the Bento that a pointer describes; None where its files are not those of a Bento."""
    try:
        return bento_files.parse_known(pointer.texts, may_mount=pointer.may_mount)
    except UnreadableBento:
        return None


class SharedModelShelf(ModelShelf):
    """The models of all control planes, on the same terms."""

    executor = THREADS

    def __init__(self, shared: SharedStore) -> None:
        super().__init__(shared.home)
        self.shared = shared

    @override
    def all(self) -> list[KeptModel]:
        pointers = self.shared.pointers
        found = pointers.several(StoredKind.MODEL, pointers.tags(StoredKind.MODEL))
        kept = (_kept_model(tag, pointer) for tag, pointer in found.items())
        return sorted((each for each in kept if each), key=lambda model: model.created_at, reverse=True)

    @override
    def get(self, tag: Tag) -> KeptModel | None:
        pointer = self.shared.pointers.get(StoredKind.MODEL, tag) if is_tag(tag) else None
        return None if pointer is None else _kept_model(tag, pointer)

    @override
    def bring(self, tag: Tag) -> None:
        self.shared.fetch(StoredKind.MODEL, tag)


def _kept_model(tag: Tag, pointer: Pointer) -> KeptModel | None:
    try:
        document: Mapping[str, Any] = bento_files.mapping(pointer.texts[MODEL_FILE], MODEL_FILE)
    except (UnreadableBento, KeyError):
        return None
    return KeptModel(tag, pointer.size, latest.created(document), document)
