"""What every resource of the client's answers has, and the resources of which this server has exactly one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from management.domain.keys import Key

ORGANIZATION: Final = "atelier"
"""Name of the only organization."""
CLUSTER: Final = "default"
"""Name of the only cluster: the backend of this server."""
MASK: Final = "******"
"""Shown instead of the values of environment variables to those who may not change them."""
NAMESPACE: Final = "atelier"
"""Namespace of all deployments."""
EPOCH: Final = datetime.fromtimestamp(0, UTC)
"""Time of creation of what was never created."""


def resource(  # noqa: PLR0913 - what every resource has
    kind: str,
    name: str,
    *,
    uid: str = "",
    created_at: datetime = EPOCH,
    updated_at: datetime | None = None,
    labels: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """What every resource has; its uid is made of kind and name unless it has one of its own."""
    return {
        "uid": uid or f"{kind}-{name}",
        "name": name,
        "resource_type": kind,
        "created_at": instant(created_at),
        "updated_at": None if updated_at is None else instant(updated_at),
        "deleted_at": None,
        "labels": [{"key": key, "value": value} for key, value in (labels or {}).items()],
    }


def instant(moment: datetime) -> str:
    """A time as the client reads it: ISO 8601, with its zone."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")


def page(items: Sequence[Mapping[str, Any]], start: int, total: int) -> dict[str, Any]:
    """A list's answer."""
    return {"start": start, "count": len(items), "total": total, "items": list(items)}


def user(name: str) -> dict[str, Any]:
    """Whoever made a change: a key's name stands for the person, who has no address here."""
    return {**resource("user", name), "email": name, "first_name": "", "last_name": ""}


def user_of(key: Key) -> dict[str, Any]:
    """The user that a key stands for."""
    return {**user(key.name), "uid": key.id, "created_at": instant(key.created_at)}


def organization() -> dict[str, Any]:
    """The only organization."""
    return {**resource("organization", ORGANIZATION), "description": ""}


def cluster() -> dict[str, Any]:
    """The only cluster."""
    return {
        **resource("cluster", CLUSTER),
        "description": "",
        "organization_name": ORGANIZATION,
        "creator": user(ORGANIZATION),
        "is_first": True,
    }


def full_cluster(instances: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The only cluster with all that is known of it."""
    return {
        **cluster(),
        "organization": organization(),
        "kube_config": "",
        "config": {"default_deployment_kube_namespace": NAMESPACE},
        "grafana_root_path": "",
        "resource_instances": list(instances),
    }
