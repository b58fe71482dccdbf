"""Bentos and models under one interface: what is in the store, then what is announced."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Final

from starlette.requests import Request

from management.bentoml_api.views import stored
from management.bentoml_api.views.stored import StoredItem
from management.control.bentos import Bentos
from management.control.repository.stored_models import StoredModels
from management.control.repository.uploads import Uploads
from management.domain.bento_tag import StoredKind, Tag
from management.errors import BentoNotFound, StoredModelNotFound

MOST: Final = 100_000
"""Bentos that a list shows."""


class Stock:
    """What the client can see of the store."""

    def __init__(self, bentos: Bentos, models: StoredModels, uploads: Uploads) -> None:
        self._bentos, self._models, self._uploads = bentos, models, uploads

    async def item(self, kind: StoredKind, tag: Tag) -> StoredItem | None:
        """Return a Bento or a model: as it is in the store, else as it is announced; None where it is neither."""
        try:
            if kind is StoredKind.MODEL:
                return stored.of_model(await self._models.get(tag))
            if (kept := await self._bentos.kept(tag)) is not None:
                return stored.of_bento(tag, kept, await self._document(tag))
        except StoredModelNotFound:
            pass
        announced = await self._uploads.registration(kind, tag)
        return None if announced is None else stored.of_registration(announced)

    async def items(self, kind: StoredKind, name: str | None = None) -> list[StoredItem]:
        """Return everything that is in the store, the newest first; of that name, or of any."""
        if kind is StoredKind.MODEL:
            return [stored.of_model(kept) for kept in await self._models.all(name)]
        found, _ = await self._bentos.page(name, MOST, 0)
        items = [stored.of_bento(each.tag, each.kept, await self._document(each.tag)) for each in found]
        return sorted(items, key=lambda item: item.created_at, reverse=True)

    async def receive(self, kind: StoredKind, tag: Tag, request: Request) -> None:
        """Take in the archive of a Bento or a model from a request's body. Raises ManagementError."""
        announced = request.headers.get("content-length", "")
        length = int(announced) if announced.isdigit() else 0
        if kind is StoredKind.MODEL:
            await self._models.receive(tag, request.stream(), length)
        else:
            await self._bentos.receive(request.stream(), {}, length, tag)
        await self._uploads.finish(kind, tag, succeeded=True)

    async def packed(self, kind: StoredKind, tag: Tag) -> tuple[int, AsyncGenerator[bytes]]:
        """Return the length of an archive, and its pieces. Raises ManagementError."""
        return await (self._models.packed(tag) if kind is StoredKind.MODEL else self._bentos.packed(tag))

    async def _document(self, tag: Tag) -> dict[str, object]:
        try:
            return await self._bentos.document(tag)
        except BentoNotFound:  # it has just been deleted
            return {}
