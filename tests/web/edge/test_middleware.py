"""What the outermost layer refuses, passes on, and makes of applications that fail."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.doubles.asgi import END, PIECE, START, Answer, Answers, Client, Detaches, Echoes, Raises, Swallows, ask
from web.edge.middleware import Edge, Limits, request_id
from web.edge.request_cycle import CutShortError

LIMITS = Limits(body_bytes=100, request_seconds=60, body_seconds=60, body_bytes_of={"/large": 1000})


def edge(app: ASGIApp, **options: Any) -> Edge:
    return Edge(app, name="cats", limits=LIMITS, **{"routes": lambda _: True, **options})


def lengths(*values: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"content-length", value) for value in values]


# The request id


async def test_a_harmless_request_id_is_taken_and_reaches_the_application_and_the_caller() -> None:
    app = Echoes()
    given = (b"x-request-id", b"aB3._-" + b"x" * 58)
    answer = await ask(edge(app), headers=[given, (b"a", b"b")])
    assert answer.header("x-request-id") == [given[1]]
    assert app.scope["state"]["request_id"] == app.request_id == given[1].decode()
    assert app.scope["headers"] == [(b"a", b"b"), given]
    assert request_id.get() == "-"


@pytest.mark.parametrize("given", [b"", b"x" * 65, b"a b", b"a\n", b"a\x1b[0m", "é".encode(), b'"'])
async def test_a_request_id_that_could_do_harm_is_replaced(given: bytes) -> None:
    app = Echoes()
    answer = await ask(edge(app), headers=[(b"x-request-id", given)])
    (made,) = answer.header("x-request-id")
    assert re.fullmatch(rb"[0-9a-f]{32}", made)
    assert [value for name, value in app.scope["headers"] if name == b"x-request-id"] == [made]


async def test_of_two_request_ids_none_is_taken() -> None:
    answer = await ask(edge(Echoes()), headers=[(b"x-request-id", b"a"), (b"x-request-id", b"b")])
    assert len(answer.header("x-request-id")[0]) == 32


@pytest.mark.parametrize("status", [200, 404, 500])
async def test_every_answer_has_one_request_id_and_the_security_header_and_tells_no_server(status: int) -> None:
    told = [(b"Server", b"BentoML"), (b"X-Request-ID", b"inner"), (b"X-Content-Type-Options", b"x")]
    answer = await ask(edge(Answers(status, headers=told)), headers=[(b"x-request-id", b"mine")])
    assert answer.header("x-request-id") == [b"mine"]
    assert answer.header("x-content-type-options") == [b"nosniff"]
    assert answer.header("server") == []


# Paths


async def test_an_unknown_path_is_answered_before_the_application_hears_of_it() -> None:
    app = Echoes()
    answer = await ask(edge(app, routes=lambda scope: scope["path"] == "/known"), "/unknown")
    assert answer.error == (404, "NOT_FOUND")
    assert app.body is None
    assert (await ask(edge(app, routes=lambda scope: scope["path"] == "/known"), "/known")).status == 200


async def test_a_rewritten_path_leads_to_another_one_that_is_hidden_from_outside() -> None:
    app = Echoes()
    layer = edge(app, rewrites={"/infer": "/checked infer"}, hidden=frozenset({"/checked infer"}))
    assert (await ask(layer, "/checked infer")).error == (404, "NOT_FOUND")
    assert app.body is None
    assert (await ask(layer, "/infer")).status == 200
    assert (app.scope["path"], app.scope["raw_path"]) == ("/checked infer", b"/checked%20infer")


async def test_a_trusted_application_is_reached_on_every_path_as_it_is() -> None:
    app = Echoes()
    options: Any = {"rewrites": {"/infer": "/checked"}, "hidden": frozenset({"/infer"}), "routes": lambda _: False}
    assert (await ask(edge(app, trusted=True, **options), "/infer")).status == 200
    assert app.scope["path"] == "/infer"


# Kinds of content

PICKLES = [b"application/vnd.bentoml+pickle", b"application/x-PICKLE", b"text/plain; a=pickle"]


@pytest.mark.parametrize("content_type", PICKLES)
async def test_pickle_is_refused_from_outside_and_passes_between_our_own_processes(content_type: bytes) -> None:
    app = Echoes()
    headers = [(b"content-type", b"text/plain"), (b"content-type", content_type)]
    assert (await ask(edge(app), headers=headers)).error == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert app.body is None
    assert (await ask(edge(app, trusted=True), headers=headers)).status == 200


@pytest.mark.parametrize(("encoding", "status"), [(b"gzip", 415), (b"identity, br", 415), (b"Identity", 200)])
async def test_a_compressed_body_is_refused(encoding: bytes, status: int) -> None:
    assert (await ask(edge(Echoes()), headers=[(b"content-encoding", encoding)])).status == status


# The body's length


@pytest.mark.parametrize("values", [(b"-1",), (b"1e3",), (b"",), (b"5, 5",), (b"5", b"6"), (b"\xb2",), (b"9" * 5000,)])
async def test_a_content_length_that_is_not_one_number_is_refused(values: tuple[bytes, ...]) -> None:
    app = Echoes()
    assert (await ask(edge(app), headers=lengths(*values))).error == (400, "INVALID_INPUT")
    assert app.body is None


async def test_a_body_that_is_announced_too_large_is_refused_unread_and_one_of_the_limit_is_not() -> None:
    app = Echoes()
    assert (await ask(edge(app), headers=lengths(b"101"))).error == (413, "PAYLOAD_TOO_LARGE")
    assert app.body is None
    answer = await ask(edge(app), headers=lengths(b"100", b"100"), client=Client([b"a" * 60, b"a" * 40]))
    assert (answer.status, answer.body) == (200, b"a" * 100)


async def test_a_path_may_have_a_limit_of_its_own() -> None:
    assert (await ask(edge(Echoes()), "/large", headers=lengths(b"1000"))).status == 200
    assert (await ask(edge(Echoes()), "/large", client=Client([b"a" * 1000]))).status == 200
    assert (await ask(edge(Echoes()), "/large", client=Client([b"a" * 1001]))).error == (413, "PAYLOAD_TOO_LARGE")


@pytest.mark.parametrize("app", [Echoes(), Swallows(), Detaches(Echoes()), Detaches(Swallows())])
async def test_a_stream_over_the_limit_is_refused_whatever_the_application_makes_of_it(
    app: ASGIApp, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await ask(edge(app), client=Client([b"a" * 60, b"a" * 41, b"a"]))
    assert answer.error == (413, "PAYLOAD_TOO_LARGE")
    assert b"100 bytes" in answer.body
    assert not caplog.records


async def test_an_application_never_sees_an_end_of_a_body_that_is_too_long() -> None:
    app = Echoes()
    await ask(edge(app), client=Client([b"a" * 101]))
    assert app.body is None


async def test_a_body_that_is_too_long_ends_an_answer_that_has_begun_by_closing_the_connection() -> None:
    async def begins(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        await send(PIECE)
        await receive()

    with pytest.raises(CutShortError):
        await ask(edge(begins), client=Client([b"a" * 101]))


# Applications that fail


async def silent(scope: Scope, receive: Receive, send: Send) -> None:
    """Forgets to answer."""


async def forgets_the_end(scope: Scope, receive: Receive, send: Send) -> None:
    await send({**START, "status": 404})


@pytest.mark.parametrize("app", [Raises(), Raises({**START, "status": 404}), Raises(END), silent, forgets_the_end])
async def test_an_application_that_fails_to_answer_is_answered_for_with_500(
    app: ASGIApp, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await ask(edge(app))
    assert answer.error == (500, "INTERNAL_ERROR")
    assert json.loads(answer.body) == {"error": "Internal server error", "code": "INTERNAL_ERROR"}
    (record,) = caplog.records
    assert answer.header("x-request-id")[0].decode() in record.getMessage()
    assert bool(record.exc_info) == isinstance(app, Raises)


async def test_a_failure_of_our_own_checks_is_a_500_too() -> None:
    def broken(scope: Scope) -> bool:
        raise RuntimeError

    assert (await ask(edge(Echoes(), routes=broken))).error == (500, "INTERNAL_ERROR")


async def forgets_the_rest(scope: Scope, receive: Receive, send: Send) -> None:
    await send(START)
    await send(PIECE)


@pytest.mark.parametrize("app", [Raises(START, PIECE), forgets_the_rest])
async def test_an_answer_that_breaks_off_is_not_ended_as_if_it_were_whole(
    app: ASGIApp, caplog: pytest.LogCaptureFixture
) -> None:
    sent: list[Message] = []

    async def keep(scope: Scope, receive: Receive, send: Send) -> None:
        async def both(message: Message) -> None:
            sent.append(message)
            await send(message)

        await edge(app)(scope, receive, both)

    with pytest.raises(CutShortError):
        await ask(keep)
    assert sent[-1] == PIECE
    assert len(caplog.records) == 1


async def test_an_error_after_a_whole_answer_is_logged_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    answer = await ask(edge(Raises({**START, "status": 500}, END)))
    assert answer.error == (500, "INTERNAL_ERROR")
    assert [bool(record.exc_info) for record in caplog.records] == [True]


@pytest.mark.parametrize("status", [200, 404])
async def test_what_is_sent_after_the_end_of_an_answer_is_dropped(status: int) -> None:
    async def goes_on(scope: Scope, receive: Receive, send: Send) -> None:
        for message in ({**START, "status": status}, END, PIECE, {**START, "status": status}, END):
            await send(message)

    answer = await ask(edge(goes_on))
    assert [message["type"] for message in answer.messages] == ["http.response.start", "http.response.body"]


# What passes


async def test_a_good_answer_passes_piece_by_piece_as_it_is() -> None:
    headers = [(b"Content-Type", b"image/png"), (b"etag", b"1")]

    async def streams(scope: Scope, receive: Receive, send: Send) -> None:
        await send({**START, "headers": headers})
        await send(PIECE)
        await send(PIECE)
        await send(END)

    answer = await ask(edge(streams))
    assert answer.messages[0]["headers"][:2] == headers
    assert answer.messages[1:] == [PIECE, PIECE, END]


async def test_the_lifespan_passes_and_websockets_are_refused() -> None:
    seen: list[str] = []
    sent: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    async def send(message: Message) -> None:
        sent.append(message)

    for kind in ("lifespan", "websocket"):
        await edge(app)({"type": kind, "path": "/", "headers": []}, Client([]).receive, send)
    assert seen == ["lifespan"]
    assert [message["type"] for message in sent] == ["websocket.close"]


async def test_a_request_that_a_stopping_server_gives_up_is_told_so_in_our_shape() -> None:
    async def endless(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.Event().wait()

    scope: Scope = {"type": "http", "method": "POST", "path": "/", "raw_path": b"/", "query_string": b"", "headers": []}
    answer = Answer()
    asking = asyncio.create_task(edge(endless)(scope, Client([b""]).receive, answer.send))
    await asyncio.sleep(0.05)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert answer.error == (503, "OVERLOADED")
