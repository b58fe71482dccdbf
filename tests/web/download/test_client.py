"""The downloader against real servers on this machine, most of which misbehave."""

from __future__ import annotations

import asyncio
import gzip
import logging
import socket
from contextlib import suppress

import pytest
from aiohttp import web
from aiohttp.abc import ResolveResult

from runners.images.decode import MAX_BYTES
from tests.doubles.image_servers import ListedResolver, downloader, picture, raw_server, redirect, server
from web.download.client import REFUSAL
from web.download.errors import FileTooLarge, RefusedURL, UpstreamFailed, UpstreamTimeout


async def test_a_body_arrives_as_it_is() -> None:
    async with server(a=picture) as port, downloader(port) as fetcher:
        assert await fetcher.fetch(f"http://127.0.0.1:{port}/a#part") == b"picture"
        assert await fetcher.fetch(f"http://localhost:{port}/a") == b"picture"
        await fetcher.close()
        assert await fetcher.fetch(f"http://localhost.:{port}/a") == b"picture"


async def test_the_request_says_who_asks_and_carries_no_cookies_nor_compression(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[dict[str, str]] = []

    async def note(request: web.Request) -> web.Response:
        seen.append(dict(request.headers))
        return web.Response(body=b"x", headers={"Set-Cookie": "a=b"})

    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    async with server(a=note) as port, downloader(port) as fetcher:
        await fetcher.fetch(f"http://127.0.0.1:{port}/a")
        await fetcher.fetch(f"http://127.0.0.1:{port}/a")
    assert seen[1]["User-Agent"] == "atelier"
    assert seen[1]["Accept-Encoding"] == "identity"
    assert "Cookie" not in seen[1]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_followed(status: int) -> None:
    async with server(a=redirect("/b", status), b=redirect("c"), c=picture) as port, downloader(port) as fetcher:
        assert await fetcher.fetch(f"http://127.0.0.1:{port}/a") == b"picture"


async def test_three_redirects_are_the_most() -> None:
    steps = {"a": redirect("/b"), "b": redirect("/c"), "c": redirect("/d"), "d": picture, "z": redirect("/a")}
    async with server(**steps) as port, downloader(port) as fetcher:
        assert await fetcher.fetch(f"http://127.0.0.1:{port}/a") == b"picture"
        with pytest.raises(UpstreamFailed, match="too often"):
            await fetcher.fetch(f"http://127.0.0.1:{port}/z")


async def test_a_loop_of_redirects_ends() -> None:
    async with server(a=redirect("/a")) as port, downloader(port) as fetcher:
        with pytest.raises(UpstreamFailed, match="too often"):
            await fetcher.fetch(f"http://127.0.0.1:{port}/a")


FORBIDDEN = ["http://169.254.169.254/latest/meta-data", "http://[fd00:ec2::254]/", "//0.0.0.0/"]
FORBIDDEN += ["http://2852039166/", "file:///etc/passwd", "gopher://127.0.0.1/", "http://user:secret@127.0.0.1/"]
FORBIDDEN += ["http://127.0.0.1:22/", "http://[::ffff:a9fe:a9fe]/", "http://exa mple.com/"]
FORBIDDEN += ["http://a\\@169.254.169.254/", "http://[::1/"]


@pytest.mark.parametrize("to", FORBIDDEN)
async def test_redirects_to_where_nobody_may_go_are_refused(to: str) -> None:
    async with server(a=redirect(to)) as port, downloader(port) as fetcher:
        with pytest.raises(RefusedURL) as caught:
            await fetcher.fetch(f"http://127.0.0.1:{port}/a")
    assert caught.value.message == REFUSAL


async def test_a_redirect_from_a_public_to_a_private_name_is_refused_in_the_connection() -> None:
    resolver = ListedResolver(["127.0.0.1"], ["169.254.169.254"])
    async with server(a=redirect("http://two.example/")) as port, downloader(port, resolver) as fetcher:
        with pytest.raises(RefusedURL):
            await fetcher.fetch(f"http://one.example:{port}/a")
    assert resolver.asked == 2


async def test_a_redirect_without_a_target_is_the_servers_failure() -> None:
    async with raw_server(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n") as port, downloader(port) as fetcher:
        with pytest.raises(UpstreamFailed, match="nowhere"):
            await fetcher.fetch(f"http://127.0.0.1:{port}/")


async def test_a_name_that_answers_otherwise_the_second_time_is_asked_and_checked_again() -> None:
    resolver = ListedResolver(["127.0.0.1"], ["0.0.0.0"])
    async with server(a=picture) as port, downloader(port, resolver) as fetcher:
        assert await fetcher.fetch(f"http://rebound.example:{port}/a") == b"picture"
        with pytest.raises(RefusedURL):
            await fetcher.fetch(f"http://rebound.example:{port}/a")


@pytest.mark.parametrize("status", [201, 204, 304, 403, 404, 500])
async def test_anything_but_200_is_the_servers_failure(status: int) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status)

    async with server(a=answer) as port, downloader(port) as fetcher:
        with pytest.raises(UpstreamFailed, match=str(status)):
            await fetcher.fetch(f"http://127.0.0.1:{port}/a")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\x00\x01",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
    ],
)
async def test_a_broken_answer_is_the_servers_failure(answer: bytes) -> None:
    async with raw_server(answer) as port, downloader(port) as fetcher:
        with pytest.raises(UpstreamFailed):
            await fetcher.fetch(f"http://127.0.0.1:{port}/")


async def test_bytes_beyond_the_length_that_was_announced_are_not_handed_on() -> None:
    async with raw_server(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcdef") as port, downloader(port) as fetcher:
        with suppress(UpstreamFailed):  # which of the two depends on whether all arrives in one piece
            assert await fetcher.fetch(f"http://127.0.0.1:{port}/") == b"abc"


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate, identity"])
async def test_a_compressed_body_is_the_servers_failure(encoding: str) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=gzip.compress(b"x" * 1000), headers={"Content-Encoding": encoding})

    async with server(a=answer) as port, downloader(port) as fetcher:
        with pytest.raises(UpstreamFailed, match="compressed"):
            await fetcher.fetch(f"http://127.0.0.1:{port}/a")


async def test_a_length_over_the_limit_is_refused_before_a_byte_of_it() -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {MAX_BYTES + 1}\r\n\r\n".encode()
    async with raw_server(head) as port, downloader(port) as fetcher:
        with pytest.raises(FileTooLarge):
            await fetcher.fetch(f"http://127.0.0.1:{port}/")


async def test_a_body_without_a_length_is_counted_and_cut_off() -> None:
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65536)
            sent += 65536

    async with server(a=endless) as port, downloader(port) as fetcher:
        with pytest.raises(FileTooLarge):
            await fetcher.fetch(f"http://127.0.0.1:{port}/a")
    assert sent < 2 * MAX_BYTES


async def test_a_body_of_just_the_limit_is_taken() -> None:
    async def large(_: web.Request) -> web.Response:
        return web.Response(body=b"x" * MAX_BYTES)

    async with server(a=large) as port, downloader(port) as fetcher:
        assert len(await fetcher.fetch(f"http://127.0.0.1:{port}/a")) == MAX_BYTES


async def test_a_server_that_drips_ends_with_the_total_time() -> None:
    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x")
            await asyncio.sleep(0.01)

    async with server(a=drip) as port, downloader(port, total_seconds=0.3) as fetcher:
        with pytest.raises(UpstreamTimeout):
            await fetcher.fetch(f"http://127.0.0.1:{port}/a")


async def test_a_server_that_never_answers_ends_with_the_total_time() -> None:
    never = asyncio.Event()

    async def hang(_: web.Request) -> web.Response:
        await never.wait()
        return web.Response()

    async with server(a=hang) as port, downloader(port, total_seconds=0.3) as fetcher:
        with pytest.raises(UpstreamTimeout):
            await fetcher.fetch(f"http://127.0.0.1:{port}/a")


async def test_a_name_server_that_never_answers_ends_with_the_time_to_connect() -> None:
    class SilentResolver(ListedResolver):
        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
        ) -> list[ResolveResult]:
            await asyncio.Event().wait()
            return []

    async with downloader(8000, SilentResolver(), connect_seconds=0.1, total_seconds=60) as fetcher:
        with pytest.raises(UpstreamTimeout):
            await fetcher.fetch("http://silent.example/")


async def test_nobody_listening_and_no_such_name_are_the_servers_failure() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        async with downloader(port) as fetcher:
            for host in ("127.0.0.1", "does-not-exist.invalid"):
                with pytest.raises(UpstreamFailed):
                    await fetcher.fetch(f"http://{host}:{port}/")


async def test_no_more_downloads_run_at_once_than_allowed() -> None:
    running, most, both = 0, 0, asyncio.Event()

    async def count(_: web.Request) -> web.Response:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 2:
            both.set()
        await both.wait()
        running -= 1
        return web.Response(body=b"x")

    async with server(a=count) as port, downloader(port, parallel=2) as fetcher:
        await asyncio.gather(*(fetcher.fetch(f"http://127.0.0.1:{port}/a") for _ in range(8)))
    assert most == 2


async def test_a_log_line_cannot_be_forged(caplog: pytest.LogCaptureFixture) -> None:
    async with server(a=redirect("http://a\u2028b/%0d%0aforged")) as port, downloader(port) as fetcher:
        with caplog.at_level(logging.INFO), pytest.raises(RefusedURL):
            await fetcher.fetch(f"http://127.0.0.1:{port}/a")
    assert all(record.getMessage().isprintable() for record in caplog.records if record.name == "web.download.client")
