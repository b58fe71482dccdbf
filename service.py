"""The front door: every model behind one port, each in a process of its own.

bentoml serve service:Atelier      all of them, on 8080 (what ``make serve`` starts)
bentoml serve service:Satellite    one alone, on 8001
bentoml serve service:Embedding    one alone, on 8000
"""

from __future__ import annotations

from typing import Final

import bentoml
from fastapi import FastAPI

from runners import embedding, satellite
from runners.download import Downloader
from runners.embedding import Embedding
from runners.front import application, health_router
from runners.native import native_router
from runners.satellite import Satellite
from runners.serving import configuration, dependency_infer, dependency_ready
from runners.settings import settings

__all__ = ["Atelier", "Embedding", "Satellite"]

PORT: Final = 8080


def _application() -> FastAPI:
    downloader = Downloader(settings())
    models = {name: dependency_infer(name) for name in ("satellite", "embedding")}
    return application(
        "Atelier",
        "AI models packaged as BentoML services, behind one self-hosted API.",
        [
            satellite.router(models["satellite"], downloader),
            embedding.router(models["embedding"], downloader),
            health_router({name: dependency_ready(name) for name in models}),
            native_router(models, downloader, satellite.EXAMPLE),
        ],
        downloader,
    )


@bentoml.service(name="Atelier", **configuration(PORT))
@bentoml.asgi_app(_application(), name="front")
class Atelier:
    """All models on one port; decodes nothing and loads no network itself."""

    satellite = bentoml.depends(Satellite)
    embedding = bentoml.depends(Embedding)
