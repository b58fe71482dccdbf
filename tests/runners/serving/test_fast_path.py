"""The shortest way to a route: the same answers as the long way, and the long way for everything else."""

from __future__ import annotations

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from runners.errors import InvalidInput, ModelUnavailable
from runners.serving.fast_path import Direct, endpoints

router = APIRouter()


@router.post("/plain")
async def plain(request: Request) -> Response:
    return PlainTextResponse(f"{request.query_params.get('q')} {len(await request.body())}")


@router.post("/bad")
async def bad(request: Request) -> Response:
    raise InvalidInput("no such thing")


@router.post("/away")
async def away(request: Request) -> Response:
    raise ModelUnavailable("try again")


@router.get("/items/{number}")
async def with_path(request: Request, number: int) -> Response:
    return PlainTextResponse(str(number))


@router.get("/typed")
async def typed(limit: int = 3) -> int:
    return limit


@pytest.fixture
def client() -> httpx.AsyncClient:
    app = FastAPI()
    app.include_router(router)
    app.state.asked = []

    @app.middleware("http")
    async def note(request: Request, call_next: object) -> Response:
        app.state.asked.append(request.url.path)
        answer: Response = await call_next(request)  # type: ignore[operator]
        return answer

    transport = httpx.ASGITransport(Direct(app, endpoints([router])))
    client = httpx.AsyncClient(transport=transport, base_url="http://here")
    client.asked = app.state.asked  # type: ignore[attr-defined]
    return client


def test_routes_that_take_a_request_alone_are_direct() -> None:
    assert set(endpoints([router])) == {("POST", "/plain"), ("POST", "/bad"), ("POST", "/away")}


async def test_a_direct_route_is_answered_without_the_applications_layers(client: httpx.AsyncClient) -> None:
    answer = await client.post("/plain?q=1", content=b"four")
    assert (answer.status_code, answer.text) == (200, "1 4")
    assert client.asked == []  # type: ignore[attr-defined]


@pytest.mark.parametrize(("path", "text"), [("/items/7", "7"), ("/typed?limit=5", "5")])
async def test_other_routes_go_the_long_way(client: httpx.AsyncClient, path: str, text: str) -> None:
    assert (await client.get(path)).text == text
    assert len(client.asked) == 1  # type: ignore[attr-defined]


async def test_another_method_is_the_applications_to_refuse(client: httpx.AsyncClient) -> None:
    assert (await client.get("/plain")).status_code == 405


async def test_errors_have_their_status_and_shape(client: httpx.AsyncClient) -> None:
    refused, down = await client.post("/bad"), await client.post("/away")
    assert (refused.status_code, refused.json()) == (400, {"error": "no such thing", "code": "INVALID_INPUT"})
    assert (down.status_code, down.headers["Retry-After"]) == (503, "2")
