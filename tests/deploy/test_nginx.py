"""deploy/nginx.conf: who gets what, what is passed on, and what callers are told."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from management.api.application import BATCH_BYTES
from management.backends.replica.host import KEY_HEADER
from runners.registry import BODY_BYTES, DOCUMENT_BYTES, LIST_BYTES, MODELS
from tests.deploy.nginx_server import DEPLOY, PORTS, Nginx, Replica, answering, nginx, raw, require

pytestmark = pytest.mark.docker

PATHS = {route.path: row.bento for row in MODELS for route in row.routes} | {
    "/health": "summarization",
    "/api/v1/models": "atelier",
    "/api/v1": "atelier",
    "/models/hello/greet": "atelier",
}
ONE = "127.0.0.2"
MIB = 1024 * 1024
TEXT = {"text": "A long text. It has sentences."}


@pytest.mark.parametrize(("path", "service"), PATHS.items(), ids=PATHS)
def test_port_80_has_every_documented_path(front: Nginx, caller: httpx.Client, path: str, service: str) -> None:
    with front.running(service, Replica(ONE)):
        answer = caller.post(path, params={"lang": "en"}, json=TEXT)
    assert answer.status_code == 200, answer.text
    assert answer.json()["path"] == f"{path}?lang=en"


@pytest.mark.parametrize("service", sorted(PORTS.keys() - {"atelier"}))  # which publishes its own
def test_a_services_own_port_has_all_of_its_paths(front: Nginx, service: str) -> None:
    with front.running(service, Replica(ONE)), front.client(PORTS[service]) as client:
        for path in ("/infer", "/docs", "/metrics", "/readyz", "/livez", "/health", "/classify/batch", "/"):
            assert client.get(path).json()["path"] == path


@pytest.mark.parametrize("service", PORTS)
def test_port_80_says_how_each_service_is(front: Nginx, caller: httpx.Client, service: str) -> None:
    with front.running(service, Replica(ONE)):
        assert caller.get(f"/health/{service}").json()["path"] == "/health"


@pytest.mark.parametrize("path", ["/", "/metrics", "/docs", "/infer", "/health/other", "/classifyx", "/diagnose/x"])
def test_port_80_has_nothing_else(caller: httpx.Client, path: str) -> None:
    answer = caller.get(path)
    assert (answer.status_code, answer.json()) == (404, {"error": "Endpoint not found", "code": "NOT_FOUND"})


def test_nginx_itself_lives_without_any_service(caller: httpx.Client) -> None:
    assert caller.get("/livez").json() == {"status": "healthy"}


def test_the_documented_headers_are_passed(front: Nginx, caller: httpx.Client) -> None:
    with front.running("summarization", Replica(ONE)):
        answer = caller.post("/summarize/text", json=TEXT, headers={"X-Forwarded-For": "192.0.2.1", "Host": "models"})
    headers = answer.json()["headers"]
    assert headers["host"] == "models"
    assert headers["x-real-ip"] == "127.0.0.1"
    assert headers["x-forwarded-for"] == "192.0.2.1, 127.0.0.1"
    assert headers["x-forwarded-proto"] == "http"


def test_what_only_a_door_may_say_is_not_taken_from_callers(front: Nginx, caller: httpx.Client) -> None:
    given = {"Forwarded": "for=192.0.2.1", "X-Forwarded-Host": "evil", "X-Atelier-Replica-Key": "guessed"}
    given |= {"X-Real-IP": "192.0.2.1", "X-Forwarded-Proto": "https"}
    with front.running("summarization", Replica(ONE)):
        headers = caller.post("/summarize/text", json=TEXT, headers=given).json()["headers"]
    assert not headers.keys() & {"forwarded", "x-forwarded-host", KEY_HEADER}
    assert (headers["x-real-ip"], headers["x-forwarded-proto"]) == ("127.0.0.1", "http")


def test_a_refused_head_is_told_in_the_shape_of_its_path(front: Nginx) -> None:
    refused = raw(front.ports[80], b"GET /api/v1/models HTTP/1.1\r\nHost: a\r\nx: " + b"a" * 40_000 + b"\r\n\r\n")
    assert json.loads(refused.partition(b"\r\n\r\n")[2])["error"]["code"] == "INVALID_INPUT"


@pytest.mark.parametrize("given", ["abc-1", "a" * 64, "A.b_c-9"])
def test_a_callers_request_id_is_kept(front: Nginx, caller: httpx.Client, given: str) -> None:
    with front.running("summarization", Replica(ONE)):
        answer = caller.post("/summarize/text", json=TEXT, headers={"X-Request-ID": given})
    assert answer.json()["headers"]["x-request-id"] == given
    assert answer.headers.get_list("x-request-id") == [given]


@pytest.mark.parametrize("given", ["", "a" * 65, "a b", 'a"b', "é", "a/b"])
def test_another_request_id_is_made_where_the_callers_could_do_harm(
    front: Nginx, caller: httpx.Client, given: str
) -> None:
    with front.running("summarization", Replica(ONE)):
        answer = caller.post("/summarize/text", json=TEXT, headers=[(b"X-Request-ID", given.encode())])
    made = answer.json()["headers"]["x-request-id"]
    assert len(made) == 32
    assert made.isalnum()
    assert answer.headers["x-request-id"] == made


def test_16_mib_pass_and_21_mb_are_too_large(front: Nginx, caller: httpx.Client) -> None:
    with front.running("summarization", Replica(ONE)):
        passed = caller.post("/summarize/file", content=bytes(16 * MIB))
        refused = caller.post("/summarize/file", content=bytes(21_000_000))
    assert passed.json()["bytes"] == 16 * MIB
    assert refused.status_code == 413
    assert refused.json() == {"error": "The body is too large", "code": "PAYLOAD_TOO_LARGE"}
    assert refused.headers["content-type"] == "application/json"


LARGEST = {
    "/summarize/file": DOCUMENT_BYTES,
    "/classify": BODY_BYTES,
    "/embed": BODY_BYTES,
    "/classify/batch": LIST_BYTES,
    "/embed/batch": LIST_BYTES,
    "/api/v1/models/batch": BATCH_BYTES,
}


@pytest.mark.parametrize(("path", "size"), LARGEST.items(), ids=LARGEST)
def test_what_a_service_takes_passes_nginx(front: Nginx, caller: httpx.Client, path: str, size: int) -> None:
    service = next(found for start, found in PATHS.items() if path.startswith(start))
    with front.running(service, Replica(ONE)):
        assert caller.post(path, content=bytes(size)).json()["bytes"] == size


def test_the_managements_errors_have_the_managements_shape(caller: httpx.Client) -> None:
    for answer, code in (
        (caller.get("/api/v1/models"), "UPSTREAM_FAILED"),
        (caller.post("/api/v1/models/deploy?wait=1", content=bytes(65 * MIB)), "PAYLOAD_TOO_LARGE"),
    ):
        told = answer.json()
        assert told["status"] == "error"
        assert told["error"]["code"] == code
        assert told["error"]["message"]
        assert told["error"]["details"] == {}
        time.strptime(told["timestamp"], "%Y-%m-%dT%H:%M:%S." + told["timestamp"][20:23] + "Z")


def test_a_service_that_does_not_run_is_502(caller: httpx.Client) -> None:
    answer = caller.post("/classify", json={})
    assert answer.status_code == 502
    assert answer.json() == {"error": "The service does not answer", "code": "UPSTREAM_FAILED"}


@pytest.mark.parametrize(
    ("request_bytes", "status", "code"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400, "INVALID_INPUT"),
        (b"\x16\x03\x01\x02\r\n\r\n", 400, "INVALID_INPUT"),
        (b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414, "INVALID_INPUT"),
        (b"GET /health HTTP/1.1\r\nHost: a\r\nx: " + b"a" * 40_000 + b"\r\n\r\n", 400, "INVALID_INPUT"),
        (b"TRACE /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 405, "METHOD_NOT_ALLOWED"),
    ],
    ids=["no host", "TLS", "long path", "long header", "TRACE"],
)
def test_what_is_no_request_of_ours_is_told_so_in_our_shape(
    front: Nginx, request_bytes: bytes, status: int, code: str
) -> None:
    head, _, body = raw(front.ports[80], request_bytes).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert json.loads(body)["code"] == code


@pytest.mark.parametrize("status", [400, 404, 413, 429, 500, 502, 503, 504])
def test_a_services_own_errors_pass_as_they_are(front: Nginx, caller: httpx.Client, status: int) -> None:
    body = b'{"error":"in its own words","code":"ITS_OWN"}'
    replica = Replica(ONE, answering(status, body))
    with front.running("summarization", replica):
        answer = caller.post("/summarize/text", json=TEXT)
    assert (answer.status_code, answer.content) == (status, body)
    assert len(replica.asked) == 1


def test_an_archive_of_a_bento_may_be_larger_than_any_other_body(front: Nginx, caller: httpx.Client) -> None:
    with front.running("atelier", Replica(ONE)):
        assert caller.post("/api/v1/bentos", content=bytes(65 * MIB)).status_code == 200
        assert caller.post("/api/v1/models/deploy", content=bytes(65 * MIB)).status_code == 413


def test_who_sends_slowly_is_cut_off(tmp_path: Path) -> None:
    with nginx(tmp_path, client_header_timeout="1s", client_body_timeout="1s") as front:
        started = time.monotonic()
        assert raw(front.ports[80], b"POST /diagnose HTTP/1.1\r\nHost: a\r\n") == b""
        late = raw(front.ports[80], b"POST /diagnose HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{")
        assert time.monotonic() - started < 5
    assert late == b"" or json.loads(late.partition(b"\r\n\r\n")[2])["code"] == "REQUEST_TIMEOUT"


def test_the_shipped_timeouts_are_those_of_the_document() -> None:
    text = (DEPLOY / "nginx.conf").read_text().split("\n")
    said = {line.split()[0]: line.split()[1] for line in text if line.startswith("    proxy_") and "timeout" in line}
    assert said == {"proxy_connect_timeout": "60s;", "proxy_send_timeout": "60s;", "proxy_read_timeout": "300s;"}


def test_headers_protect_and_tell_no_version(front: Nginx, caller: httpx.Client) -> None:
    with front.running("summarization", Replica(ONE)):
        answers = [caller.post("/summarize/text", json=TEXT), caller.get("/nothing"), caller.post("/classify")]
    for answer in answers:
        assert answer.headers["server"] == "nginx"
        for name, value in (
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
        ):
            assert answer.headers.get_list(name) == [value]


def test_each_request_is_a_line_of_json_and_probes_are_none(front: Nginx, caller: httpx.Client) -> None:
    def told(line: bytes, identity: bytes) -> None:
        raw(front.ports[80], line + b"\r\nHost: a\r\nConnection: close\r\nX-Request-ID: " + identity + b"\r\n\r\n")

    with front.running("summarization", Replica(ONE)):
        caller.get("/health", headers={"X-Request-ID": "line-0"})
        caller.get("/livez", headers={"X-Request-ID": "line-0"})
        caller.post("/summarize/text?key=secret", json=TEXT, headers={"X-Request-ID": "line-1"})
    told(b'GET /a%0a"\\ HTTP/1.1', b"line-2")
    told(b"GET /\xc2\x9b HTTP/1.1", b"line-3")
    deadline = time.monotonic() + 10
    while "line-3" not in (lines := {line["request_id"]: line for line in front.log()}):
        assert time.monotonic() < deadline
    assert "line-0" not in lines
    assert [(lines[f"line-{number}"]["path"], lines[f"line-{number}"]["status"]) for number in (1, 2, 3)] == [
        ("/summarize/text", 200),
        ('/a%0a"\\', 404),
        ("", 404),
    ]
    assert lines["line-1"]["upstream"].startswith(ONE)
    assert lines["line-1"]["seconds"] < 10


def test_https_is_a_file_more(tmp_path: Path) -> None:
    require("openssl")
    (tmp_path / "ssl").mkdir()
    key, certificate = tmp_path / "ssl" / "privkey.pem", tmp_path / "ssl" / "fullchain.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost -days 1"
    subprocess.run([*command.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    with (
        nginx(tmp_path, tls=True) as front,
        front.running("summarization", Replica(ONE)),
        front.client(443, "https") as client,
    ):
        answer = client.post("/summarize/text", json=TEXT)
    assert answer.json()["headers"]["x-forwarded-proto"] == "https"
