"""What the API does with the Bentos of this machine's store: take one in, show them, delete one that nobody uses."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from management.control.repository.receiving import in_thread, received
from management.control.repository.sending import packed
from management.domain.bento_tag import StoredKind, Tag, is_tag, tag_of
from management.domain.records import Deployment, Replica
from management.errors import BentoInUse, BentoNotFound, ManagementError
from management.packaging.archives.admission import Admission, Taken, take_in
from management.packaging.archives.upload import Upload
from management.packaging.archives.workplace import remove_abandoned, workplace
from management.packaging.build import BentoHome
from management.packaging.shared.opening import bentos_of
from management.packaging.shared.shared_store import SharedStore
from management.packaging.shared.shelves import FETCHERS
from management.packaging.shared.sweep import sweep
from management.packaging.shelf import KeptBento
from management.settings import BentoSettings
from management.store import Session, Store

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class BentoUse:
    """A deployment that uses a Bento."""

    model_id: str
    is_live: bool
    """Whether a replica of the Bento runs."""


@dataclass(frozen=True)
class DeployedBento:
    """A Bento in the store, and what uses it."""

    tag: Tag
    kept: KeptBento
    uses: tuple[BentoUse, ...]


class Bentos:
    """The Bentos of this machine's store, which is there whatever the backend runs."""

    def __init__(self, store: Store, home: BentoHome, limits: BentoSettings, shared: SharedStore | None = None) -> None:
        self._store, self._home, self._limits, self._shared = store, home, limits, shared
        self._shelf = bentos_of(home, shared)
        self.admit: Admission = take_in if shared is None else shared.take_in
        """How what was unpacked becomes a Bento in the store."""

    async def receive(
        self, pieces: AsyncIterator[bytes], digests: Mapping[str, bytes], length: int, expected: Tag | None = None
    ) -> Taken:
        """Take in the archive that arrives in pieces, of which ``length`` bytes were announced.

        Raises InvalidBento, also for another tag than the expected one, InvalidRequest for a wrong digest,
        BentoAlreadyExists and StorageFull. Whatever happens, the upload's files are removed, also when the caller
        leaves.
        """
        admit = partial(self.admit, expected=expected)
        return await received(Upload(self._home, self._limits, digests, admit), pieces, length)

    async def page(self, name: str | None, limit: int, offset: int) -> tuple[list[DeployedBento], int]:
        """Return at most ``limit`` Bentos of that name, or of any, from ``offset`` on; and how many there are."""
        tags = [tag for tag in await self._shelf.run(self._shelf.tags) if name in (None, tag.name)]
        users = await self._store.read(_users)
        page = tags[offset : offset + limit]
        found = await self._shelf.run(self._shelf.several, page)
        return [DeployedBento(tag, kept, uses_of(tag, users)) for tag, kept in found], len(tags)

    async def kept(self, tag: Tag) -> KeptBento | None:
        """Return the Bento as it is in the store, without what uses it; None where it is not."""
        return await self._shelf.run(self._shelf.get, tag)

    async def get(self, tag: Tag) -> DeployedBento:
        """Return the Bento. Raises BentoNotFound."""
        if (kept := await self.kept(tag)) is None:
            raise BentoNotFound({"bento": str(tag)})
        return DeployedBento(tag, kept, uses_of(tag, await self._store.read(_users)))

    async def digest(self, tag: Tag) -> str:
        """Return the digest of the Bento's content. Raises BentoNotFound."""
        try:
            return await self._shelf.run(self._shelf.digest, tag)
        except OSError:  # it has just been deleted
            raise BentoNotFound({"bento": str(tag)}) from None

    async def document(self, tag: Tag) -> dict[str, Any]:
        """Return the content of the Bento's ``bento.yaml``, of values that JSON can carry; empty if it cannot be read.

        Nobody may change it: it is remembered. Raises BentoNotFound.
        """
        await self._check_kept(tag)
        return await self._shelf.run(self._shelf.document, tag) or {}

    async def packed(self, tag: Tag) -> tuple[int, AsyncGenerator[bytes]]:
        """Return the bytes of the Bento's archive, without its models, and its pieces.

        The pieces raise ContentChanged when the Bento changes, or is deleted. Raises BentoNotFound, and InvalidBento
        for what no archive carries.
        """
        await self._check_kept(tag)
        await in_thread(self._shelf.bring, tag, executor=FETCHERS)
        try:
            return await packed(self._home.folder(tag), StoredKind.BENTO)
        except FileNotFoundError:  # it has just been deleted
            raise BentoNotFound({"bento": str(tag)}) from None

    async def _check_kept(self, tag: Tag) -> None:
        """Raise BentoNotFound unless the store has the Bento."""
        if not (is_tag(tag) and await self._shelf.run(self._shelf.has, tag)):
            raise BentoNotFound({"bento": str(tag)})

    async def delete(self, tag: Tag) -> None:
        """Delete the Bento; its models stay. Raises BentoNotFound, and BentoInUse with the ids of its models.

        A deployment whose image was checked before, and which is committed afterwards, fails with a reason.
        """
        if self._shared is None:
            await self._delete_here(tag)
            return
        await self._check_unused(tag)
        pointer = await self._shelf.run(self._shared.delete, StoredKind.BENTO, tag)
        if pointer is None:
            raise BentoNotFound({"bento": str(tag)})
        try:
            await self._check_unused(tag)  # a deployment that was committed meanwhile keeps its Bento
        except ManagementError:
            await self._shelf.run(self._shared.restore, StoredKind.BENTO, tag, pointer)
            raise
        await self._shelf.run(self._shared.forget, StoredKind.BENTO, tag, pointer)

    async def _delete_here(self, tag: Tag) -> None:
        with ExitStack() as stack:
            aside = await asyncio.to_thread(stack.enter_context, workplace(self._home))
            await self._store.write(lambda session: self._take_away(session, tag, aside), counted=False)
            await asyncio.to_thread(stack.close)

    def _take_away(self, session: Session, tag: Tag, aside: Path) -> None:
        """Move the Bento aside in a transaction that no change of a deployment runs beside."""
        _require_unused(tag, _users(session))
        if not self._shelf.take_away(tag, aside):
            raise BentoNotFound({"bento": str(tag)})

    async def _check_unused(self, tag: Tag) -> None:
        """Raise BentoInUse with the ids of the models that use the Bento."""
        _require_unused(tag, await self._store.read(_users))

    async def follow(self) -> None:
        """Look at what was deleted through other control planes, and remove the copies of it here.

        What a deployment uses stays, which is noted in the log. Raises SharedStoreUnavailable and StoreUnavailable.
        """
        if self._shared is None:
            return
        gone = await self._shelf.run(self._shared.gone)
        users = await self._store.read(_users) if gone else ()
        for kind, tag in gone:
            if kind is StoredKind.BENTO and uses_of(tag, users):
                logger.warning("%s is deployed, and the shared store does not have it any more; the copy stays", tag)
            else:
                await self._shelf.run(self._shared.drop, kind, tag)

    async def sweep(self) -> None:
        """Remove what killed pushes left in the shared store; for the leader. Raises SharedStoreUnavailable."""
        if self._shared is not None:
            await self._shelf.run(sweep, self._shared)

    async def remove_abandoned(self) -> None:
        """Remove what uploads left whose process died."""
        await asyncio.to_thread(remove_abandoned, self._home)


Users = Sequence[tuple[Deployment, Sequence[Replica]]]
"""All deployments with their replicas."""


def _users(session: Session) -> Users:
    replicas = session.replicas.all()
    return [
        (deployment, [replica for replica in replicas if replica.deployment_id == deployment.id])
        for deployment in session.deployments.all()
    ]


def _require_unused(tag: Tag, users: Users) -> None:
    """Raise BentoInUse with the ids of the models that use the Bento."""
    if uses := uses_of(tag, users):
        raise BentoInUse({"bento": str(tag), "models": [use.model_id for use in uses]})


def uses_of(tag: Tag, users: Users) -> tuple[BentoUse, ...]:
    """Return the deployments whose target, last stable revision or live replica is of the Bento."""
    uses = []
    for deployment, replicas in users:
        alive = [replica.revision for replica in replicas if replica.state.alive]
        revisions = [deployment.target, *([deployment.last_stable] if deployment.last_stable else []), *alive]
        if tag in _tags(revision.config.docker_image for revision in revisions):
            is_live = tag in _tags(revision.config.docker_image for revision in alive)
            uses.append(BentoUse(deployment.model_id, is_live))
    return tuple(uses)


def _tags(images: Iterable[str]) -> set[Tag]:
    tags = set()
    for image in images:
        try:
            tags.add(tag_of(image))
        except ValueError:  # an earlier version accepted the name
            continue
    return tags
