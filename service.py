"""The front door: the models behind one port, each in a process of its own.

python -m runners.launch service:Atelier          all of them, on 8080 (what ``make serve`` starts)
python -m runners.launch service:Satellite        one alone; so Embedding, Summarization, Diagnosis, Treatment

``bentoml serve`` starts the same services, and a control port beside them that any user of the machine may command.

``ATELIER_MODELS=satellite,embedding`` leaves the other models out of the first. The management API of ``management/``
stands beside the models, below ``/api/v1`` of ``Atelier``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any, Final

import bentoml
from _bentoml_sdk import Service  # its public alias is typed as a decorator only

from management.api import PREFIX
from management.platform import Platform
from runners.embedding import service as embedding
from runners.embedding.service import Embedding
from runners.satellite import service as satellite
from runners.satellite.service import Satellite
from runners.serving.application import application
from runners.serving.mounted import Mounted
from runners.serving.proxies import dependency_about, dependency_infer
from runners.serving.service import EdgedService, configuration
from runners.settings import settings
from runners.summarization import service as summarization
from runners.summarization.service import Summarization
from runners.tcm import diagnosis, treatment
from runners.tcm.diagnosis import Diagnosis
from runners.tcm.treatment import Treatment
from web.edge.middleware import Guard, Section

__all__ = ["Atelier", "Diagnosis", "Embedding", "Satellite", "Summarization", "Treatment"]

PORT: Final = 8080
OPEN: Final = frozenset({"/", "/docs", "/openapi.json", "/health", "/healthz", "/livez", "/readyz"})
"""Paths that need no key where the models' endpoints do."""

_platform = Platform(beside_models=True)  # opens and starts nothing before the front door's own process serves


def _mounted(name: str, model: ModuleType) -> Mounted:
    example = getattr(model, "EXAMPLE_INPUT", None)
    return Mounted(dependency_infer(name), dependency_about(name), model.router, model.EXAMPLE, example)


_MODELS: Final[dict[str, tuple[Service[Any], Mounted]]] = {
    "satellite": (Satellite, _mounted("satellite", satellite)),
    "embedding": (Embedding, _mounted("embedding", embedding)),
    "summarization": (Summarization, summarization.mounted("summarization")),
    "diagnosis": (Diagnosis, _mounted("diagnosis", diagnosis)),
    "treatment": (Treatment, _mounted("treatment", treatment)),
}
_served: Final = {name: _MODELS[name] for name in settings().models}

_front = application(
    "Atelier",
    "AI models packaged as BentoML services, behind one self-hosted API.",
    {name: mounted for name, (_, mounted) in _served.items()},
    beside={"management": _platform.about},
    managed_at=PREFIX,
)


class ManagedService(EdgedService):
    """The front door's service: the models' endpoints, and the management API beside them."""

    def sections(self) -> Sequence[Section]:
        """The management API."""
        return (_platform.section(),)

    def guard(self) -> Guard | None:
        """The management's keys where the settings ask for them; else the models' own key, if there is one."""
        return _platform.door_for_models(OPEN) or super().guard()


def _depends_on(services: Mapping[str, Service[Any]]) -> Callable[[type], type]:
    """A class decorator that makes each service a dependency under its name."""

    def add(front_door: type) -> type:
        for name, service in services.items():
            setattr(front_door, name, bentoml.depends(service))
        return front_door

    return add


@bentoml.service(name="Atelier", **configuration(PORT, ManagedService))
@bentoml.asgi_app(_front, name="front")
@_depends_on({name: service for name, (service, _) in _served.items()})
class Atelier:
    """The chosen models on one port; decodes nothing and loads no network itself."""
