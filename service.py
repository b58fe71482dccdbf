"""The front door: the models behind one port, each in a process of its own.

python -m runners.launch service:Atelier          all models on port 8080, as ``make serve`` does
python -m runners.launch service:Satellite        a single model, by the service class in ``runners.registry``

``bentoml serve`` starts the same services, and in addition a control port that every user of the machine can use.

``ATELIER_MODELS=satellite,embedding`` limits ``Atelier`` to these models. It also has the management API of
``management/``, below ``/api/v1``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import bentoml
from _bentoml_sdk import Service  # its public alias is typed as a decorator only
from fastapi import FastAPI

from management.api import PREFIX
from runners import registry
from runners.registry import Model
from runners.serving.application import application
from runners.serving.service import EdgedService, configuration
from runners.settings import settings
from web.edge.middleware import Authenticate, Section

if TYPE_CHECKING:
    from management.platform import Platform

PORT: Final = 8080
OPEN: Final = frozenset({"/", "/docs", "/openapi.json", "/health", "/healthz", "/livez", "/readyz"})
"""Paths that never need a key."""

WORKER_SERVICE: Final = "ATELIER_WORKER_SERVICE"
"""Environment variable with the service of a model's process, set by ``runners.serving.worker``."""


@cache
def _platform() -> Platform:
    """Return the management API. Only the front door's process imports it; nothing is opened before it serves."""
    from management.platform import Platform

    return Platform(beside_models=True)


def _served() -> tuple[Model, ...]:
    """Return the models to load: all in the front door and in the arbiter, in a model's process its own."""
    rows = tuple(registry.model(name) for name in settings().models)
    row = registry.of_service(os.environ.get(WORKER_SERVICE, ""))
    return (row,) if row in rows else rows


def __getattr__(name: str) -> Service[Any]:
    """Import a model's service on first access, such as ``service:Satellite``."""
    row = registry.of_service(name)
    if row is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return row.load()


class ManagedService(EdgedService):
    """The front door's service: the models' endpoints and the management API."""

    def front(self) -> FastAPI:
        """Return the application with the endpoints of all served models."""
        return application(
            "Atelier",
            "AI models packaged as BentoML services, behind one self-hosted API.",
            {row.name: row.mounted(row.name) for row in _served()},
            beside={"management": _platform().about},
            managed_at=PREFIX,
        )

    def sections(self) -> Sequence[Section]:
        """Return the management API, and the addresses of the models that it manages."""
        return _platform().sections()

    def authenticator(self) -> Authenticate | None:
        """Return the check of the management's keys if the settings require them, else that of the models' key."""
        return _platform().door_for_models(OPEN) or super().authenticator()


def _depends_on(rows: Sequence[Model]) -> Callable[[type], type]:
    """Return a class decorator that adds each model's service as a dependency with the model's name."""

    def add(front_door: type) -> type:
        for row in rows:
            setattr(front_door, row.name, bentoml.depends(row.load()))
        return front_door

    return add


@bentoml.service(name="Atelier", **configuration(PORT, ManagedService))
@_depends_on(_served())
class Atelier:
    """The chosen models on one port. It decodes no input and loads no network itself."""
