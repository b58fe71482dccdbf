"""The front door: the models behind one port, each in a process of its own.

python -m runners.launch service:Atelier          all of them, on 8080 (what ``make serve`` starts)
python -m runners.launch service:Satellite        one alone; so every class that a row of ``runners.registry`` names

``bentoml serve`` starts the same services, and a control port beside them that any user of the machine may command.

``ATELIER_MODELS=satellite,embedding`` leaves the other models out of the first. The management API of ``management/``
stands beside the models, below ``/api/v1`` of ``Atelier``.
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
"""Paths that need no key where the models' endpoints do."""

WORKER_SERVICE: Final = "ATELIER_WORKER_SERVICE"
"""Variable in which ``runners.serving.worker`` names the one service that its process serves."""


@cache
def _platform() -> Platform:
    """The management API: imported in the front door's own process alone, where it opens nothing before it serves."""
    from management.platform import Platform

    return Platform(beside_models=True)


def _served() -> tuple[Model, ...]:
    """Return the models to load: all in the front door and in the arbiter, its own alone in a model's process."""
    rows = tuple(registry.model(name) for name in settings().models)
    row = registry.of_service(os.environ.get(WORKER_SERVICE, ""))
    return (row,) if row in rows else rows


def __getattr__(name: str) -> Service[Any]:
    """``service:Satellite`` and the others: a model's service, imported when it is asked for."""
    row = registry.of_service(name)
    if row is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return row.load()


class ManagedService(EdgedService):
    """The front door's service: the models' endpoints, and the management API beside them."""

    def front(self) -> FastAPI:
        """Return one application over all models that are served."""
        return application(
            "Atelier",
            "AI models packaged as BentoML services, behind one self-hosted API.",
            {row.name: row.mounted(row.name) for row in _served()},
            beside={"management": _platform().about},
            managed_at=PREFIX,
        )

    def sections(self) -> Sequence[Section]:
        """The management API."""
        return (_platform().section(),)

    def authenticator(self) -> Authenticate | None:
        """The management's keys where the settings ask for them; else the models' own key, if there is one."""
        return _platform().door_for_models(OPEN) or super().authenticator()


def _depends_on(rows: Sequence[Model]) -> Callable[[type], type]:
    """A class decorator that makes each model's service a dependency under the model's name."""

    def add(front_door: type) -> type:
        for row in rows:
            setattr(front_door, row.name, bentoml.depends(row.load()))
        return front_door

    return add


@bentoml.service(name="Atelier", **configuration(PORT, ManagedService))
@_depends_on(_served())
class Atelier:
    """The chosen models on one port; decodes nothing and loads no network itself."""
