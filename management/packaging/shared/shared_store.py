"""The store that several control planes share: every Bento and model once, by the digest of its content."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final

from management.domain.bento import Bento
from management.domain.bento_tag import StoredKind, Tag
from management.errors import BentoNotFound, SharedArchiveDamaged, StoredModelNotFound
from management.packaging import bento_files
from management.packaging.archives.admission import (
    MODEL_FILE,
    ArchivedModel,
    Taken,
    read_bento,
    read_model,
    require_entries,
)
from management.packaging.archives.pack import pack
from management.packaging.archives.refusals import ArchiveRefused, BentoTaken
from management.packaging.archives.tree_digest import (
    CONTENT_DIGEST,
    MODELS,
    Entry,
    digest_of,
    is_content,
)
from management.packaging.archives.upload import Upload
from management.packaging.archives.workplace import workplace
from management.packaging.build import BentoHome
from management.packaging.shared.copies import Copies
from management.packaging.shared.objects import PIECE_BYTES, ObjectStore
from management.packaging.shared.pointers import ARCHIVES, Pointer, Pointers
from management.packaging.shelf import size_of
from management.settings import BentoSettings

TRUSTED: Final = BentoSettings(upload_bytes=2**60, unpacked_bytes=2**60, file_bytes=2**60, files=2**31, downloads=1)
"""Limits of an archive that a control plane made: those of pushes were checked where it came in."""
PROBES: Final = "probes"
"""Prefix of the objects that show whether a store keeps what it must."""
NOT_CREATING: Final = (
    "the shared store writes over an object that is there already, although it is asked not to: two control planes "
    "could take in one tag with two contents; use a store with conditional writes (If-None-Match)"
)

logger = logging.getLogger(__name__)


class SharedStore:
    """The Bentos and models that all control planes have, and the copies of them in the BentoML home of this machine.

    All methods block, and raise SharedStoreUnavailable while the store does not answer.
    """

    def __init__(self, objects: ObjectStore, home: BentoHome, name: str = "store") -> None:
        """``name`` tells the store from others that the same home may have been used with."""
        self.objects, self.home = objects, home
        self.pointers, self.copies = Pointers(objects), Copies(home, name)

    def admission(self, kind: StoredKind, expected: Tag) -> Callable[[Path, Sequence[Entry], BentoHome], Taken]:
        """Return how a Bento or a model comes in that must have this tag."""
        take = self.take_model_in if kind is StoredKind.MODEL else self.take_in
        return partial(take, expected=expected)

    def take_in(self, unpacked: Path, entries: Sequence[Entry], home: BentoHome, expected: Tag | None = None) -> Taken:
        """Share the Bento in the folder with its models, and keep copies here; as ``archives.admission.take_in``.

        Models come first, and the pointer of the Bento last: what is killed before it has shared no Bento.
        """
        bento, content, models = read_bento(unpacked, entries, expected)
        require_entries([model for model in models if not model.entries and not self._has(model.tag)])
        for model in (model for model in models if model.entries):
            try:
                self._take(StoredKind.MODEL, model.tag, _content(model), model.source, unpacked.parent)
            except BentoTaken as taken:
                raise BentoTaken(taken.tag, is_model=True) from None
        if (unpacked / MODELS).is_dir():
            (unpacked / MODELS).rename(unpacked.parent / "left")
        is_new = self._share(StoredKind.BENTO, bento.tag, content, unpacked)
        self.copies.place(StoredKind.BENTO, bento.tag, content, unpacked)
        return Taken(bento.tag, is_new)

    def take_model_in(self, unpacked: Path, entries: Sequence[Entry], home: BentoHome, expected: Tag) -> Taken:
        """Share the model in the folder on the same terms."""
        model = read_model(unpacked, entries, expected)
        return Taken(model.tag, self._take(StoredKind.MODEL, model.tag, _content(model), unpacked, unpacked.parent))

    def _take(self, kind: StoredKind, tag: Tag, content: str, folder: Path, workplace: Path) -> bool:
        is_new = self._share(kind, tag, content, folder)
        if folder.parent != workplace:  # what is replaced is moved beside the folder, where it must not look like a tag
            folder = folder.rename(workplace / f"model-{secrets.token_hex(4)}")
        self.copies.place(kind, tag, content, folder)
        return is_new

    def _has(self, model: Tag) -> bool:
        return self.pointers.get(StoredKind.MODEL, model) is not None

    def share(self, kind: StoredKind, tag: Tag) -> bool:
        """Share what is here under the tag; return whether it was not shared before.

        Raises BentoTaken where another content is, ArchiveRefused for what no archive carries, and OSError.
        """
        content = self.copies.content(kind, tag)
        is_new = self._share(kind, tag, content, self.home.folder(tag, kind))
        self.copies.mark(kind, tag, content)
        return is_new

    def _share(self, kind: StoredKind, tag: Tag, content: str, folder: Path) -> bool:
        """Share the folder under the tag. Return whether it is new. Raises BentoTaken."""
        if self._is_shared(kind, tag, content):
            return False
        archive = f"{ARCHIVES}/{content}-{secrets.token_hex(8)}.tar"
        size = self.objects.send(archive, _joined(pack(folder, kind).pieces()))
        pointer = _described(kind, folder, Pointer(content, archive, size, size_of(folder, 0)))
        if self.pointers.create(kind, tag, pointer):
            return True
        self.objects.remove(archive)  # another control plane has taken in the tag meanwhile
        if not self._is_shared(kind, tag, content):
            raise BentoTaken(str(tag))
        return False

    def _is_shared(self, kind: StoredKind, tag: Tag, content: str) -> bool:
        present = self.pointers.get(kind, tag)
        if present is not None and present.content != content:
            raise BentoTaken(str(tag))
        return present is not None

    def fetch(self, kind: StoredKind, tag: Tag, *, models: bool = True) -> None:
        """Have a copy here of what the tag names; with the models of a Bento, unless they are not wanted.

        Raises BentoNotFound, StoredModelNotFound, DiskFull, and SharedArchiveDamaged for an archive that the store did
        not keep as it was.
        """
        pointer = self.pointers.get(kind, tag)
        if pointer is None:
            raise _not_found(kind, tag)
        if models and kind is StoredKind.BENTO:
            for model in _models_of(bento_files.parse(pointer.texts, None)):
                self.fetch(StoredKind.MODEL, model)
        if self.copies.is_here(kind, tag, pointer.content):
            return
        with self.copies.fetching(pointer.content):
            if not self.copies.is_here(kind, tag, pointer.content):
                self._fetch(kind, tag, pointer)

    def is_whole(self, tag: Tag) -> bool:
        """Return whether a copy of the Bento is here with all its models. The store is not asked."""
        if self.copies.held(StoredKind.BENTO, tag) is None:
            return False
        bento = bento_files.read(self.home.folder(tag))
        return all(self.copies.held(StoredKind.MODEL, model) is not None for model in _models_of(bento))

    def _fetch(self, kind: StoredKind, tag: Tag, pointer: Pointer) -> None:
        upload = Upload(self.home, TRUSTED, {}, partial(self._place, kind=kind, tag=tag, content=pointer.content))
        with ExitStack() as stack:
            stack.callback(upload.close)
            upload.open(pointer.archive_bytes + pointer.size)
            try:
                for piece in self.objects.pieces(pointer.archive, pointer.archive_bytes):
                    upload.write(piece)
            except FileNotFoundError:
                if self.pointers.get(kind, tag) == pointer:
                    raise _damaged(tag) from None
                raise _not_found(kind, tag) from None  # it has just been deleted
            try:
                upload.finish()
            except ArchiveRefused:
                raise _damaged(tag) from None
        logger.info("%s was fetched from the shared store", tag)

    def _place(
        self, unpacked: Path, entries: Sequence[Entry], _: BentoHome, kind: StoredKind, tag: Tag, content: str
    ) -> Taken:
        """Put what was fetched in its place. Raises SharedArchiveDamaged unless it is what the pointer names."""
        found = digest_of(entry for entry in entries if kind is StoredKind.MODEL or is_content(entry.path))
        if found != content:
            raise _damaged(tag)
        if kind is StoredKind.BENTO:
            (unpacked / CONTENT_DIGEST).write_text(content + "\n", encoding="ascii")
        self.copies.place(kind, tag, content, unpacked)
        return Taken(tag, is_new=True)

    def delete(self, kind: StoredKind, tag: Tag) -> Pointer | None:
        """Delete what the tag names for all control planes, and return it; None where it names nothing.

        The copy here goes, too. Its archive stays until ``forget``, so that ``restore`` can undo this.
        """
        pointer = self.pointers.get(kind, tag)
        if pointer is not None:
            self.pointers.remove(kind, tag)
        return pointer

    def restore(self, kind: StoredKind, tag: Tag, pointer: Pointer) -> None:
        """Undo a deletion, unless the tag names something else by now."""
        self.pointers.create(kind, tag, pointer)

    def forget(self, kind: StoredKind, tag: Tag, pointer: Pointer) -> None:
        """Remove the archive of a deletion, and the copy here."""
        self.objects.remove(pointer.archive)
        self.drop(kind, tag)

    def drop(self, kind: StoredKind, tag: Tag) -> None:
        """Remove the copy here."""
        with workplace(self.home) as aside:
            self.copies.take_away(kind, tag, aside)

    def all(self) -> list[tuple[StoredKind, Tag]]:
        """Return everything that the store has, the models first."""
        kinds = (StoredKind.MODEL, StoredKind.BENTO)
        return [(kind, tag) for kind in kinds for tag in self.pointers.tags(kind)]

    def gone(self) -> list[tuple[StoredKind, Tag]]:
        """Return what has a copy here, and is not in the store any more. What is remembered is looked at again."""
        self.pointers.refresh()
        shared = set(self.all())
        return [copy for copy in self.copies.all() if copy not in shared]

    def check(self) -> None:
        """Raise RuntimeError for a store that writes over what it is asked only to create."""
        key = f"{PROBES}/{secrets.token_hex(8)}"
        try:
            is_right = self.objects.create(key, b"1") and not self.objects.create(key, b"2")
        finally:
            self.objects.remove(key)
        if not is_right:
            raise RuntimeError(NOT_CREATING)


def _described(kind: StoredKind, folder: Path, pointer: Pointer) -> Pointer:
    """Return the pointer with what describes the content."""
    if kind is StoredKind.MODEL:
        texts = {MODEL_FILE: (folder / MODEL_FILE).read_text(encoding="utf-8")}
        return Pointer(pointer.content, pointer.archive, pointer.archive_bytes, pointer.size, texts)
    may_mount = bento_files.may_mount(bento_files.sources(folder))
    texts = bento_files.texts(folder)
    return Pointer(pointer.content, pointer.archive, pointer.archive_bytes, pointer.size, texts, may_mount)


def _models_of(bento: Bento) -> list[Tag]:
    """Return the models that a Bento takes from the store."""
    return [Tag(name, version) for name, _, version in (model.partition(":") for model in bento.models)]


def _content(model: ArchivedModel) -> str:
    return digest_of(model.entries)


def _not_found(kind: StoredKind, tag: Tag) -> BentoNotFound | StoredModelNotFound:
    if kind is StoredKind.MODEL:
        return StoredModelNotFound({"model": str(tag)})
    return BentoNotFound({"bento": str(tag)})


def _damaged(tag: Tag) -> SharedArchiveDamaged:
    logger.error("the archive of %s in the shared store is damaged", tag)
    return SharedArchiveDamaged({"tag": str(tag)})


def _joined(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield pieces of the store's size: each takes a call."""
    joined = bytearray()
    for piece in pieces:
        joined += piece
        if len(joined) >= PIECE_BYTES:
            yield bytes(joined)
            joined.clear()
    if joined:
        yield bytes(joined)
