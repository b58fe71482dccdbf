"""The client against a real socket: what it sends, what it raises, and when it tries again."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from client import AtelierClient, AtelierError, AtelierTimeout, AtelierUnreachable, DeepSynthSummarizerClient
from tests.servers import ROOT, free_port


class Scripted(ThreadingHTTPServer):
    """Answers each request with the next entry of its script, and the last one for ever; None hangs up."""

    daemon_threads = True

    def __init__(self, script: list[tuple[int, Any] | None]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script = script
        self.seen: list[tuple[str, str, bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Scripted

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.seen.append((self.command, self.path, body))
        entry = self.server.script.pop(0) if len(self.server.script) > 1 else self.server.script[0]
        if entry is None:
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        status, value = entry
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("X-Request-ID", "abc")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@contextmanager
def scripted(*script: tuple[int, Any] | None) -> Iterator[Scripted]:
    server = Scripted(list(script))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


OK = (200, {"results": [], "embedding": [1.0]})
CALLS: dict[str, tuple[Callable[[AtelierClient], Any], str, Any]] = {
    "health": (lambda client: client.health(), "/health", None),
    "classify": (lambda client: client.classify(b"a"), "/classify", {"image": "YQ==", "lang": "fr"}),
    "classify a URL": (
        lambda client: client.classify("https://example.com/a.jpg", lang="en"),
        "/classify",
        {"url": "https://example.com/a.jpg", "lang": "en"},
    ),
    "classify many": (lambda client: client.classify_batch([b"a"]), "/classify/batch?lang=fr", [{"image": "YQ=="}]),
    "embed": (lambda client: client.embed(b"a"), "/embed", {"image": "YQ=="}),
    "embed many": (
        lambda client: client.embed_batch([b"a", b"b"]),
        "/embed/batch",
        [{"image": "YQ=="}, {"image": "Yg=="}],
    ),
    "summarize": (
        lambda client: client.summarize_text("a"),
        "/summarize/text",
        {"text": "a", "max_length": 128, "temperature": 0.7},
    ),
    "summarize many": (
        lambda client: client.batch_summarize(["a"], max_length=5),
        "/batch/summarize",
        {"texts": ["a"], "max_length": 5, "temperature": 0.7},
    ),
    "infer": (
        lambda client: client.infer([{"input_data": {}}], model="satellite"),
        "/infer",
        {"requests": [{"input_data": {}}], "model": "satellite"},
    ),
}


@pytest.mark.parametrize(("call", "path", "body"), CALLS.values(), ids=CALLS)
def test_every_call_sends_what_its_endpoint_wants(call: Callable[[AtelierClient], Any], path: str, body: Any) -> None:
    with scripted(OK) as server, AtelierClient(server.url + "/") as client:
        call(client)
    ((_, seen_path, seen_body),) = server.seen
    assert seen_path == path
    assert (json.loads(seen_body) if seen_body else None) == body


@pytest.mark.parametrize("field", ["file", "image"])
def test_an_upload_carries_its_name_and_its_options(field: str, tmp_path: Path) -> None:
    (tmp_path / "page.bin").write_bytes(b"some bytes")
    with scripted(OK) as server, AtelierClient(server.url) as client:
        getattr(client, f"summarize_{field}")(tmp_path / "page.bin", max_length=9)
    ((method, path, body),) = server.seen
    assert (method, path) == ("POST", f"/summarize/{field}")
    assert f'name="{field}"; filename="page.bin"'.encode() in body
    assert b"some bytes" in body
    assert b"9" in body


def test_an_image_may_be_a_path(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"picture")
    with scripted(OK) as server, AtelierClient(server.url) as client:
        client.embed(tmp_path / "a.png")
        client.embed(str(tmp_path / "a.png"))
    assert [b64decode(json.loads(body)["image"]) for _, _, body in server.seen] == [b"picture"] * 2


def test_a_refusal_is_raised_with_its_code_and_request_id() -> None:
    refused = (415, {"error": "no picture", "code": "UNSUPPORTED_MEDIA_TYPE"})
    with scripted(refused) as server, AtelierClient(server.url) as client, pytest.raises(AtelierError) as caught:
        client.classify(b"a")
    error = caught.value
    assert (error.status, error.code, error.request_id) == (415, "UNSUPPORTED_MEDIA_TYPE", "abc")
    assert str(error) == "no picture (HTTP 415, UNSUPPORTED_MEDIA_TYPE, abc)"


@pytest.mark.parametrize("body", [b"<h1>Bad Gateway</h1>", [1]])
def test_a_refusal_of_somebody_else_is_raised_too(body: Any) -> None:
    with scripted((502, body)) as server, AtelierClient(server.url) as client, pytest.raises(AtelierError) as caught:
        client.health()
    assert (caught.value.status, caught.value.code) == (502, "UNKNOWN")


def test_a_refusal_is_not_tried_again() -> None:
    busy = (503, {"error": "busy", "code": "OVERLOADED"})
    with scripted(busy) as server, AtelierClient(server.url) as client, pytest.raises(AtelierError):
        client.health()
    assert len(server.seen) == 1


def test_a_lost_connection_is_tried_again() -> None:
    with scripted(None, None, OK) as server, AtelierClient(server.url) as client:
        assert client.embed(b"a") == [1.0]
    assert len(server.seen) == 3


def test_a_connection_that_is_lost_each_time_is_given_up() -> None:
    with scripted(None) as server, AtelierClient(server.url, retries=1) as client, pytest.raises(AtelierUnreachable):
        client.health()
    assert len(server.seen) == 2


def test_nobody_there_is_said() -> None:
    with AtelierClient(f"http://127.0.0.1:{free_port()}", retries=0) as client, pytest.raises(AtelierUnreachable):
        client.health()


def test_a_late_answer_is_not_asked_for_twice() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with AtelierClient(url, timeout=0.1) as client, pytest.raises(AtelierTimeout):
            client.health()
        silent.setblocking(False)
        silent.accept()[0].close()
        with pytest.raises(BlockingIOError):
            silent.accept()


@pytest.mark.parametrize(("pause", "raised"), [(0.0, AtelierUnreachable), (5.0, AtelierTimeout)])
def test_an_answer_that_breaks_off_is_the_clients_own_error(pause: float, raised: type[AtelierError]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer_half() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
                connection.settimeout(pause or 1)
                if pause:
                    connection.recv(1)

        thread = threading.Thread(target=answer_half)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with AtelierClient(url, retries=0, timeout=0.2) as client, pytest.raises(raised):
            client.health()
        thread.join()


def test_an_answer_that_is_no_json_is_the_clients_own_error() -> None:
    with (
        scripted((200, b"<html>")) as server,
        AtelierClient(server.url) as client,
        pytest.raises(AtelierError) as caught,
    ):
        client.health()
    assert (caught.value.code, caught.value.status) == ("NO_JSON", 200)


def test_an_address_that_is_none_is_the_clients_own_error() -> None:
    with AtelierClient("nowhere://") as client, pytest.raises(AtelierError) as caught:
        client.health()
    assert caught.value.code == "CLIENT_ERROR"


def test_the_client_needs_nothing_of_the_server() -> None:
    check = "import client, sys; sys.exit(any(name.split('.')[0] in {'runners', 'bentoml'} for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", check], check=False, cwd=ROOT).returncode == 0


def test_the_documents_client_returns_errors_as_they_are() -> None:
    with scripted((400, {"error": "Empty text provided"})) as server:
        client = DeepSynthSummarizerClient(server.url)
        assert client.summarize_text("") == {"error": "Empty text provided"}
        assert client.batch_summarize([]) == {"error": "Empty text provided"}
        client.close()


def test_the_documents_client_lives_where_its_document_says() -> None:
    client = DeepSynthSummarizerClient()
    assert client.base_url == "http://localhost:5000"
    client.close()
