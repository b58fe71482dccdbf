"""The HTTP application mounted beside a service's native API: routers, errors, health and offline documentation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final, cast

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, RedirectResponse

from runners import strict_json
from runners.describe import ERRORS
from runners.download import Downloader
from runners.errors import InvalidInput, ModelUnavailable, RunnerError

Ready = Callable[[], Awaitable[bool]]
HEALTH_SECONDS: Final = 0.8


class JSONAnswer(Response):
    """JSON as UTF-8 text that never holds NaN or Infinity."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The body."""
        return strict_json.dumps(content)


def application(title: str, description: str, routers: list[APIRouter], downloader: Downloader) -> FastAPI:
    """The FastAPI application of one service, which closes the downloader when it ends.

    Its documentation needs nothing from the internet.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await downloader.close()

    app = FastAPI(
        title=title,
        description=description,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.add_exception_handler(RunnerError, _answer_error)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    for router in [*routers, _documentation_router(title)]:
        app.include_router(router)
    return app


def _documentation_router(title: str) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/docs")
    def docs() -> HTMLResponse:
        # BentoML serves Swagger UI's files itself, under /static_content.
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title=title,
            swagger_js_url="/static_content/swagger-ui-bundle.js",
            swagger_css_url="/static_content/swagger-ui.css",
            swagger_favicon_url="/static_content/favicon-light-32x32.png",
        )

    @router.get("/")
    def index() -> RedirectResponse:
        return RedirectResponse("/docs")

    return router


def health_router(ready: Mapping[str, Ready]) -> APIRouter:
    """``GET /health``: healthy when every model says within a second that it is ready, else 503."""
    router = APIRouter(tags=["health"])
    healthy = {"status": "healthy", "model_loaded": True, "timestamp": "2026-01-01T12:00:00.000Z"}
    responses: dict[int | str, dict[str, Any]] = {
        200: {"content": {"application/json": {"example": healthy}}},
        503: ERRORS[503],
    }

    @router.get("/health", summary="Is every model loaded and answering?", responses=responses)
    async def health() -> JSONAnswer:
        answers = await asyncio.gather(*map(_answers_soon, ready.values()))
        states = dict(zip(ready, answers, strict=True))
        return JSONAnswer(_health(states), status_code=200 if all(answers) else 503)

    return router


def _health(states: Mapping[str, bool]) -> dict[str, Any]:
    down = [name for name, is_ready in states.items() if not is_ready]
    answer: dict[str, Any] = {
        "status": "unhealthy" if down else "healthy",
        "model_loaded": not down,
        "timestamp": timestamp(),
    }
    if len(states) > 1:
        answer["models"] = dict(states)
    if down:
        answer |= {"error": f"not ready: {', '.join(down)}", "code": ModelUnavailable.code}
    return answer


async def _answers_soon(is_ready: Ready) -> bool:
    # BentoML's own readiness waits its whole traffic timeout for a frozen model, and raises what it likes.
    try:
        return await asyncio.wait_for(is_ready(), HEALTH_SECONDS)
    except Exception:  # whatever it is, the model does not answer
        return False


def timestamp() -> str:
    """Now, in UTC, as ISO 8601 with a Z."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _answer_error(_: Request, error: Exception) -> Response:
    error = cast("RunnerError", error)
    return JSONAnswer({"error": error.message, "code": error.code}, status_code=error.status)


def _answer_invalid(_: Request, __: Exception) -> Response:
    return JSONAnswer({"error": "the request is not valid", "code": InvalidInput.code}, status_code=InvalidInput.status)
