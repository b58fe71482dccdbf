"""Bentos and models as the client reads them, whether they are in the store or announced and not there yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from management.bentoml_api.parsing import plain
from management.bentoml_api.views.resources import EPOCH, MASK, instant, resource
from management.domain.bento_tag import StoredKind, Tag
from management.domain.clock import written
from management.packaging.model_shelf import KeptModel
from management.packaging.pushes.registrations import PushStatus, Registration
from management.packaging.shelf import KeptBento

KINDS: Final[Mapping[StoredKind, str]] = {StoredKind.BENTO: "bento", StoredKind.MODEL: "model"}
"""The client's word for a kind."""
BUILT: Final = "success"
"""Status of an image's build: none is built before a deployment."""


@dataclass(frozen=True)
class StoredItem:
    """A Bento or a model, as far as it is shown."""

    kind: StoredKind
    tag: Tag
    manifest: Mapping[str, Any]
    created_at: datetime
    status: PushStatus = PushStatus.SUCCESS
    reason: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    description: str = ""


def of_bento(tag: Tag, kept: KeptBento, document: Mapping[str, Any]) -> StoredItem:
    """A Bento in the store; ``document`` is its ``bento.yaml``."""
    manifest, moment = _bento_manifest(tag, kept, document), written(kept.bento.created_at) or EPOCH
    return StoredItem(StoredKind.BENTO, tag, manifest, moment, labels=kept.bento.labels)


def of_model(kept: KeptModel) -> StoredItem:
    """A model in the store."""
    document = kept.document
    context = plain(document.get("context"))
    manifest = {
        "module": str(document.get("module") or ""),
        "api_version": str(document.get("api_version") or ""),
        "bentoml_version": str(context.get("bentoml_version") or ""),
        "size_bytes": kept.size,
        "metadata": plain(document.get("metadata")),
        "context": context,
        "options": plain(document.get("options")),
    }
    labels = {str(name): str(value) for name, value in plain(document.get("labels")).items()}
    return StoredItem(StoredKind.MODEL, kept.tag, manifest, max(kept.created_at, EPOCH), labels=labels)


def of_registration(announced: Registration) -> StoredItem:
    """What the client has announced."""
    return StoredItem(
        announced.kind,
        announced.tag,
        announced.manifest,
        announced.created_at,
        PushStatus.PENDING if announced.status is PushStatus.SUCCESS else announced.status,
        announced.reason,
        announced.labels,
        announced.description,
    )


def masked(item: StoredItem) -> StoredItem:
    """Return the item without the values of its environment variables, which only those see who may change them."""
    envs = _listed(item.manifest.get("envs"))
    return replace(item, manifest={**item.manifest, "envs": [{**env, "value": MASK} for env in envs]})


def brief(item: StoredItem) -> StoredItem:
    """Return the item as a list shows it: without the schemas of its APIs."""
    return replace(item, manifest={**item.manifest, "schema": {}}) if "schema" in item.manifest else item


def version(
    item: StoredItem, *, strategy: str | None = None, upload_id: str = "", upload_url: str = "", download_url: str = ""
) -> dict[str, Any]:
    """One version of a Bento or a model. The client knows it by its version: that is its name, too."""
    return {
        **resource(
            KINDS[item.kind],
            item.tag.version,
            uid=f"{KINDS[item.kind]}-{item.tag}",
            created_at=item.created_at,
            labels=item.labels,
        ),
        "description": item.description,
        "version": item.tag.version,
        "image_build_status": BUILT,
        "upload_status": item.status.value,
        "upload_finished_reason": item.reason,
        "presigned_upload_url": upload_url,
        "presigned_download_url": download_url,
        "transmission_strategy": strategy,
        "upload_id": upload_id,
        "manifest": dict(item.manifest) if item.manifest else None,
        "upload_started_at": None,
        "upload_finished_at": instant(item.created_at) if item.status is PushStatus.SUCCESS else None,
        "build_at": instant(item.created_at),
    }


def with_repository(item: StoredItem) -> dict[str, Any]:
    """One version that names its repository."""
    return {**version(item), "repository": repository(item.kind, item.tag.name)}


def repository(kind: StoredKind, name: str, versions: Sequence[StoredItem] = ()) -> dict[str, Any]:
    """All versions of one name; the first of ``versions`` is the latest."""
    word = KINDS[kind]
    latest = version(versions[0]) if versions else None
    return {**resource(f"{word}_repository", name), "description": "", f"latest_{word}": latest}


def _bento_manifest(tag: Tag, kept: KeptBento, document: Mapping[str, Any]) -> dict[str, Any]:
    """What the client itself says of a Bento that it pushes: ``Bento.get_manifest``."""
    bento = kept.bento
    return {
        "name": tag.name,
        "version": tag.version,
        "service": str(document.get("service") or bento.service),
        "entry_service": bento.service,
        "bentoml_version": bento.bentoml_version,
        "size_bytes": kept.size,
        "apis": {},
        "models": list(bento.models),
        "runners": [],
        "services": _listed(document.get("services")),
        "envs": _listed(document.get("envs")),
        "schema": plain(document.get("schema")),
        "image": document.get("image"),
        "spec": document.get("spec") or 1,
        "dev": False,
    }


def _listed(value: Any) -> list[Any]:
    """Return a list of objects; an empty one for anything else that the author of a Bento has written."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
