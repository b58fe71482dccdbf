"""Conversion of nested records to values of rows, and back."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from management.domain.records import ModelConfig, Resources, Revision, Scaling


def of_revision(revision: Revision) -> dict[str, Any]:
    """Return the revision as a value that JSON can hold."""
    config = revision.config
    return {"number": revision.number, "config": {**vars(config), **_nested(config)}}


def to_revision(value: dict[str, Any]) -> Revision:
    """Return the revision from a value of ``of_revision``."""
    config = dict(value["config"])
    scaling, resources = Scaling(**config.pop("scaling")), Resources(**config.pop("resources"))
    return Revision(value["number"], ModelConfig(**config, scaling=scaling, resources=resources))


def _nested(config: ModelConfig) -> dict[str, Any]:
    return {
        "scaling": asdict(config.scaling),
        "resources": asdict(config.resources),
        "resource_requirements": dict(config.resource_requirements),
        "environment_variables": dict(config.environment_variables),
    }
