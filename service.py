"""The front door: every model behind one port, each in a process of its own.

bentoml serve service:Atelier          all of them, on 8080 (what ``make serve`` starts)
bentoml serve service:Satellite        one alone, on 8001
bentoml serve service:Embedding        one alone, on 8000
bentoml serve service:Summarization    one alone, on 5000
bentoml serve service:Diagnosis        one alone, on 8002
bentoml serve service:Treatment        one alone, on 8003

The management API of ``management/`` stands beside the models, below ``/api/v1`` of ``Atelier``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import bentoml

from management.app import Platform
from runners import diagnosis, embedding, satellite, summarization, treatment
from runners.calls import dependency_about, dependency_infer
from runners.diagnosis import Diagnosis
from runners.embedding import Embedding
from runners.front import application
from runners.mounted import Mounted
from runners.satellite import Satellite
from runners.serving import EdgedService, configuration
from runners.summarization import Summarization
from runners.treatment import Treatment
from web.edge import Guard, Section

__all__ = ["Atelier", "Diagnosis", "Embedding", "Satellite", "Summarization", "Treatment"]

PORT: Final = 8080
OPEN: Final = frozenset({"/", "/docs", "/openapi.json", "/health", "/healthz", "/livez", "/readyz"})
"""Paths that want no key where the models' endpoints do."""

_platform = Platform()  # opens and starts nothing before the front door's own process serves

_front = application(
    "Atelier",
    "AI models packaged as BentoML services, behind one self-hosted API.",
    {
        name: Mounted(dependency_infer(name), dependency_about(name), model.router, model.EXAMPLE)
        for name, model in (("satellite", satellite), ("embedding", embedding))
    }
    | {"summarization": summarization.mounted("summarization")}
    | {
        name: Mounted(dependency_infer(name), dependency_about(name), model.router, model.EXAMPLE, model.EXAMPLE_INPUT)
        for name, model in (("diagnosis", diagnosis), ("treatment", treatment))
    },
    beside={"management": _platform.about},
)


class ManagedService(EdgedService):
    """The front door's service: the models' endpoints, and the management API beside them."""

    def sections(self) -> Sequence[Section]:
        """The management API."""
        return (_platform.section(),)

    def guard(self) -> Guard | None:
        """The keys of the management, if the settings want them for the models, too."""
        return _platform.door_for_models(OPEN)


@bentoml.service(name="Atelier", **configuration(PORT, ManagedService))
@bentoml.asgi_app(_front, name="front")
class Atelier:
    """All models on one port; decodes nothing and loads no network itself."""

    satellite = bentoml.depends(Satellite)
    embedding = bentoml.depends(Embedding)
    summarization = bentoml.depends(Summarization)
    diagnosis = bentoml.depends(Diagnosis)
    treatment = bentoml.depends(Treatment)
