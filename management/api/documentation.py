"""Swagger UI over the API's own description, from the files that BentoML brings: nothing comes from the internet."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

from web.documentation import documentation_page


def add_documentation(app: FastAPI, prefix: str, *, beside_models: bool) -> None:
    """Add ``docs`` below the prefix; ``beside_models`` says that the same server has models of its own at ``/docs``."""
    static = f"{prefix}/static"
    spec = find_spec("bentoml")
    if spec is None or not spec.submodule_search_locations:
        return
    files = Path(spec.submodule_search_locations[0]) / "_internal" / "server" / "static_content"
    app.mount(static, StaticFiles(directory=files, check_dir=False))

    @app.get(f"{prefix}/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        return documentation_page(
            app.title,
            f"{prefix}/openapi.json",
            static,
            links={"Models of this server": "/docs"} if beside_models else {},
            models_url=f"{prefix}/models",
        )
