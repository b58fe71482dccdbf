"""What clients have announced: Bentos and models that they are about to push, with what they say of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from management.domain.bento_tag import StoredKind, Tag, is_tag
from management.packaging.build import BentoHome
from management.packaging.pushes import records
from management.packaging.pushes.refusals import InvalidTag

_ENDING: Final = ".json"


class PushStatus(StrEnum):
    """How far a push is, as its client says."""

    PENDING = "pending"
    """It is announced."""
    UPLOADING = "uploading"
    FAILED = "failed"
    SUCCESS = "success"


@dataclass(frozen=True)
class Registration:
    """A Bento or model that a client has announced."""

    kind: StoredKind
    tag: Tag
    manifest: Mapping[str, Any]
    """What the client says of it, as JSON."""
    labels: Mapping[str, str]
    description: str
    created_at: datetime
    """When it was announced, in UTC."""
    status: PushStatus = PushStatus.PENDING
    reason: str = ""
    """Why it failed, in the client's words."""


class Registrations:
    """The registrations of a BentoML home, one for each tag. All methods block."""

    def __init__(self, home: BentoHome) -> None:
        self._home = home

    def get(self, kind: StoredKind, tag: Tag) -> Registration | None:
        """Return the registration; None without one that can be read."""
        return _read(self._file(kind, tag), kind, tag) if is_tag(tag) else None

    def all(self, kind: StoredKind) -> list[Registration]:
        """Return all registrations, the newest first."""
        files = (self._home.home / records.FOLDER / kind).glob(f"*/*{_ENDING}")
        found = (self.get(kind, Tag(file.parent.name, file.name.removesuffix(_ENDING))) for file in files)
        listed = sorted(filter(None, found), key=lambda registration: str(registration.tag))
        return sorted(listed, key=lambda one: one.created_at, reverse=True)

    def put(self, registration: Registration) -> Registration:
        """Keep the registration instead of the one that there is. Raises InvalidTag, TooLong and OSError."""
        return self.change(registration.kind, registration.tag, lambda _: registration)

    def change(self, kind: StoredKind, tag: Tag, change: Callable[[Registration | None], Registration]) -> Registration:
        """Keep what ``change`` makes of the registration; no other change comes between. Raises what ``put`` raises."""
        if not is_tag(tag):
            raise InvalidTag
        with records.locked(self._home):
            file = self._file(kind, tag)
            changed = change(_read(file, kind, tag))
            file.parent.mkdir(parents=True, exist_ok=True)
            records.write(file, content_of(changed))
        return changed

    def change_present(self, kind: StoredKind, tag: Tag, **changes: Any) -> Registration | None:
        """Keep the registration with other fields; None where there is none. Raises what ``put`` raises."""
        with records.locked(self._home):
            if (present := self.get(kind, tag)) is None:
                return None
            changed = replace(present, **changes)
            records.write(self._file(kind, tag), content_of(changed))
        return changed

    def _file(self, kind: StoredKind, tag: Tag) -> Path:
        return self._home.home / records.FOLDER / kind / tag.name / f"{tag.version}{_ENDING}"


def content_of(registration: Registration) -> dict[str, Any]:
    """Return the record of a registration."""
    return {
        "manifest": dict(registration.manifest),
        "labels": dict(registration.labels),
        "description": registration.description,
        "created_at": registration.created_at.isoformat(),
        "status": registration.status,
        "reason": registration.reason,
    }


def _read(file: Path, kind: StoredKind, tag: Tag) -> Registration | None:
    return registration_of(records.read(file), kind, tag)


def registration_of(written: Mapping[str, Any] | None, kind: StoredKind, tag: Tag) -> Registration | None:
    """Return the registration of a record; None without a record, and for one that cannot be read."""
    try:
        content = written or {}
        return Registration(
            kind,
            tag,
            dict(content["manifest"]),
            {str(name): str(value) for name, value in content["labels"].items()},
            str(content["description"]),
            datetime.fromisoformat(content["created_at"]).astimezone(UTC),
            PushStatus(content["status"]),
            str(content["reason"]),
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
