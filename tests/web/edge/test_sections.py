"""Parts of the paths that other applications serve: their own limits, words and doors, and what stays one for all."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import Any

import bentoml
import pytest
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from runners.serving import service as serving
from runners.serving.service import EdgedService, configuration
from tests.doubles.asgi import END, PIECE, START, Answers, Client, Echoes, Hangs, Raises, ask
from web.edge.access_log import logger
from web.edge.held_answer import HELD_BYTES
from web.edge.middleware import Authenticate, Edge, Limits, Section
from web.error_shape import ErrorResponse, Headers, error_response

SMALL = Limits(body_bytes=10, request_seconds=60, body_seconds=60)
LARGE = Limits(body_bytes=100, request_seconds=60, body_seconds=60)
SOON = Limits(body_bytes=10, request_seconds=0.05, body_seconds=0.05)
KNOCK = ((b"www-authenticate", b"Bearer"),)


class Loud:
    """Words refusals in a shape of its own, with what the authentication left in the scope."""

    def format_error(self, response: ErrorResponse, scope: Scope) -> tuple[Headers, bytes]:
        who = scope["state"].get("who")
        return [], json.dumps({"detail": response.message.upper(), "status": response.status, "who": who}).encode()


def limits(path: str) -> Limits:
    return LARGE if path.endswith("/large") else SOON if path.endswith("/soon") else SMALL


def edge(app: ASGIApp, door: Authenticate | None = None, **options: Any) -> Edge:
    """The section's application is ``app``; the main one says that it is."""
    section = Section("/part", app, limits=limits, error_formatter=Loud(), authenticate=door)
    main = {"name": "cats", "routes": lambda _: True, "limits": SMALL, "sections": [section], **options}
    return Edge(Answers(200, b"main"), **main)


async def closed(scope: Scope) -> ErrorResponse:
    scope["state"]["who"] = "nobody"
    return ErrorResponse(401, "Who are you?", "UNAUTHORIZED", KNOCK)


async def opened(scope: Scope) -> None:
    scope["state"]["who"] = "somebody"


@pytest.mark.parametrize(
    ("path", "in_section"),
    [("/part", True), ("/part/", True), ("/part/a/b", True), ("/party", False), ("/", False), ("/a/part", False)],
)
async def test_a_section_has_its_prefix_and_everything_below_it(path: str, in_section: bool) -> None:
    app = Echoes()
    answer = await ask(edge(app), path, client=Client([b"a body"]))
    assert answer.body == (b"a body" if in_section else b"main")
    if in_section:
        assert app.scope["path"] == app.scope["edge.path"] == path
        assert app.scope["raw_path"] == path.encode()


async def test_routes_rewrites_and_hidden_paths_are_the_main_applications_alone() -> None:
    app = Echoes()
    layer = edge(app, routes=lambda _: False, rewrites={"/part/a": "/b"}, hidden=frozenset({"/part/a"}))
    assert (await ask(layer, "/part/a")).status == 200
    assert app.scope["path"] == "/part/a"
    assert (await ask(layer, "/other")).error == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([(b"content-type", b"application/vnd.bentoml+pickle")], 415),
        ([(b"content-encoding", b"gzip")], 415),
        ([(b"content-length", b"x")], 400),
        ([(b"content-length", b"11")], 413),
    ],
)
@pytest.mark.parametrize("trusted", [False, True])
async def test_what_is_refused_is_refused_in_the_sections_words(
    headers: list[tuple[bytes, bytes]], status: int, trusted: bool
) -> None:
    app = Echoes()
    answer = await ask(edge(app, trusted=trusted), "/part", headers=headers)
    told = json.loads(answer.body)
    assert (answer.status, told["status"]) == (status, status)
    assert told["detail"].isupper()
    assert app.body is None
    assert answer.header("content-type") == [b"application/json"]
    assert len(answer.header("x-request-id")) == 1


async def test_limits_are_those_of_the_path() -> None:
    layer = edge(Echoes())
    assert (await ask(layer, "/part/1/large", client=Client([b"a" * 100]))).status == 200
    assert (await ask(layer, "/part/1/large", client=Client([b"a" * 101]))).status == 413
    refused = await ask(layer, "/part/1", client=Client([b"a" * 11]))
    assert json.loads(refused.body)["detail"] == "THE BODY IS LARGER THAN 10 BYTES"
    hanging = Hangs()
    late = await ask(edge(hanging), "/part/soon")
    assert (late.status, json.loads(late.body)["status"]) == (504, 504)
    await hanging.cancelled.wait()
    slow = await ask(layer, "/part/soon", client=Client([b"a"], ends=False))
    assert (slow.status, slow.header("connection")) == (408, [b"close"])


async def test_an_application_that_fails_is_answered_for_in_the_sections_words(
    caplog: pytest.LogCaptureFixture,
) -> None:
    answer = await ask(edge(Raises()), "/part")
    assert json.loads(answer.body) == {"detail": "INTERNAL SERVER ERROR", "status": 500, "who": None}
    assert [bool(record.exc_info) for record in caplog.records] == [True]


async def test_a_sections_error_answers_pass_as_they_are_piece_by_piece() -> None:
    long = {**PIECE, "body": b"x" * (HELD_BYTES + 1)}
    headers = [(b"content-type", b"application/problem+json"), (b"etag", b"1")]

    async def fails(scope: Scope, receive: Receive, send: Send) -> None:
        for message in ({**START, "status": 422, "headers": headers}, long, END):
            await send(message)

    answer = await ask(edge(fails), "/part")
    assert answer.status == 422
    assert answer.messages[0]["headers"][:2] == headers
    assert answer.messages[1:] == [long, END]


async def test_a_section_of_fastapi_answers_its_own_404s() -> None:
    answer = await ask(edge(FastAPI()), "/part/nowhere", "GET")
    assert (answer.status, answer.body) == (404, b'{"detail":"Not Found"}')


# Guards


async def test_a_guard_refuses_before_the_application_with_its_headers_in_the_sections_words() -> None:
    app = Echoes()
    answer = await ask(edge(app, closed), "/part")
    assert json.loads(answer.body) == {"detail": "WHO ARE YOU?", "status": 401, "who": "nobody"}
    assert answer.status == 401
    assert answer.header("www-authenticate") == [b"Bearer"]
    assert app.body is None
    assert (await ask(edge(app, closed), "/other")).body == b"main"


async def test_a_guard_that_lets_pass_tells_the_application_what_it_knows() -> None:
    app = Echoes()
    assert (await ask(edge(app, opened), "/part")).status == 200
    assert app.scope["state"]["who"] == "somebody"
    assert len(app.scope["state"]["request_id"]) == 32


async def test_a_guard_is_asked_last() -> None:
    async def never(scope: Scope) -> None:
        raise AssertionError

    assert (await ask(edge(Echoes(), never), "/part", headers=[(b"content-encoding", b"br")])).status == 415


async def test_a_guard_that_fails_or_hangs_opens_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def breaks(scope: Scope) -> None:
        raise KeyError("a secret")

    async def hangs(scope: Scope) -> None:
        await Hangs()(scope, Client([b""]).receive, None)  # type: ignore[arg-type]

    app = Echoes()
    answer = await ask(edge(app, breaks), "/part")
    assert (answer.status, json.loads(answer.body)["status"]) == (500, 500)
    assert b"secret" not in answer.body
    assert [bool(record.exc_info) for record in caplog.records] == [True]
    assert (await ask(edge(app, hangs), "/part/soon")).status == 504
    assert app.body is None


async def test_the_main_applications_guard_is_its_own_and_speaks_the_one_shape() -> None:
    seen: list[str] = []

    async def guard(scope: Scope) -> ErrorResponse | None:
        seen.append(scope["edge.path"])
        return error_response(403)._replace(headers=KNOCK)

    layer = edge(Echoes(), authenticate=guard, rewrites={"/infer": "/inside"})
    answer = await ask(layer, "/infer")
    assert answer.error == (403, "FORBIDDEN")
    assert answer.header("www-authenticate") == [b"Bearer"]
    assert (await ask(layer, "/part")).status == 200
    assert seen == ["/infer"]


# What is one for all


async def test_a_section_has_lines_in_the_access_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger.name)
    logger.addHandler(caplog.handler)
    try:
        await ask(edge(Echoes(), trusted=True), "/part/1", headers=[(b"x-request-id", b"mine")])
    finally:
        logger.removeHandler(caplog.handler)
    line = json.loads(caplog.records[-1].getMessage())
    assert (line["path"], line["status"], line["service"], line["request_id"]) == ("/part/1", 200, "cats", "mine")


# Services


class Sectioned(EdgedService):
    """A service with a section and a door."""

    def sections(self) -> Sequence[Section]:
        return [Section("/part", Echoes(), limits=limits, error_formatter=Loud())]

    def authenticator(self) -> Authenticate | None:
        return closed


@bentoml.service(name="Parted", **configuration(8999, Sectioned))
class Parted:
    @bentoml.api  # type: ignore[untyped-decorator]
    def ready(self) -> str:
        return "yes"


async def test_a_service_has_its_sections_and_guard_where_callers_reach_it_and_nowhere_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(serving, "configure_access_log", lambda: None)  # what is for the process, and outlives a test
    monkeypatch.setattr(serving, "configure_connections", lambda _, bounded: None)
    service: Any = Parted  # whose type the decorator does not tell
    reached, inner = service.to_asgi(is_main=True), service.to_asgi(is_main=False)
    assert (await ask(reached, "/part")).status == 200
    assert (await ask(reached, "/ready")).error == (401, "UNAUTHORIZED")
    assert (inner.sections, inner.authenticate) == ((), None)


async def test_a_sections_requests_are_told_to_its_own_observer_with_the_scope_that_it_saw() -> None:
    own: list[tuple[Any, int]] = []
    main: list[tuple[str, int]] = []
    app = Echoes()
    section = Section("/part", app, limits, Loud(), closed, lambda scope, status, _: own.append((scope, status)))
    layer = Edge(
        Answers(200, b"main"),
        name="cats",
        routes=lambda _: True,
        limits=SMALL,
        sections=[section],
        observe=lambda scope, status, _: main.append((scope["path"], status)),
    )
    await ask(layer, "/part/a")
    await ask(layer, "/other")
    assert main == [("/other", 200)]
    ((scope, status),) = own
    assert (scope["path"], scope["state"]["who"], status) == ("/part/a", "nobody", 401)
