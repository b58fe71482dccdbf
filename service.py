"""The front door: every model behind one port, each in a process of its own.

bentoml serve service:Atelier          all of them, on 8080 (what ``make serve`` starts)
bentoml serve service:Satellite        one alone, on 8001
bentoml serve service:Embedding        one alone, on 8000
bentoml serve service:Summarization    one alone, on 5000
bentoml serve service:Diagnosis        one alone, on 8002
bentoml serve service:Treatment        one alone, on 8003
"""

from __future__ import annotations

from typing import Final

import bentoml

from runners import diagnosis, embedding, satellite, summarization, treatment
from runners.diagnosis import Diagnosis
from runners.embedding import Embedding
from runners.front import application
from runners.mounted import Mounted
from runners.satellite import Satellite
from runners.serving import configuration, dependency_about, dependency_infer
from runners.summarization import Summarization
from runners.treatment import Treatment

__all__ = ["Atelier", "Diagnosis", "Embedding", "Satellite", "Summarization", "Treatment"]

PORT: Final = 8080

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
)


@bentoml.service(name="Atelier", **configuration(PORT))
@bentoml.asgi_app(_front, name="front")
class Atelier:
    """All models on one port; decodes nothing and loads no network itself."""

    satellite = bentoml.depends(Satellite)
    embedding = bentoml.depends(Embedding)
    summarization = bentoml.depends(Summarization)
    diagnosis = bentoml.depends(Diagnosis)
    treatment = bentoml.depends(Treatment)
