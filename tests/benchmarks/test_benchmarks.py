"""The parts of the benchmarks: the load generator, the evaluation of samples, and the requests."""

from __future__ import annotations

import asyncio
import json
import math
import os
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from io import BytesIO, StringIO
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from PIL import Image
from rich.console import Console

from benchmarks.load import pictures, texts
from benchmarks.load.generator import LoadSpec, Outcome, load, multipart, percentile, request
from benchmarks.load.machine import finite
from benchmarks.serving import server, table
from benchmarks.serving.contenders import ATELIER, CONTENDERS, LIMIT, SAME_ENGINE, Contender
from benchmarks.serving.evaluation import Failure, Goal, Sample, Spread, goals, rows

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BAD = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
LAST = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
Reply = Callable[[int], Awaitable[bytes | None]]


@asynccontextmanager
async def answering(reply: Reply) -> AsyncIterator[int]:
    """Answers the n-th request with ``reply(n)``, and hangs up where that is None or says so."""
    numbers = count()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(int(line[16:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length: "))
                await reader.readexactly(length)
                answer = await reply(next(numbers))
                if answer is None:
                    return
                writer.write(answer)
                if b"Connection: close" in answer:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield listening.sockets[0].getsockname()[1]


async def loaded(reply: Reply, *, clients: int = 2, seconds: float = 0.3, deadline: float = 5.0) -> Outcome:
    async with answering(reply) as port:
        url = urlsplit(f"http://127.0.0.1:{port}/ask")
        requests = [request(url, body) for body in (b"one", b"two")]
        return await load(LoadSpec("127.0.0.1", port, requests, clients, seconds, deadline))


async def test_good_answers_are_counted_and_timed() -> None:
    async def reply(_: int) -> bytes:
        await asyncio.sleep(0.02)
        return GOOD

    outcome = await loaded(reply, clients=4, seconds=0.5)
    assert outcome.errors == {}
    assert 20 <= outcome.p50_ms <= outcome.p99_ms <= 5000  # after which one is late, and an error
    assert 4 / outcome.p99_ms * 1000 * 0.8 <= outcome.per_second <= 200
    assert outcome.answered > outcome.per_second * outcome.seconds  # those of the warm-up, too


async def test_batches_that_end_together_make_no_steps_in_the_rate() -> None:
    async def reply(_: int) -> bytes:
        await asyncio.sleep(0.4)
        return GOOD

    outcome = await loaded(reply, clients=8, seconds=0.6)
    # Counted in 0.6 s they would be 8 / 0.6 = 13 or 16 / 0.6 = 27, by whether a second batch ended in them.
    assert 14 < outcome.per_second < 23


async def test_a_wrong_status_is_an_error_and_no_answer() -> None:
    async def reply(number: int) -> bytes:
        await asyncio.sleep(0.01)
        return BAD if number % 2 else GOOD

    outcome = await loaded(reply)
    assert outcome.errors["503"] > 3
    assert abs(outcome.errors["503"] - outcome.answered) <= 2


async def test_a_broken_connection_is_an_error_and_is_replaced() -> None:
    async def reply(number: int) -> bytes | None:
        await asyncio.sleep(0.01)
        return None if number == 3 else GOOD

    outcome = await loaded(reply)
    assert outcome.errors == {"broken": 1}
    assert outcome.answered > 10


async def test_what_is_no_http_is_an_error() -> None:
    async def reply(number: int) -> bytes:
        await asyncio.sleep(0.01)
        return b"SSH-2.0-x\r\n" if number == 3 else GOOD

    assert (await loaded(reply)).errors == {"broken": 1}


async def test_a_server_that_closes_after_each_answer_is_asked_on_new_connections() -> None:
    async def reply(_: int) -> bytes:
        await asyncio.sleep(0.01)
        return LAST

    outcome = await loaded(reply)
    assert outcome.errors == {}
    assert outcome.answered > 10


async def test_an_answer_that_hangs_is_given_up_at_the_deadline() -> None:
    async def reply(number: int) -> bytes:
        await asyncio.sleep(60 if number == 5 else 0.01)
        return GOOD

    outcome = await loaded(reply, deadline=2.0)
    assert outcome.errors == {"late": 1}
    assert outcome.answered > 10


async def test_a_refused_connection_is_an_error() -> None:
    async with answering(lambda _: asyncio.sleep(0, GOOD)) as port:
        pass
    spec = LoadSpec("127.0.0.1", port, [b"GET / HTTP/1.1\r\n\r\n"], 1, 0.1)
    from benchmarks.load import generator

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generator, "MAX_WARM_UP_SECONDS", 0.2)
        outcome = await load(spec)
    assert outcome.errors["refused"] >= 2
    assert outcome.answered == 0
    assert math.isnan(outcome.p50_ms)


async def test_bodies_are_sent_in_turn() -> None:
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readline():
            assert head.startswith(b"POST /ask HTTP/1.1")
            await reader.readuntil(b"\r\n\r\n")
            seen.append(await reader.readexactly(3))
            writer.write(GOOD)
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        port = listening.sockets[0].getsockname()[1]
        url = urlsplit(f"http://127.0.0.1:{port}/ask")
        await load(LoadSpec("127.0.0.1", port, [request(url, body) for body in (b"one", b"two")], 1, 0.1))
    assert seen[:4] == [b"one", b"two", b"one", b"two"]


def test_a_form_has_the_file_in_its_field() -> None:
    body, content_type = multipart("image", b"\xff\xd8", "image/jpeg")
    boundary = content_type.removeprefix("multipart/form-data; boundary=").encode()
    assert body.startswith(b"--" + boundary + b"\r\n")
    assert b'name="image"' in body
    assert body.endswith(b"\r\n\r\n\xff\xd8\r\n--" + boundary + b"--\r\n")


@pytest.mark.parametrize(("percent", "found"), [(50, 2.0), (99, 4.0), (25, 1.0), (0, 1.0), (100, 4.0)])
def test_percentiles_are_of_values_that_there_were(percent: float, found: float) -> None:
    assert percentile([1.0, 2.0, 3.0, 4.0], percent) == found


def test_a_percentile_of_nothing_is_no_number() -> None:
    assert math.isnan(percentile([], 99))


def sample(name: str = ATELIER, per_second: float = 10.0, number: int = 0, **more: float) -> Sample:
    usual = {"p50_ms": 10.0, "p99_ms": 20.0, "cpu_ms": 5.0}
    return Sample(name, "classify", 0 if name == LIMIT else 32, number, per_second, **(usual | more))  # type: ignore[arg-type]


def test_rows_are_medians_with_the_least_and_the_most() -> None:
    (row,) = rows([sample(per_second=rate, number=at) for at, rate in enumerate((30.0, 10.0, 11.0))])
    assert row.per_second == Spread(11.0, 10.0, 30.0)
    assert row.rounds == 3


def test_errors_of_all_rounds_are_added() -> None:
    (row,) = rows([sample(errors=2), sample(errors=0, number=1), sample(errors=3, number=2)])
    assert row.errors == 5


def test_what_was_not_measured_is_left_out_of_a_spread() -> None:
    assert Spread.of([math.nan, 3.0, 1.0]) == Spread(2.0, 1.0, 3.0)
    assert math.isnan(Spread.of([]).median)


def test_ratios_are_of_medians_and_the_best_peer_is_no_limit_and_none_of_ours() -> None:
    rates = {ATELIER: 60.0, "atelier-front": 500.0, "fastapi": 8.0, "litserve": 40.0, "mosec": 50.0}
    rates |= {SAME_ENGINE: 55.0, LIMIT: 100.0}
    found = {goal.name: goal for goal in goals(rows([sample(name, rate) for name, rate in rates.items()]))}
    assert {name: goal.value for name, goal in found.items()} == {
        "atelier / fastapi": 7.5,
        "atelier / litserve": 1.5,
        "atelier / litserve-openvino": 60 / 55,
        "atelier / limit": 0.6,
        "atelier / best peer": 1.2,
        "p99 / p50": 2.0,
        "errors": 0.0,
    }
    missed = {"atelier / litserve", "atelier / litserve-openvino", "atelier / limit", "p99 / p50"}
    assert {name for name, goal in found.items() if not goal.met} == missed


def test_summaries_are_compared_with_flask() -> None:
    measured = [replace(sample(name, rate), task="summarize") for name, rate in (("atelier", 30.0), ("flask", 12.0))]
    assert goals(rows(measured)) == [Goal("summarize", "atelier / flask", 2.5, 3.0)]
    assert goals(rows(measured[:1])) == []


def test_goals_without_atelier_are_none_and_without_a_peer_are_left_out() -> None:
    assert goals(rows([sample("fastapi")])) == []
    assert [goal.name for goal in goals(rows([sample()]))] == ["p99 / p50", "errors"]


@pytest.mark.parametrize(
    ("goal", "outcome"),
    [
        (Goal("embed", "ratio", 1.5, 3.0), "MISSED by 50% (-1.50)"),
        (Goal("embed", "ratio", 6.0, 3.0), "met by 100% (+3.00)"),
        (Goal("embed", "tail", 5.0, 2.5, at_most=True), "MISSED by 100% (+2.50)"),
        (Goal("embed", "errors", 4.0, 0.0, at_most=True), "MISSED by 4"),
        (Goal("embed", "errors", 0.0, 0.0, at_most=True), "met"),
        (Goal("embed", "ratio", math.nan, 3.0), "not measured"),
    ],
)
def test_a_goal_says_by_how_much_it_is_met_or_missed(goal: Goal, outcome: str) -> None:
    assert goal.outcome == outcome


def test_the_tables_are_plain_text_where_there_is_no_terminal() -> None:
    out = StringIO()
    console = Console(file=out, width=170)
    table.show_rows(console, rows([sample(), sample("mosec", 7.0)]), [Failure("ray", "embed", 0, "[boom] no port")])
    table.show_goals(console, goals(rows([sample(), sample("mosec", 7.0)])))
    written = out.getvalue()
    assert "\x1b" not in written
    assert "[boom] no port" in written
    assert "atelier / best peer" in written


def test_pictures_are_the_same_each_time_and_as_large_as_a_photograph() -> None:
    first = pictures.photographs()
    assert first == pictures.photographs()
    assert len(set(first)) == len(first) == 8
    for data in first:
        assert pictures.MIN_BYTES <= len(data) <= pictures.MAX_BYTES
        with Image.open(BytesIO(data)) as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (640, 480))


def test_texts_have_ten_sentences_and_a_million_characters() -> None:
    from runners.models.text.sentences import split

    assert [len(split(text, "en")) for text in texts.short()] == [10] * len(texts.TOWNS)
    assert len(set(texts.short())) == len(texts.TOWNS)
    assert len(texts.long()) == texts.MAX_CHARACTERS


def test_a_contender_is_started_on_the_port_that_is_free() -> None:
    for contender in CONTENDERS:
        assert "8123" in contender.command_on(8123)
        assert not any("{port}" in part for part in contender.command_on(8123))


@pytest.mark.server
def test_a_server_that_ends_says_why(tmp_path: Path) -> None:
    dying = Contender("dying", "classify", "/", (sys.executable, "-c", "raise SystemExit('no model here')"))
    with (
        pytest.raises(server.NotStarted, match="no model here"),
        server.serve(dying, {"TMPDIR": str(tmp_path)}, server.Probe("/", b"", "text/plain")),
    ):
        pass


@pytest.mark.server
def test_a_server_is_ended_with_children_that_left_it(tmp_path: Path) -> None:
    mark = uuid.uuid4().hex
    orphan = "import subprocess, sys, time\nsubprocess.Popen(['sleep', '60'], start_new_session=True)\ntime.sleep(60)"
    command = [sys.executable, "-c", orphan]
    process = subprocess.Popen(command, env={**os.environ, server.MARK: mark}, cwd=tmp_path)
    while len(server.family(process.pid, mark)) < 2:
        assert process.poll() is None
    known = server.family(process.pid, mark)
    server.stop(process, mark)
    assert not any(psutil.pid_exists(member.pid) and member.status() != psutil.STATUS_ZOMBIE for member in known)


def test_json_has_null_for_what_is_no_number() -> None:
    assert json.loads(json.dumps(finite({"a": [math.nan, 1.0], "b": math.inf}))) == {"a": [None, 1.0], "b": None}
