"""Which words of other layers' error bodies reach a caller, and in what shape."""

from __future__ import annotations

import json

import pytest
from fastapi import FastAPI, HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.doubles.asgi import END, START, Answers, ask
from web.edge.held_answer import HELD_BYTES
from web.edge.middleware import Edge, Limits
from web.error_shape import ERRORS, error_response, reshaped

JSON, TEXT, HTML = b"application/json", b"text/plain; charset=utf-8", b"text/html"

CASES = {
    "ours": (400, JSON, {"error": "no", "code": "INVALID_URL"}, {"error": "no", "code": "INVALID_URL"}),
    "ours with more": (503, JSON, {"error": "x", "code": "Y", "k": [1]}, {"error": "x", "code": "Y", "k": [1]}),
    "BentoML's": (
        400,
        JSON,
        {"error": "1 validation error", "detail": [{"loc": ["a"]}]},
        {"error": "1 validation error", "code": "INVALID_INPUT", "detail": [{"loc": ["a"]}]},
    ),
    "BentoML's list": (404, JSON, [{"error": "no task"}], {"error": "no task", "code": "NOT_FOUND"}),
    "BentoML's overload": (
        429,
        JSON,
        {"error": "Too many requests"},
        {"error": "Too many requests", "code": "TOO_MANY_REQUESTS"},
    ),
    "Starlette's 404": (404, TEXT, "Not Found", {"error": "Endpoint not found", "code": "NOT_FOUND"}),
    "Starlette's 405": (405, TEXT, "Method Not Allowed", {"error": "Method not allowed", "code": "METHOD_NOT_ALLOWED"}),
    "a line of text": (400, TEXT, "Missing boundary.", {"error": "Missing boundary.", "code": "INVALID_INPUT"}),
    "lines of text": (400, TEXT, "Traceback:\n  File", {"error": "Invalid request", "code": "INVALID_INPUT"}),
    "long text": (400, TEXT, "a" * 201, {"error": "Invalid request", "code": "INVALID_INPUT"}),
    "a page": (403, HTML, "<h1>no</h1>", {"error": "Not allowed", "code": "FORBIDDEN"}),
    "FastAPI's text": (401, JSON, {"detail": "Log in", "x": 1}, {"error": "Log in", "code": "UNAUTHORIZED", "x": 1}),
    "FastAPI's list": (
        422,
        JSON,
        {"detail": [{"loc": ["body"]}]},
        {"error": "Invalid request", "code": "INVALID_INPUT", "detail": [{"loc": ["body"]}]},
    ),
    "an error that is no text": (400, JSON, {"error": {"a": 1}}, {"error": "Invalid request", "code": "INVALID_INPUT"}),
    "a list of many": (400, JSON, [1, 2], {"error": "Invalid request", "code": "INVALID_INPUT"}),
    "nothing": (415, b"", "", {"error": "Unsupported media type", "code": "UNSUPPORTED_MEDIA_TYPE"}),
    "a status without an entry": (409, JSON, {"error": "taken"}, {"error": "taken", "code": "INVALID_INPUT"}),
    "a server's text": (500, TEXT, "KeyError: secret", {"error": "Internal server error", "code": "INTERNAL_ERROR"}),
    "a server's object": (500, JSON, {"error": "secret"}, {"error": "Internal server error", "code": "INTERNAL_ERROR"}),
    "a server's detail": (504, JSON, {"detail": "secret"}, {"error": "The request took too long", "code": "TIMEOUT"}),
    "an unknown server status": (599, TEXT, "x", {"error": "Internal server error", "code": "INTERNAL_ERROR"}),
}


@pytest.mark.parametrize(("status", "content_type", "inner", "expected"), CASES.values(), ids=CASES)
def test_every_inner_body_leaves_in_one_shape(
    status: int, content_type: bytes, inner: object, expected: dict[str, object]
) -> None:
    body = inner if isinstance(inner, str) else json.dumps(inner)
    assert json.loads(reshaped(status, content_type, body.encode())) == expected


def test_a_body_in_our_shape_keeps_its_bytes() -> None:
    ours = b'{ "error": "x",  "code": "Y" }'
    assert reshaped(400, JSON, ours) == ours


def test_a_body_that_is_neither_json_nor_text_is_replaced() -> None:
    assert json.loads(reshaped(400, TEXT, b"\x1f\x8b\xff\x00")) == {"error": "Invalid request", "code": "INVALID_INPUT"}


@pytest.mark.parametrize(("status", "code"), [(status, code) for status, (code, _) in ERRORS.items()])
def test_every_status_has_its_code_and_a_message(status: int, code: str) -> None:
    answer = json.loads(error_response(status).body())
    assert answer["code"] == code
    assert answer["error"]


# Through the outermost layer


def edge(app: ASGIApp) -> Edge:
    limits = Limits(body_bytes=100, request_seconds=60, body_seconds=60)
    return Edge(app, name="cats", routes=lambda _: True, limits=limits)


async def test_frameworks_errors_leave_in_one_shape() -> None:
    app = FastAPI()

    @app.get("/limited")
    def limited() -> None:
        raise HTTPException(429, "Slowly", {"Retry-After": "3", "Content-Language": "en"})

    @app.get("/number")
    def number(n: int) -> None: ...

    @app.get("/broken")
    def broken() -> None:
        raise KeyError("secret")

    assert (await ask(edge(app), "/nowhere", "GET")).error == (404, "NOT_FOUND")
    wrong_method = await ask(edge(app), "/limited", "PUT")
    assert (wrong_method.error, wrong_method.header("allow")) == ((405, "METHOD_NOT_ALLOWED"), [b"GET, HEAD"])
    slowly = await ask(edge(app), "/limited", "GET")
    assert (slowly.error, slowly.header("retry-after")) == ((429, "TOO_MANY_REQUESTS"), [b"3"])
    assert b"Slowly" in slowly.body
    assert slowly.header("content-language") == []
    invalid = await ask(edge(app), "/number", "GET")
    assert invalid.error == (422, "INVALID_INPUT")
    assert json.loads(invalid.body)["detail"][0]["loc"] == ["query", "n"]
    assert b"secret" not in (await ask(edge(app), "/broken", "GET")).body


@pytest.mark.parametrize(("extra", "kept"), [(0, True), (1, False)])
async def test_an_error_body_is_kept_up_to_a_limit_and_replaced_beyond(extra: int, kept: bool) -> None:
    body = b'{"error":"%s","code":"X"}'
    body %= b"a" * (HELD_BYTES - len(body) + 2 + extra)

    async def in_pieces(scope: Scope, receive: Receive, send: Send) -> None:
        await send({**START, "status": 400})
        await send({"type": "http.response.body", "body": body[:9], "more_body": True})
        await send({"type": "http.response.body", "body": body[9:], "more_body": True})
        await send(END)

    answer = await ask(edge(in_pieces))
    assert answer.error == (400, "X" if kept else "INVALID_INPUT")


async def test_an_error_answer_to_head_has_no_body_and_says_how_long_it_would_be() -> None:
    answer = await ask(edge(Answers(404, b"Not Found", [(b"content-type", b"text/plain")])), method="HEAD")
    assert answer.body == b""
    assert int(answer.header("content-length")[0]) == len(b'{"error":"Endpoint not found","code":"NOT_FOUND"}')
