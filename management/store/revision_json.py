"""Conversion of nested records to values of rows, and back."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import JSON, ColumnElement, Dialect, Text, cast, type_coerce
from sqlalchemy.types import TypeDecorator

from management.domain.records import ModelConfig, Resources, Revision, Scaling
from management.domain.secrets import SecretReference
from management.domain.strategy import Strategy

LATER: Final = {
    "secrets": [],
    "default_api": "",
    "access_authorization": True,
    "strategy": Strategy.ROLLING_UPDATE.value,
    "labels": {},
}
"""Fields that came after the first version, with the value that is not written."""
KEPT: Final = 4096
"""Revisions of this process that are not decoded again: those of some 2,000 models in mid-update."""


class RevisionColumn(TypeDecorator[Revision]):
    """A revision, stored as JSON. Equal revisions are the same object: each look at all models reads them all."""

    impl = JSON
    cache_ok = True

    def column_expression(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        """Read the JSON as text, which no driver decodes."""
        return type_coerce(cast(column, Text), self)

    def process_bind_param(self, value: Revision | None, dialect: Dialect) -> dict[str, Any] | None:
        """Return the value for the JSON."""
        return None if value is None else of_revision(value)

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[str | None], Revision | None]:
        """Return what reads the text."""
        return lambda text: None if text is None else _read(text)


def of_revision(revision: Revision) -> dict[str, Any]:
    """Return the revision as a value that JSON can hold.

    What is not used has no field, so that the version before that field can read it.
    """
    config = revision.config
    value = {**vars(config), **_nested(config)}
    used = {name: value[name] for name in value if name not in LATER or value[name] != LATER[name]}
    return {"number": revision.number, "config": used}


def to_revision(value: dict[str, Any]) -> Revision:
    """Return the revision from a value of ``of_revision``."""
    config = dict(value["config"])
    scaling, resources = Scaling(**config.pop("scaling")), Resources(**config.pop("resources"))
    secrets = tuple(SecretReference(**reference) for reference in config.pop("secrets", ()))
    config["strategy"] = Strategy(config.get("strategy", Strategy.ROLLING_UPDATE))
    return Revision(value["number"], ModelConfig(**config, scaling=scaling, resources=resources, secrets=secrets))


@lru_cache(KEPT)
def _read(text: str) -> Revision | None:
    value = json.loads(text)
    return None if value is None else to_revision(value)


def _nested(config: ModelConfig) -> dict[str, Any]:
    return {
        "scaling": {name: value for name, value in asdict(config.scaling).items() if value is not None},
        "resources": asdict(config.resources),
        "resource_requirements": dict(config.resource_requirements),
        "environment_variables": dict(config.environment_variables),
        "secrets": [asdict(reference) for reference in config.secrets],
        "strategy": config.strategy.value,
        "labels": dict(config.labels),
    }
