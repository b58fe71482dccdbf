"""Swagger UI over the API's own description, from the files that BentoML brings: nothing comes from the internet."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from starlette.staticfiles import StaticFiles


def add_documentation(app: FastAPI, prefix: str) -> None:
    """``docs`` below the prefix."""
    static = f"{prefix}/static"
    spec = find_spec("bentoml")
    if spec is None or not spec.submodule_search_locations:
        return
    files = Path(spec.submodule_search_locations[0]) / "_internal" / "server" / "static_content"
    app.mount(static, StaticFiles(directory=files, check_dir=False))

    @app.get(f"{prefix}/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url=f"{prefix}/openapi.json",
            title=app.title,
            swagger_js_url=f"{static}/swagger-ui-bundle.js",
            swagger_css_url=f"{static}/swagger-ui.css",
            swagger_favicon_url=f"{static}/favicon-light-32x32.png",
        )
