"""The database's tables. ``migrations/`` creates them; a test keeps the two equal."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    false,
)
from sqlalchemy.types import TypeDecorator

from management.store.revision_json import RevisionColumn

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Counter: Final = BigInteger().with_variant(Integer(), "sqlite")
"""64 bits; SQLite counts by itself only what is called INTEGER, which has as many there."""


class Instant(TypeDecorator[datetime]):
    """A time in UTC, stored without its zone because SQLite does not store one."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the time in UTC without its zone."""
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        """Return the stored time with the zone UTC."""
        return None if value is None else value.replace(tzinfo=UTC)


deployments: Final = Table(
    "deployments",
    metadata,
    Column("number", Counter, primary_key=True, autoincrement=True),  # the order of creation
    Column("id", String(32), nullable=False, unique=True),
    Column("model_id", String(63), nullable=False, unique=True),
    Column("model_type", String(32), nullable=False, index=True),
    Column("wanted", RevisionColumn, nullable=False),
    Column("served", RevisionColumn),
    Column("replicas", Integer, nullable=False),
    Column("latest", Integer, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("retry_at", Float),
    Column("gave_up", Boolean, nullable=False),
    Column("abandoned", String(64), nullable=False),
    Column("abandoned_for", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("removal", String(8)),
    Column("dormant", Boolean, nullable=False, server_default=false()),
    Column("held_until", Float),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
)

replicas: Final = Table(
    "replicas",
    metadata,
    Column("number", Counter, primary_key=True, autoincrement=True),
    Column("id", String(32), nullable=False, unique=True),
    Column("deployment_id", ForeignKey(deployments.c.id, ondelete="CASCADE"), nullable=False, index=True),
    Column("revision", RevisionColumn, nullable=False),
    Column("state", String(8), nullable=False, index=True),
    Column("created_at", Instant, nullable=False),
    Column("changed_at", Instant, nullable=False),
    Column("ready_at", Instant),
    Column("address", Text, nullable=False),
    Column("gpus", JSON, nullable=False),
    Column("reason", Text, nullable=False),
    Column("log_tail", Text, nullable=False),
    Column("cpu_millicores", Integer, nullable=False),
    Column("memory_bytes", BigInteger, nullable=False),
)

demands: Final = Table(
    "demands",
    metadata,
    Column("worker", String(32), primary_key=True),
    Column("deployment_id", ForeignKey(deployments.c.id, ondelete="CASCADE"), primary_key=True),
    Column("in_flight", Integer, nullable=False),
    Column("waiting", Integer, nullable=False),
    Column("places", Integer, nullable=False),
    Column("asked_at", Float, nullable=False),
    Column("at", Float, nullable=False),
)

events: Final = Table(
    "events",
    metadata,
    Column("number", Counter, primary_key=True, autoincrement=True),
    Column("at", Instant, nullable=False),
    Column("model_id", String(63), nullable=False, index=True),
    Column("deployment_id", String(32), nullable=False),
    Column("actor", String(128), nullable=False),
    Column("action", String(32), nullable=False),
    Column("details", JSON, nullable=False),
)

keys: Final = Table(
    "keys",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("name", String(128), nullable=False),
    Column("role", String(8), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant),
    Column("last_used_at", Instant),
    Column("revoked_at", Instant),
    Column("description", Text, nullable=False, server_default=""),
)

secrets: Final = Table(
    "secrets",
    metadata,
    Column("name", String(63), primary_key=True),
    Column("version", String(16), nullable=False),
    Column("variables", JSON, nullable=False),  # names alone
    Column("files", JSON, nullable=False),  # paths alone
    Column("paths", JSON, nullable=False),
    Column("sealed", LargeBinary, nullable=False),  # encrypted with a key that is not in the database
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Column("description", Text, nullable=False, server_default=""),
)

identities: Final = Table(
    "identities",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("sealed", LargeBinary, nullable=False),  # encrypted with a key that is not in the database
)

answers: Final = Table(
    "answers",
    metadata,
    Column("caller", String(16), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("request", String(64), nullable=False),  # SHA-256 of method, path, query and body
    Column("since", Instant, nullable=False),
    Column("running_until", Instant),  # NULL once the reply is final
    Column("status", Integer, nullable=False),
    Column("body", JSON),
)

leases: Final = Table(
    "leases",
    metadata,
    Column("name", String(16), primary_key=True),
    Column("held_by", String(64), nullable=False),
    Column("held_until", Float, nullable=False),  # Unix time
)

changes: Final = Table(
    "changes",
    metadata,
    Column("name", String(16), primary_key=True),
    Column("count", Counter, nullable=False),
)
