"""Pushes of BentoML's own client: what it announces, uploads in parts, and tickets for downloads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any, TypedDict, Unpack

from management.control.repository.receiving import Outcome, in_thread, received
from management.domain.bento_tag import StoredKind, Tag
from management.domain.clock import SYSTEM, Clock
from management.errors import UploadNotFound
from management.packaging.archives.admission import Taken
from management.packaging.build import BentoHome
from management.packaging.pushes.abandoned import remove_abandoned
from management.packaging.pushes.assembly import Assembly
from management.packaging.pushes.parts import PartUpload
from management.packaging.pushes.registrations import PushStatus, Registration, Registrations
from management.packaging.pushes.tickets import Tickets
from management.packaging.pushes.uploads import PendingUpload, PendingUploads
from management.packaging.shared.opening import admission_to
from management.packaging.shared.shared_pushes import SharedRegistrations, SharedTickets, SharedUploads
from management.packaging.shared.shared_store import SharedStore
from management.packaging.shared.shelves import THREADS
from management.settings import BentoSettings


class Said(TypedDict, total=False):
    """What a client says later of a push that it has announced."""

    manifest: Mapping[str, Any] | None
    labels: Mapping[str, str] | None
    description: str | None
    status: PushStatus | None


class Uploads:
    """The pushes that have begun, which every worker of this server and a restarted one know."""

    def __init__(
        self, home: BentoHome, limits: BentoSettings, clock: Clock = SYSTEM, shared: SharedStore | None = None
    ) -> None:
        self._home, self._limits, self._clock, self._shared = home, limits, clock, shared
        self._executor = None if shared is None else THREADS
        self._registrations = Registrations(home) if shared is None else SharedRegistrations(shared.objects)
        self._pending = PendingUploads(home) if shared is None else SharedUploads(shared.objects)
        self._tickets = Tickets(home, clock) if shared is None else SharedTickets(shared.objects, clock)
        self._completions: set[asyncio.Task[Taken]] = set()

    async def register(
        self,
        kind: StoredKind,
        tag: Tag,
        *,
        manifest: Mapping[str, Any],
        labels: Mapping[str, str] = MappingProxyType({}),
        description: str = "",
    ) -> Registration:
        """Note what a client is about to push, instead of what was noted before.

        Raises InvalidRequest for a tag that no store has, PayloadTooLarge beyond 1 MiB, and StorageFull.
        """
        new = Registration(kind, tag, manifest, labels, description, self._clock.now())
        return await self._in_thread(self._registrations.put, new)

    async def update(self, kind: StoredKind, tag: Tag, **given: Unpack[Said]) -> Registration:
        """Change what is not None. Without a registration one is made: a client also updates what the store has.

        Raises what ``register`` raises.
        """
        changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        new = Registration(kind, tag, {}, {}, "", self._clock.now())
        return await self._in_thread(
            self._registrations.change, kind, tag, lambda present: replace(present or new, **changes)
        )

    async def registration(self, kind: StoredKind, tag: Tag) -> Registration | None:
        """Return the registration; None without one."""
        return await self._in_thread(self._registrations.get, kind, tag)

    async def registrations(self, kind: StoredKind) -> list[Registration]:
        """Return all registrations, the newest first."""
        return await self._in_thread(self._registrations.all, kind)

    async def finish(self, kind: StoredKind, tag: Tag, *, succeeded: bool, reason: str = "") -> Registration | None:
        """Note how the push ended, as its client says; None without a registration.

        Only the store says whether there is a Bento. Raises StorageFull, and PayloadTooLarge for a reason beyond 1 MiB.
        """
        status = PushStatus.SUCCESS if succeeded else PushStatus.FAILED
        return await self._noted(kind, tag, status=status, reason=reason)

    async def start(self, kind: StoredKind, tag: Tag, *, whole: bool = False) -> str:
        """Begin an upload in parts, or of the whole archive at once, beside any other one of the tag; return its id.

        The id is all that it takes to write to it. Raises InvalidRequest for a tag that no store has, and StorageFull.
        """
        await self.remove_abandoned()
        upload_id = await self._in_thread(partial(self._pending.start, kind, tag, whole=whole))
        await self._noted(kind, tag, status=PushStatus.UPLOADING, reason="")
        return upload_id

    async def target(self, upload_id: str, *, whole: bool = False) -> tuple[StoredKind, Tag]:
        """Return what an upload in parts, or of a whole archive, is of.

        Raises UploadNotFound, also for an upload of the other kind.
        """
        upload = await self._get(upload_id, whole=whole)
        return upload.kind, upload.tag

    async def end(self, upload_id: str) -> None:
        """Remove the upload of a whole archive, whose id then opens nothing. Raises UploadNotFound."""
        upload = await self._get(upload_id, whole=True)
        await self._in_thread(upload.end)

    async def put_part(self, upload_id: str, number: int, pieces: AsyncIterator[bytes], length: int) -> str:
        """Keep a part, instead of one of its number, and return its etag: the SHA-256 of its content in hex.

        ``length`` bytes were announced. Raises UploadNotFound, InvalidRequest for a number that no part has,
        PayloadTooLarge where all parts together are larger than an archive may be, and StorageFull.
        """
        upload = await self._get(upload_id)
        return await received(PartUpload(self._home, self._limits, upload, number), pieces, length, upload.kind)

    async def complete(self, upload_id: str, parts: Sequence[tuple[int, str]]) -> Taken:
        """Bring in what the parts make together: the numbers of all parts with their etags, in any order.

        Raises UploadNotFound and InvalidRequest for other parts than have arrived, after which the upload stays. After
        any other error it has ended: InvalidBento, InvalidModelFiles, BentoAlreadyExists, BentoModelTaken,
        StoredModelTaken and StorageFull. It runs to its end also when the caller leaves: everything has arrived, and a
        client does not wait as long as a large model takes.
        """
        upload = await self._get(upload_id)
        plain = [(number, etag.strip('"')) for number, etag in parts]
        task = asyncio.create_task(self._completed(upload, plain))
        self._completions.add(task)
        task.add_done_callback(self._forget)
        return await asyncio.shield(task)

    async def ticket(self, kind: StoredKind, tag: Tag) -> str:
        """Return a ticket, with which this can be downloaded without a key for an hour.

        Raises InvalidRequest for a tag that no store has, and StorageFull.
        """
        return await self._in_thread(self._tickets.issue, kind, tag)

    async def of_ticket(self, text: str) -> tuple[StoredKind, Tag] | None:
        """Return what the ticket is for; None for one that is unknown, or no longer valid."""
        return await self._in_thread(self._tickets.of, text)

    async def remove_abandoned(self) -> None:
        """Remove registrations and uploads that did not change for a day, and tickets that are no longer valid."""
        await in_thread(remove_abandoned, self._home, self._clock)

    async def close(self) -> None:
        """End the completions that still run."""
        for task in self._completions:
            task.cancel()
        await asyncio.gather(*self._completions, return_exceptions=True)

    async def _get(self, upload_id: str, *, whole: bool = False) -> PendingUpload:
        upload = await self._in_thread(self._pending.get, upload_id)
        if upload.is_whole is not whole:
            raise UploadNotFound
        return upload

    async def _completed(self, upload: PendingUpload, parts: list[tuple[int, str]]) -> Taken:
        admit = admission_to(self._shared, upload.kind, upload.tag)
        assembly = Assembly(self._home, self._limits, upload, parts, admit)
        taken = await received(assembly, _nothing(), 0, upload.kind)
        await self._noted(upload.kind, upload.tag, status=PushStatus.SUCCESS, reason="")
        return taken

    async def _noted(self, kind: StoredKind, tag: Tag, **changes: Any) -> Registration | None:
        return await self._in_thread(partial(self._registrations.change_present, kind, tag, **changes))

    async def _in_thread(self, work: Callable[..., Outcome], *given: Any) -> Outcome:
        return await in_thread(work, *given, executor=self._executor)

    def _forget(self, task: asyncio.Task[Taken]) -> None:
        self._completions.discard(task)
        if not task.cancelled():
            task.exception()  # its caller may have left


async def _nothing() -> AsyncIterator[bytes]:
    for piece in tuple[bytes]():
        yield piece
