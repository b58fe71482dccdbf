"""Downloads of Bentos and models: so many at a time, and none whose reader takes next to nothing."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from starlette.types import Message, Scope

from management.bentoml_api import PREFIX
from management.bentoml_api.routes import archives
from tests.support.chains.client_platform import ClientPlatform, add_bentos
from tests.support.chains.fuzz import Fuzzed, fuzzed
from tests.support.management_servers import KEY
from web.edge.request_cycle import CutShortError

MOST = 2
BENTO = f"{PREFIX}/api/v1/bento_repositories/echo/bentos/1.0.0"


@pytest.fixture(scope="module")
def api() -> Iterator[Fuzzed]:
    with fuzzed(ClientPlatform, bento_downloads=MOST) as running:
        add_bentos(running.platform.settings.storage.home)
        yield running


class Reader:
    """A caller who takes nothing of the body until a test lets it."""

    def __init__(self, api: Fuzzed, path: str, method: str = "GET", query: bytes = b"") -> None:
        self._loop = api.loop
        self.begun = threading.Event()
        self.sent: list[Message] = []
        self.leaves, self._takes = asyncio.Event(), asyncio.Event()
        scope: Scope = {
            **{"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http"},
            **{"path": path, "raw_path": path.encode(), "root_path": "", "query_string": query, "state": {}},
            **{"headers": [(b"host", b"testserver"), (b"x-api-key", KEY.encode())]},
            **{"client": ("127.0.0.1", 1), "server": ("testserver", 80)},
        }
        self._answered = asyncio.run_coroutine_threadsafe(self._ask(api, scope), api.loop)

    async def _ask(self, api: Fuzzed, scope: Scope) -> None:
        await api.app(scope, self._receive, self._send)

    async def _receive(self) -> Message:
        if not self.begun.is_set():
            self.begun.set()
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.leaves.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        self.sent.append(message)
        if message.get("body"):
            await self._takes.wait()

    def leave(self) -> None:
        """Close the connection."""
        self._loop.call_soon_threadsafe(self.leaves.set)
        self.end()

    def take(self) -> bytes:
        """Take everything, and return it."""
        self._loop.call_soon_threadsafe(self._takes.set)
        self.end()
        return b"".join(message.get("body", b"") for message in self.sent)

    def end(self) -> None:
        """Wait until the server has no more to say."""
        self._answered.result(30)


@pytest.fixture
def slow(api: Fuzzed) -> Iterator[Callable[[], Reader]]:
    """Makes readers whose download has begun."""
    readers: list[Reader] = []

    def begin() -> Reader:
        readers.append(reader := Reader(api, f"{BENTO}/download"))
        until_true(lambda: any(message.get("body") for message in reader.sent))
        return reader

    yield begin
    for reader in readers:
        reader.take()


def until_true(condition: Any) -> None:
    """Wait until a condition of another thread is true."""
    waiting = threading.Event()
    for _ in range(3000):
        if condition():
            return
        waiting.wait(0.01)
    raise AssertionError("it did not become true")


def signed(api: Fuzzed) -> str:
    """The query of a download's signed URL."""
    url = json.loads(api.ask("PATCH", f"{BENTO}/presign_download_url").content)["presigned_download_url"]
    return str(url).partition("?")[2]


def status(api: Fuzzed, method: str = "GET") -> int:
    """The status of one more download."""
    return api.ask(method, f"{BENTO}/download").status_code


@pytest.mark.parametrize("path", ["api", "signed"])
def test_one_more_download_than_there_are_places_is_told_to_come_again(
    api: Fuzzed, slow: Callable[[], Reader], path: str
) -> None:
    target = f"{BENTO}/download" if path == "api" else f"{PREFIX}/downloads?{signed(api)}"
    readers = [slow() for _ in range(MOST)]
    refused = api.ask("GET", target)
    told = json.loads(refused.content)
    assert (refused.status_code, told["code"]) == (503, "INSUFFICIENT_RESOURCES")
    assert (refused.headers["retry-after"], "downloads" in told["error"]) == (["10"], True)
    assert api.ask("GET", BENTO).status_code == 200
    whole = [reader.take() for reader in readers]
    assert all(str(len(content)).encode() in dict(readers[0].sent[0]["headers"]).values() for content in whole)
    assert status(api) == 200


def test_a_caller_who_leaves_frees_its_place(api: Fuzzed, slow: Callable[[], Reader]) -> None:
    for _ in range(2 * MOST):
        slow().leave()
    until_true(lambda: status(api) == 200)


def test_a_reader_that_takes_next_to_nothing_is_cut_off(api: Fuzzed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "PIECE_SECONDS", 0.05)
    for reader in [Reader(api, f"{BENTO}/download") for _ in range(MOST)]:
        with pytest.raises(CutShortError):
            reader.end()
    assert status(api) == 200


@pytest.mark.parametrize("missing", ["none", "a..b"])
def test_what_is_not_there_takes_no_place(api: Fuzzed, missing: str) -> None:
    path = f"{PREFIX}/api/v1/bento_repositories/{missing}/bentos/1/download"
    assert [api.ask("GET", path).status_code for _ in range(2 * MOST)] == [404] * 2 * MOST
    assert [status(api, "HEAD") for _ in range(2 * MOST)] == [200] * 2 * MOST
