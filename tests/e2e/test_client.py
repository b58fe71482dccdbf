"""The client against a real socket: what it sends, what it raises, and when it tries again."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import Message
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from client import AtelierClient, AtelierError, AtelierTimeout, AtelierUnreachable, DeepSynthSummarizerClient
from tests.support.servers import ROOT, free_port


class Scripted(ThreadingHTTPServer):
    """Answers each request with the next entry of its script, and the last one for ever; None hangs up."""

    daemon_threads = True

    def __init__(self, script: list[tuple[int, Any] | None]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script = script
        self.seen: list[tuple[str, str, bytes]] = []
        self.headers: list[Message] = []
        self.told: dict[str, str] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Scripted

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.seen.append((self.command, self.path, body))
        self.server.headers.append(self.headers)
        entry = self.server.script.pop(0) if len(self.server.script) > 1 else self.server.script[0]
        if entry is None:
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        status, value = entry
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("X-Request-ID", "abc")
        for name, value in self.server.told.items():
            self.send_header(name, value)
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


def test_a_refusal_of_the_management_is_raised_with_its_details() -> None:
    error = {"code": "MODEL_NOT_READY", "message": "not yet", "details": {"model_id": "a"}}
    with scripted((503, {"status": "error", "error": error, "timestamp": ""})) as server:
        server.told = {"Retry-After": "7"}
        with AtelierClient(server.url) as client, pytest.raises(AtelierError) as caught:
            client.status("a")
    told = caught.value
    assert (told.message, told.code, told.status) == ("not yet", "MODEL_NOT_READY", 503)
    assert (told.details, told.retry_after) == ({"model_id": "a"}, 7)


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


@pytest.mark.server
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


# The management's models

MODEL = "/api/v1/models"
MANAGED: dict[str, tuple[Callable[[AtelierClient], Any], str, str, Any]] = {
    "deploy": (lambda client: client.deploy({"model_id": "a"}), "POST", "/deploy", {"config": {"model_id": "a"}}),
    "deploy and wait": (lambda client: client.deploy({}, wait=9), "POST", "/deploy?wait=9", {"config": {}}),
    "update": (lambda client: client.update("a", {}, wait=0.5), "PUT", "/a?wait=0.5", {"config": {}}),
    "scale": (lambda client: client.scale("a", 3), "POST", "/a/scale", {"replicas": 3}),
    "delete": (lambda client: client.delete("a"), "DELETE", "/a", None),
    "delete by force": (lambda client: client.delete("a", force=True, wait=5), "DELETE", "/a?force=true&wait=5", None),
    "models": (
        lambda client: client.models("running", "treatment", 9, 3),
        "GET",
        "?status=running&model_type=treatment&limit=9&offset=3",
        None,
    ),
    "every model": (lambda client: list(client.all_models()), "GET", "?limit=500&offset=0", None),
    "status": (lambda client: client.status("a/../b"), "GET", "/a%2F..%2Fb/status", None),
    "logs": (lambda client: client.logs("a", 5), "GET", "/a/logs?tail=5", None),
    "events": (lambda client: client.events("a"), "GET", "/a/events?limit=100", None),
    "infer": (
        lambda client: client.infer_model("a", {"x": 1}, timeout=400, priority="high"),
        "POST",
        "/a/inference",
        {"input_data": {"x": 1}, "parameters": {}, "timeout": 400, "priority": "high"},
    ),
    "infer many": (
        lambda client: client.infer_batch("a", [{"input_data": {}}]),
        "POST",
        "/a/batch_inference",
        {"requests": [{"input_data": {}}], "timeout": 30, "priority": "normal"},
    ),
}


@pytest.mark.parametrize(("call", "method", "path", "body"), MANAGED.values(), ids=MANAGED)
def test_every_management_call_sends_what_the_document_says(
    call: Callable[[AtelierClient], Any], method: str, path: str, body: Any
) -> None:
    with scripted((200, [])) as server, AtelierClient(server.url) as client:
        call(client)
    ((seen_method, seen_path, seen_body),) = server.seen
    assert (seen_method, seen_path) == (method, MODEL + path)
    assert (json.loads(seen_body) if seen_body else None) == body


def test_a_bento_is_sent_as_its_file_is_with_its_digest(tmp_path: Path) -> None:
    archive, pieces = tmp_path / "hello.bento", list[int]()
    archive.write_bytes(b"archive" * 20_000)
    with scripted((201, {"tag": "hello:1.0.0"})) as server, AtelierClient(server.url) as client:
        assert client.push_bento(archive, progress=pieces.append) == {"tag": "hello:1.0.0"}
        assert client.last_status == 201
    ((method, path, body),) = server.seen
    digest = b64encode(sha256(archive.read_bytes()).digest()).decode()
    assert (method, path, body) == ("POST", "/api/v1/bentos", archive.read_bytes())
    assert server.headers[0]["content-digest"] == f"sha-256=:{digest}:"
    assert len(pieces) > 1
    assert sum(pieces) == archive.stat().st_size


def test_bentos_are_listed_shown_and_deleted() -> None:
    with scripted((200, []), (200, {}), (200, {})) as server, AtelierClient(server.url) as client:
        client.list_bentos("hello", 9, 3)
        client.get_bento("hello:1/0")
        client.delete_bento("hello:1.0.0")
        for wrong in ("hello", "hello:", ":1", "..:1", "hello:.."):
            with pytest.raises(ValueError, match="NAME:VERSION"):
                client.get_bento(wrong)
    assert [(method, path) for method, path, _ in server.seen] == [
        ("GET", "/api/v1/bentos?name=hello&limit=9&offset=3"),
        ("GET", "/api/v1/bentos/hello/1%2F0"),
        ("DELETE", "/api/v1/bentos/hello/1.0.0"),
    ]


def test_every_model_is_read_page_by_page() -> None:
    pages = ([{"model_id": str(number)} for number in range(500)], [{"model_id": "500"}])
    with scripted(*((200, page) for page in pages)) as server, AtelierClient(server.url) as client:
        assert [model["model_id"] for model in client.all_models()] == [str(number) for number in range(501)]
    assert [path.rpartition("=")[2] for _, path, _ in server.seen] == ["0", "500"]


def test_the_key_is_sent_only_where_there_is_one_and_the_language_that_was_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("ATELIER_API_KEY", raising=False)
    with scripted(OK) as server:
        AtelierClient(server.url, language="").health()
        AtelierClient(server.url, api_key=" mine\n", language="en").health()
        monkeypatch.setenv("ATELIER_API_KEY", "the-environments")
        AtelierClient(server.url, language="zh").health()
    assert [headers["X-API-Key"] for headers in server.headers] == [None, "mine", "the-environments"]
    assert [headers["Accept-Language"] for headers in server.headers] == [None, "en", "zh"]


def test_a_key_that_no_header_can_carry_is_refused_and_not_shown() -> None:
    with pytest.raises(ValueError, match="no header") as caught:
        AtelierClient(api_key="geheim\u00e9")
    assert "geheim" not in str(caught.value)


def test_a_redirect_to_somebody_else_does_not_take_the_key_along() -> None:
    with scripted(OK) as other, scripted((307, {})) as server:
        server.told = {"Location": other.url}
        AtelierClient(server.url, api_key="secret-key").health()
    assert server.headers[0]["X-API-Key"] == "secret-key"
    assert other.headers[0]["X-API-Key"] is None


def test_a_change_whose_connection_was_lost_is_sent_again_under_the_same_key() -> None:
    running = (409, {"error": {"code": "REQUEST_RUNNING", "message": "", "details": {}}})
    with scripted(None, running, (202, {"message": "done"})) as server, AtelierClient(server.url) as client:
        server.told = {"Retry-After": "1"}
        assert client.scale("a", 2) == {"message": "done"}
        assert client.last_status == 202
        client.scale("a", 2)
        client.scale("a", 2, idempotency_key="mine")
    keys = [headers["Idempotency-Key"] for headers in server.headers]
    assert keys[0] == keys[1] == keys[2] != keys[3]
    assert keys[4] == "mine"


def test_a_deletion_that_may_have_arrived_is_not_sent_again() -> None:
    with scripted(None) as server, AtelierClient(server.url) as client, pytest.raises(AtelierUnreachable):
        client.delete("a")
    assert len(server.seen) == 1


def test_the_client_waits_for_longer_than_the_server_was_told_to() -> None:
    late = socket.create_server(("127.0.0.1", 0))
    with late, AtelierClient(f"http://127.0.0.1:{late.getsockname()[1]}", timeout=0.1, retries=0) as client:

        def answer() -> None:
            connection, _ = late.accept()
            with connection:
                connection.recv(65536)
                time.sleep(0.5)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

        thread = threading.Thread(target=answer)
        thread.start()
        assert client.infer_model("a", {}, timeout=1) == {}
        thread.join()
