"""Pushes of BentoML's own client as objects: each step may arrive at another control plane."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from typing_extensions import override

from management.domain.bento_tag import StoredKind, Tag, is_tag
from management.domain.clock import Clock
from management.errors import SharedStoreUnavailable
from management.packaging.pushes import records, tickets
from management.packaging.pushes.refusals import InvalidTag, UnknownUpload
from management.packaging.pushes.registrations import Registration, Registrations, content_of, registration_of
from management.packaging.pushes.tickets import Tickets
from management.packaging.pushes.uploads import PART, PIECE_BYTES, PendingUpload, PendingUploads
from management.packaging.shared.objects import ObjectStore

REGISTRATIONS: Final = "registrations"
TICKETS: Final = "tickets"
UPLOADS: Final = "uploads"
"""Prefix of uploads in parts. The name of each is the digest of its id, which is the permission to write to it."""
_ENDING: Final = ".json"


class SharedRegistrations(Registrations):
    """The registrations of all control planes. Of two changes at the same moment the later one stays."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    @override
    def get(self, kind: StoredKind, tag: Tag) -> Registration | None:
        return registration_of(_read(self._objects, self._key(kind, tag)), kind, tag) if is_tag(tag) else None

    @override
    def all(self, kind: StoredKind) -> list[Registration]:
        parts = (each.key.split("/") for each in self._objects.below(f"{REGISTRATIONS}/{kind}"))
        found = (self.get(kind, Tag(part[2], part[3].removesuffix(_ENDING))) for part in parts if len(part) == 4)
        listed = sorted(filter(None, found), key=lambda registration: str(registration.tag))
        return sorted(listed, key=lambda registration: registration.created_at, reverse=True)

    @override
    def change(self, kind: StoredKind, tag: Tag, change: Callable[[Registration | None], Registration]) -> Registration:
        if not is_tag(tag):
            raise InvalidTag
        changed = change(self.get(kind, tag))
        self._objects.write(self._key(kind, tag), records.text_of(content_of(changed)).encode())
        return changed

    @override
    def change_present(self, kind: StoredKind, tag: Tag, **changes: Any) -> Registration | None:
        if (present := self.get(kind, tag)) is None:
            return None
        return self.change(kind, tag, lambda _: replace(present, **changes))

    @staticmethod
    def _key(kind: StoredKind, tag: Tag) -> str:
        return f"{REGISTRATIONS}/{kind}/{tag.name}/{tag.version}{_ENDING}"


class SharedTickets(Tickets):
    """The tickets of all control planes."""

    def __init__(self, objects: ObjectStore, clock: Clock) -> None:
        self._objects, self._clock = objects, clock

    @override
    def issue(self, kind: StoredKind, tag: Tag) -> str:
        content = {**records.address(kind, tag), "issued_at": self._clock.unix()}
        text = secrets.token_urlsafe(tickets.RANDOM_BYTES)
        self._objects.write(f"{TICKETS}/{_digest(text)}", json.dumps(content).encode())
        return text

    @override
    def of(self, text: str) -> tuple[StoredKind, Tag] | None:
        if not tickets.FORM.fullmatch(text):
            return None
        content = _read(self._objects, f"{TICKETS}/{_digest(text)}") or {}
        is_valid = self._clock.unix() - float(content.get("issued_at", 0.0)) < tickets.VALID_SECONDS
        return records.addressed(content) if is_valid else None


class SharedUploads(PendingUploads):
    """The uploads in parts of all control planes."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    @override
    def start(self, kind: StoredKind, tag: Tag, *, whole: bool = False) -> str:
        about = {**records.address(kind, tag), "whole": whole}
        upload_id = secrets.token_urlsafe(tickets.RANDOM_BYTES)
        self._objects.write(f"{UPLOADS}/{_digest(upload_id)}/about", json.dumps(about).encode())
        return upload_id

    @override
    def get(self, upload_id: str) -> PendingUpload:
        prefix = f"{UPLOADS}/{_digest(upload_id)}"
        content = _read(self._objects, f"{prefix}/about") if tickets.FORM.fullmatch(upload_id) else None
        about = records.addressed(content)
        if content is None or about is None:
            raise UnknownUpload
        return SharedUpload(*about, content.get("whole") is True, self._objects, prefix)


@dataclass(frozen=True)
class SharedUpload(PendingUpload):
    """An upload whose parts are objects. No lock is needed: a part is never changed, and the upload is claimed once."""

    objects: ObjectStore
    prefix: str

    @override
    def parts(self) -> dict[tuple[int, str], int]:
        if self.objects.read(f"{self.prefix}/about") is None:
            raise UnknownUpload
        return self._parts()

    def _parts(self) -> dict[tuple[int, str], int]:
        found = ((PART.fullmatch(each.key.rpartition("/")[2]), each) for each in self.objects.below(self.prefix))
        return {(int(form[1]), form[2]): each.size for form, each in found if form}

    @override
    def locked(self) -> AbstractContextManager[None]:
        return nullcontext()

    @override
    def keep(self, received: Path, number: int, digest: str) -> None:
        self.objects.send(self._key(number, digest), _pieces(received))

    @override
    def discard(self, number: int, digest: str) -> None:
        self.objects.remove(self._key(number, digest))

    @override
    def claim(self, workplace: Path) -> Callable[[int, str], Iterator[bytes]]:
        sizes = self.parts()
        if not self.objects.create(f"{self.prefix}/claimed", b""):
            raise UnknownUpload
        self.objects.remove(f"{self.prefix}/about")

        def pieces(number: int, digest: str) -> Iterator[bytes]:
            yield from self.objects.pieces(self._key(number, digest), sizes[number, digest])

        return pieces

    @override
    def end(self) -> None:
        with suppress(SharedStoreUnavailable):  # what is left goes after a day
            for each in self.objects.below(self.prefix):
                self.objects.remove(each.key)

    def _key(self, number: int, digest: str) -> str:
        return f"{self.prefix}/{number}-{digest}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _read(objects: ObjectStore, key: str) -> dict[str, Any] | None:
    """Return the record of a key; None where there is none that can be read."""
    version = objects.read(key)
    try:
        content = None if version is None else json.loads(version.content)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _pieces(file: Path) -> Iterator[bytes]:
    with file.open("rb", buffering=0) as source:
        while piece := source.read(PIECE_BYTES):
            yield piece
