"""Instance types as the client reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from management.bentoml_api.instances.instance_types import LocalInstanceType
from management.bentoml_api.views.resources import resource
from management.domain import quantities


def shown(instance: LocalInstanceType) -> dict[str, Any]:
    """An instance type in the client's answer. It costs nothing."""
    item = amounts(instance.requirements)
    return {
        **resource("resource_instance", instance.name),
        "display_name": instance.name,
        "description": instance.description,
        "config": {
            "group": instance.name.partition(".")[0],
            "resources": {"requests": item, "limits": item},
            "price": "0",
            "node_selectors": {},
            "gpu_config": None,
        },
    }


def amounts(requirements: Mapping[str, str]) -> dict[str, str | None]:
    """The resources of a replica in the client's words."""
    return {
        "cpu": requirements[quantities.CPU],
        "memory": requirements[quantities.MEMORY],
        "gpu": None if requirements[quantities.GPU] == "0" else requirements[quantities.GPU],
        "custom": None,
    }
