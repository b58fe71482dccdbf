"""What the API does with the models of this machine's model store: take one in, show them, give one out."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator

from management.control.repository.receiving import in_thread, received, translated
from management.control.repository.sending import packed
from management.domain.bento_tag import StoredKind, Tag, is_tag
from management.errors import StoredModelNotFound
from management.packaging.archives.admission import Taken
from management.packaging.archives.upload import Upload
from management.packaging.build import BentoHome
from management.packaging.model_shelf import KeptModel
from management.packaging.pushes.refusals import InvalidTag
from management.packaging.shared.opening import admission_to, models_of
from management.packaging.shared.shared_store import SharedStore
from management.packaging.shared.shelves import FETCHERS
from management.settings import BentoSettings


class StoredModels:
    """The models of this machine's store, which Bentos take their files from."""

    def __init__(self, home: BentoHome, limits: BentoSettings, shared: SharedStore | None = None) -> None:
        self._home, self._limits, self._shared = home, limits, shared
        self._shelf = models_of(home, shared)

    async def receive(self, tag: Tag, pieces: AsyncIterator[bytes], length: int) -> Taken:
        """Take in the archive of this model, which arrives in pieces, of which ``length`` bytes were announced.

        Raises InvalidRequest for a tag that no store has, InvalidModelFiles, StoredModelTaken and StorageFull.
        """
        if not is_tag(tag):
            raise translated(InvalidTag(), StoredKind.MODEL)
        upload = Upload(self._home, self._limits, {}, admission_to(self._shared, StoredKind.MODEL, tag))
        return await received(upload, pieces, length, StoredKind.MODEL)

    async def page(self, name: str | None, limit: int, offset: int) -> tuple[list[KeptModel], int]:
        """Return at most ``limit`` models of that name, or of any, from ``offset`` on; and how many there are."""
        found = await self.all(name)
        return found[offset : offset + limit], len(found)

    async def all(self, name: str | None = None) -> list[KeptModel]:
        """Return the models of that name, or all, the newest first."""
        return [model for model in await self._shelf.run(self._shelf.all) if name in (None, model.tag.name)]

    async def get(self, tag: Tag) -> KeptModel:
        """Return the model. Raises StoredModelNotFound."""
        if (kept := await self._shelf.run(self._shelf.get, tag)) is None:
            raise StoredModelNotFound({"model": str(tag)})
        return kept

    async def packed(self, tag: Tag) -> tuple[int, AsyncGenerator[bytes]]:
        """Return the bytes of the model's archive, and its pieces, which raise ContentChanged when it changes.

        Raises StoredModelNotFound, and InvalidModelFiles for what no archive carries.
        """
        await self.get(tag)
        await in_thread(self._shelf.bring, tag, executor=FETCHERS)
        try:
            return await packed(self._home.folder(tag, StoredKind.MODEL), StoredKind.MODEL)
        except FileNotFoundError:  # it has just been deleted
            raise StoredModelNotFound({"model": str(tag)}) from None
