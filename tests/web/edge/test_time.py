"""Deadlines of the outermost layer, and callers who leave before they are answered."""

from __future__ import annotations

import asyncio
import gc
import logging

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.doubles.asgi import PIECE, START, Client, Detaches, Echoes, Hangs, Resists, Swallows, ask, read, respond
from web import memory
from web.edge.disconnect import while_awaited
from web.edge.middleware import Edge, Limits

SOON, NEVER = 0.02, 60.0


def edge(app: ASGIApp, answer: float = NEVER, body: float = NEVER, probe: float = NEVER) -> Edge:
    limits = Limits(body_bytes=100, request_seconds=answer, body_seconds=body, probe_seconds_of={"/readyz": probe})
    return Edge(app, name="cats", limits=limits, routes=lambda _: True)


# The answer's deadline


async def test_an_application_that_hangs_is_answered_for_and_cancelled() -> None:
    app = Hangs()
    assert (await ask(edge(app, answer=SOON))).error == (504, "TIMEOUT")
    await asyncio.wait_for(app.cancelled.wait(), 30)


async def test_a_probe_that_hangs_is_not_ready_after_a_time_of_its_own() -> None:
    assert (await ask(edge(Hangs(), probe=SOON), "/readyz")).error == (503, "MODEL_UNAVAILABLE")
    assert (await ask(edge(Echoes(), answer=0, probe=NEVER), "/readyz")).status == 200


async def test_an_application_that_resists_does_not_hold_the_answer_and_its_own_is_dropped(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = Resists()
    answer = await ask(edge(app, answer=SOON))
    app.release.set()
    await asyncio.wait_for(app.ended.wait(), 30)
    assert answer.error == (504, "TIMEOUT")
    assert not caplog.records


async def test_an_error_answer_that_hangs_midway_is_late_as_well() -> None:
    async def hangs_midway(scope: Scope, receive: Receive, send: Send) -> None:
        await send({**START, "status": 404})
        await send(PIECE)
        await asyncio.Event().wait()

    assert (await ask(edge(hangs_midway, answer=SOON))).error == (504, "TIMEOUT")


async def test_the_clock_stops_at_the_first_byte() -> None:
    async def streams(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        await asyncio.sleep(SOON * 3)
        await send({"type": "http.response.body", "body": b"slow"})

    answer = await ask(edge(streams, answer=SOON))
    assert (answer.status, answer.body, answer.complete) == (200, b"slow", True)


async def test_the_clock_stays_still_for_an_application_that_reads_on_after_its_first_byte() -> None:
    async def talks_and_listens(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        await receive()
        await asyncio.sleep(SOON * 3)
        await send({"type": "http.response.body", "body": await read(receive)})

    answer = await ask(edge(talks_and_listens, answer=SOON), client=Client([b"a", b"b"]))
    assert (answer.status, answer.body, answer.complete) == (200, b"b", True)


async def test_the_clock_runs_on_while_the_application_listens_for_the_callers_departure() -> None:
    async def listens(scope: Scope, receive: Receive, send: Send) -> None:
        await read(receive)
        await receive()

    assert (await ask(edge(listens, answer=SOON, body=SOON * 2))).error == (504, "TIMEOUT")


async def test_what_a_cancelled_application_raises_is_nobodys_news(caplog: pytest.LogCaptureFixture) -> None:
    async def raises_when_cancelled(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise KeyError("noise")

    assert (await ask(edge(raises_when_cancelled, answer=SOON))).error == (504, "TIMEOUT")
    for _ in range(10):  # turns of the loop: for the cancellation, the exception, and who is told of it
        await asyncio.sleep(0)
    gc.collect()
    assert not caplog.records


class Slow(Client):
    """Takes longer for each piece than the application may take to answer."""

    async def receive(self) -> dict[str, object]:
        await asyncio.sleep(0.3)
        return dict(await super().receive())


async def test_the_time_of_a_body_does_not_count_as_the_applications() -> None:
    answer = await ask(edge(Echoes(), answer=0.2), client=Slow([b"a", b"b"]))
    assert (answer.status, answer.body) == (200, b"ab")


# The body's deadline


@pytest.mark.parametrize("app", [Echoes(), Swallows(), Detaches(Echoes()), Detaches(Swallows())])
async def test_a_body_that_does_not_arrive_in_time_is_refused_and_its_connection_closed(
    app: ASGIApp, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await ask(edge(app, body=SOON), client=Client([b"a"], ends=False))
    assert answer.error == (408, "REQUEST_TIMEOUT")
    assert answer.header("connection") == [b"close"]
    assert not caplog.records


async def test_the_time_is_one_for_the_whole_body_however_lively_it_trickles() -> None:
    class Trickles(Client):
        async def receive(self) -> dict[str, object]:
            await asyncio.sleep(SOON / 10)
            return {"type": "http.request", "body": b"", "more_body": True}

    assert (await ask(edge(Echoes(), body=SOON), client=Trickles([]))).error == (408, "REQUEST_TIMEOUT")


class NeverReads:
    """Computes without an end, and without a look at the body."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.Event().wait()


async def test_an_application_that_does_not_read_is_late_by_its_own_clock() -> None:
    assert (await ask(edge(NeverReads(), answer=SOON, body=SOON / 4))).error == (504, "TIMEOUT")


async def test_work_that_is_detached_ends_with_the_refusal_of_its_body() -> None:
    app = Detaches(Echoes())
    await ask(edge(app), client=Client([b"a" * 101]))
    assert app.work is not None
    await asyncio.wait({app.work}, timeout=30)
    assert app.work.cancelled()


# Callers who leave


async def raises_on_departure(scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    raise ConnectionError("as Starlette's ClientDisconnect does")


async def answers_all_the_same(scope: Scope, receive: Receive, send: Send) -> None:
    await read(receive)
    await respond(send, 400, body=b"there was an error parsing the body")


@pytest.mark.parametrize("app", [raises_on_departure, answers_all_the_same, Echoes()])
@pytest.mark.parametrize("ends", [True, False])
async def test_a_caller_who_leaves_ends_the_request_in_silence(
    app: ASGIApp, ends: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        answer = await ask(edge(app), client=Client([b"a"], ends=ends, leaves=True))
    assert not caplog.records
    assert answer.messages == [] or ends


async def test_a_stream_to_nobody_is_stopped(caplog: pytest.LogCaptureFixture) -> None:
    async def streams_forever(scope: Scope, receive: Receive, send: Send) -> None:
        await read(receive)
        await send(START)
        await receive()
        while True:
            await send(PIECE)

    with caplog.at_level(logging.WARNING):
        answer = await ask(edge(streams_forever), client=Client([b""], leaves=True))
    assert len(answer.messages) == 1
    assert not caplog.records


async def test_a_server_that_stops_cancels_the_application() -> None:
    app = Hangs()
    request = asyncio.create_task(ask(edge(app)))
    await asyncio.sleep(SOON)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    await asyncio.wait_for(app.cancelled.wait(), 30)


# Callers who leave before the answer


async def test_an_application_is_cancelled_when_its_caller_leaves() -> None:
    app = Hangs()
    answer = await ask(edge(app), client=Client([b"all of it"], leaves=True))
    await asyncio.wait_for(app.cancelled.wait(), 30)
    assert not answer.messages


async def test_work_in_another_task_learns_that_nobody_waits() -> None:
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def delegates(scope: Scope, receive: Receive, send: Send) -> None:
        await read(receive)
        # A task that no cancellation reaches, as in BentoML's timeout layer.
        task = asyncio.create_task(while_awaited(work()))
        await asyncio.wait([asyncio.create_task(asyncio.Event().wait())])
        task.cancel()

    await ask(edge(delegates), client=Client([b"all of it"], leaves=True))
    await asyncio.wait_for(ended.wait(), 30)
    ended.clear()
    assert (await ask(edge(delegates, answer=SOON))).error == (504, "TIMEOUT")
    await asyncio.wait_for(ended.wait(), 30)


async def test_work_that_is_awaited_gives_its_result_or_its_error() -> None:
    async def gives(value: int) -> int:
        if not value:
            raise KeyError("nothing")
        return value

    answers = []

    async def asks(scope: Scope, receive: Receive, send: Send) -> None:
        await read(receive)
        answers.append(await while_awaited(gives(7)))
        with pytest.raises(KeyError):
            await while_awaited(gives(0))
        await respond(send)

    assert (await ask(edge(asks))).status == 200
    assert answers == [7]
    assert await while_awaited(gives(8)) == 8


# Bodies that are not kept in memory


class Dripping(Client):
    """Sends its pieces with a pause before each."""

    def __init__(self, pieces: list[bytes], pause: float) -> None:
        super().__init__(pieces)
        self.pause = pause

    async def receive(self) -> Message:
        if self.pieces:
            await asyncio.sleep(self.pause)
        return await super().receive()


def streaming(body: float) -> Edge:
    limits = Limits(body_bytes=1000, request_seconds=NEVER, body_seconds=body, streams=True)
    return Edge(Echoes(), name="cats", limits=limits, routes=lambda _: True)


async def test_the_bodys_deadline_is_that_of_each_piece_where_bodies_stream() -> None:
    pieces = [b"a"] * 6
    assert (await ask(streaming(0.5), client=Dripping(list(pieces), 0.1))).status == 200
    assert (await ask(edge(Echoes(), body=0.5), client=Dripping(list(pieces), 0.1))).error == (408, "REQUEST_TIMEOUT")
    assert (await ask(streaming(SOON), client=Client([b"a"], ends=False))).error == (408, "REQUEST_TIMEOUT")


async def test_a_body_that_streams_is_not_charged_to_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory.of_process(), "limit", 10)
    assert (await ask(streaming(NEVER), client=Client([b"a" * 500]))).status == 200
    assert (await ask(edge(Echoes()), client=Client([b"a" * 90]))).error == (503, "OVERLOADED")
