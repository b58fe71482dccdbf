"""What nobody should send to the management, and what no model should answer: all of it has an answer of ours."""

from __future__ import annotations

import json
import re
import socket
import stat
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from schemathesis import Response

from tests.support.chains.fuzz import Fuzzed, fuzzed
from tests.support.management_servers import KEY, Management, echo_config, managing

INFER = "/api/v1/models/echo/inference"
DEPLOY = "/api/v1/models/deploy"
VALUE = "a-value-that-nobody-may-see"
SMALL = {"cpu": "1m", "memory": "1Mi"}
RESULT = '{"output_data":{"a":1},"error":null,"confidence":0.5}'
NO_RESULTS = {
    "too few": (200, "[]", "application/json"),
    "too many": (200, f"[{RESULT},{RESULT}]", "application/json"),
    "no list": (200, RESULT, "application/json"),
    "not a number": (200, '[{"output_data":{"a":NaN}}]', "application/json"),
    "beyond a double": (200, '[{"output_data":{},"confidence":1e999}]', "application/json"),
    "text for a number": (200, '[{"output_data":{},"confidence":"1"}]', "application/json"),
    "output and error": (200, '[{"output_data":{},"error":{"code":"X"}}]', "application/json"),
    "neither": (200, "[{}]", "application/json"),
    "a list for an object": (200, '[{"output_data":[1]}]', "application/json"),
    "half a character": (200, '[{"output_data":{"a":"\\ud800"}}]', "application/json"),
    "too deep": (200, f'[{{"output_data":{{"a":{"[" * 500}{"]" * 500}}}}}]', "application/json"),
    "a page": (200, "<html>secret</html>", "text/html"),
    "a broken page": (400, "<html>secret</html>", "text/html"),
    "a trace": (500, "Traceback: secret", "text/plain"),
    "nothing": (204, "", "text/plain"),
    "another place": (307, "secret", "text/plain"),
    "a header without end": (200, "[]", f"text/{'x' * 9000}"),
}
NO_JSON = {
    "nothing": b"",
    "not a number": b'{"input_data":{"a":NaN}}',
    "infinity": b'{"input_data":{"a":-Infinity}}',
    "a key twice": b'{"input_data":{"a":1,"a":2}}',
    "deep": b'{"input_data":{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
    "a long integer": b'{"input_data":{"a":1' + b"0" * 100_000 + b"}}",
    "a large number": b'{"input_data":{"a":1e400}}',
    "half a character": b'{"input_data":{"a":"\\ud800"}}',
    "half a character as a key": b'{"input_data":{"\\udc00":1}}',
    "a mark": b'\xef\xbb\xbf{"input_data":{}}',
    "two bytes a letter": '{"input_data":{}}'.encode("utf-16"),
    "overlong letters": b'{"input_data":{"a":"\xc0\x80"}}',
    "an open end": b'{"input_data":{"a":"',
    "more after the end": b'{"input_data":{}}x',
    "a bare control": b'{"input_data":{"a":"\x00"}}',
}
VARIABLES = (
    "LD_PRELOAD DYLD_X GLIBC_TUNABLES PYTHONPATH PYTHONSTARTUP PATH HOME SHELL BASH_ENV TMPDIR HTTP_PROXY NO_PROXY "
    "SSL_CERT_FILE CURL_CA_BUNDLE PIP_X UV_X GIT_X SSH_X DOCKER_X KUBECONFIG AWS_X GOOGLE_X AZURE_X OTEL_X HF_HOME "
    "CUDA_VISIBLE_DEVICES NVIDIA_X BENTOML_HOME BENTO_CLOUD_API_KEY BENTOCLOUD_X YATAI_X PROMETHEUS_X PORT lower A-B 1A"
)


@pytest.fixture(scope="module")
def api() -> Iterator[Fuzzed]:
    with fuzzed() as running:
        running.deploy_echo()
        yield running


@pytest.fixture(scope="module")
def server(echo_bentos: Path) -> Iterator[Management]:
    """A real one whose ``echo`` has one replica that takes four requests at a time."""
    with managing(echo_bentos, ATELIER_CONCURRENCY="4") as running:
        config = echo_config(environment_variables={"SECRET_OF_THE_MODEL": VALUE}, resource_requirements=SMALL)
        with running.client() as client:
            assert client.post("/models/deploy?wait=60", json={"config": config}).status_code == 200
        yield running


def post(api: Fuzzed, body: bytes, kind: str = "application/json", **headers: str) -> Response:
    told = {"X-API-Key": KEY, "Content-Type": kind, **{name.replace("_", "-"): one for name, one in headers.items()}}
    return api.send(requests.Request("POST", f"http://testserver{INFER}", data=body, headers=told).prepare())


def code(answer: Response) -> str:
    told = json.loads(answer.content)
    assert set(told) == {"status", "error", "timestamp"}
    found: str = told["error"]["code"]
    return found


def problems(api: Fuzzed, **fields: Any) -> set[tuple[str, str]]:
    """What is wrong with a config, but for its Bento, which is not there."""
    config = echo_config("hostile", docker_image="tests/absent:1.0.0") | fields
    answer = api.ask("POST", DEPLOY, {"config": config})
    assert answer.status_code == 400
    told = json.loads(answer.content)["error"]["details"]["problems"]
    return {(one["field"].removeprefix("config."), one["problem"]) for one in told} - {("docker_image", "bento")}


@pytest.mark.parametrize("body", NO_JSON.values(), ids=NO_JSON)
def test_what_is_no_json_is_refused_as_such(api: Fuzzed, body: bytes) -> None:
    answer = post(api, body)
    assert (answer.status_code, code(answer)) == (400, "INVALID_REQUEST")


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-pickle", "application/json, text/html", "*/*"])
def test_bodies_of_other_kinds_are_not_read(api: Fuzzed, kind: str) -> None:
    assert post(api, b'{"input_data":{}}', kind).status_code == 415
    assert post(api, b'{"input_data":{}}', Content_Encoding="gzip").status_code == 415


@pytest.mark.parametrize("raw", NO_RESULTS.values(), ids=NO_RESULTS)
def test_what_is_no_result_of_a_model_is_its_failure(api: Fuzzed, raw: tuple[int, str, str]) -> None:
    answer = api.ask("POST", INFER, {"input_data": {"raw": raw}})
    assert (answer.status_code, code(answer)) == (502, "MODEL_FAILED")
    assert b"secret" not in answer.content


def test_a_models_own_refusal_is_cut_to_what_people_read(api: Fuzzed) -> None:
    raw = (400, json.dumps({"error": "x" * 10**6, "code": "no code"}), "application/json")
    answer = api.ask("POST", INFER, {"input_data": {"raw": raw}})
    assert (answer.status_code, code(answer)) == (422, "INVALID_INPUT")
    assert len(answer.content) < 2000


@pytest.mark.parametrize("name", [*VARIABLES.split(), "", "A\n", "A=B", "Ａ", "A" * 65])
def test_variables_that_steer_the_system_are_refused(api: Fuzzed, name: str) -> None:
    assert {kind for _, kind in problems(api, environment_variables={name: "v"})} == {"variable"}


@pytest.mark.parametrize("value", ["a\0b", "a\nb", "a\rb", "x" * 4097, "é" * 2049])
def test_values_of_variables_are_one_short_line(api: Fuzzed, value: str) -> None:
    assert {kind for _, kind in problems(api, environment_variables={"A": value})} == {"control"}


@pytest.mark.parametrize("text", ["1e400", "0x10", "９", "-1", "+1", "1_0", " 1", "1\n", "", "inf", "1Ei", "1.", "٣"])
def test_quantities_are_written_as_kubernetes_does(api: Fuzzed, text: str) -> None:
    wrong = problems(api, resource_requirements={"cpu": text, "memory": text, "nvidia.com/gpu": text})
    assert {kind for _, kind in wrong} == {"quantity"}
    assert len(wrong) == 3


@pytest.mark.parametrize("model_id", ["а", "é", "ﬁ", "K", "１", "A", "a\n", "a\0", "-a", "a.b", "a/b", "..", "a" * 64])
def test_ids_are_plain_letters(api: Fuzzed, model_id: str) -> None:
    assert problems(api, model_id=model_id) == {("model_id", "pattern")}


@pytest.mark.parametrize(
    "path",
    ["/models/", "//models", "/models/%0aX", "/static/..%2f..%2fmain.py", "/static/%00", "/MODELS", ""],
)
def test_other_ways_to_write_a_path_lead_nowhere(api: Fuzzed, path: str) -> None:
    answer = api.ask("GET", f"/api/v1{path}")
    assert answer.status_code in (404, 405)
    assert code(answer) in ("NOT_FOUND", "METHOD_NOT_ALLOWED")


@pytest.mark.parametrize(
    "headers",
    [
        {"X_API_Key": f"{KEY},{KEY}"},
        {"X_API_Key": KEY.upper()},
        {"X_API_Key": "a" * 10_000},
        {"X_API_Key": "ÿé"},
        {"X_API_Key": KEY, "Authorization": "Bearer another"},
        {"X_API_Key": "", "Authorization": f"Bearer {KEY}"},
        {"Authorization": f"Basic {KEY}"},
        {"Authorization": f"Bearer\t{KEY}"},
        {"Authorization": "Bearer"},
        {"Cookie": f"X-API-Key={KEY}"},
    ],
)
def test_whatever_is_not_one_known_key_is_none(api: Fuzzed, headers: dict[str, str]) -> None:
    assert api.ask("GET", "/api/v1/models", key=None, **headers).status_code == 401


def test_one_deployment_comes_of_many_requests_with_one_idempotency_key(api: Fuzzed) -> None:
    def deploy(_: int) -> Response:
        return api.ask("POST", DEPLOY, {"config": echo_config("once")}, Idempotency_Key="the-same")

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(deploy, range(50)))
    assert {one.status_code for one in answers} == {202}
    assert len({json.loads(one.content)["deployment_id"] for one in answers}) == 1
    other = api.ask("POST", DEPLOY, {"config": echo_config("other")}, Idempotency_Key="the-same")
    assert (other.status_code, code(other)) == (422, "IDEMPOTENCY_KEY_REUSED")


def test_the_documentation_loads_nothing_from_elsewhere(api: Fuzzed) -> None:
    page = api.ask("GET", "/api/v1/docs", key=None).content.decode()
    assert re.findall(r"""(?:src|href)=["'](.)""", page) == ["/"] * len(re.findall(r"(?:src|href)=", page))
    assert "//" not in "".join(re.findall(r"""(?:src|href|url:)\s*[=:]?\s*["']([^"']*)""", page))


@pytest.mark.slow
def test_places_of_callers_who_hang_up_are_free_again(server: Management) -> None:
    sleeping = [begin(server, {"input_data": {"sleep": 2}}) for _ in range(100)]
    time.sleep(0.5)
    for one in sleeping:
        one.close()
    started = time.monotonic()
    with server.client() as client:
        assert client.post("/models/echo/inference", json={"input_data": {}}).status_code == 200
    assert time.monotonic() - started < 30  # 200 seconds' work was asked for, four at a time


@pytest.mark.slow
def test_an_input_that_ends_its_replica_does_not_end_its_model(server: Management) -> None:
    with server.client() as client:
        answer = client.post("/models/echo/inference", json={"input_data": {"crash": True}})
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "MODEL_NOT_READY")
        deadline = time.monotonic() + 30
        while client.post("/models/echo/inference", json={"input_data": {}}).status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.2)


@pytest.mark.slow
def test_a_model_deployed_and_deleted_by_many_at_once_leaves_nothing_behind(server: Management) -> None:
    seen: Counter[int] = Counter()

    def churn(_: int) -> None:
        with server.client() as client:
            for _ in range(2):
                body = {"config": echo_config("churn", resource_requirements=SMALL)}
                seen[client.post("/models/deploy", json=body).status_code] += 1
                seen[client.delete("/models/churn?force=true").status_code] += 1

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(churn, range(20)))
    assert set(seen) <= {202, 404, 409}
    with server.client() as client:
        assert client.delete("/models/churn?force=true&wait=30").status_code in (200, 404)
        assert [one["model_id"] for one in client.get("/models").json()] == ["echo"]
        shown = client.get("/models/echo/status").json()["replica_details"]
    alive = {one["replica_id"] for one in shown if one["state"] in ("starting", "ready", "draining")}
    assert running(server) == alive


@pytest.mark.slow
def test_secrets_are_nowhere_but_where_they_are_needed(server: Management) -> None:
    with server.client("wrong-" + KEY) as client:
        assert client.get("/models").status_code == 401
    files = [file for file in [*server.home.rglob("*"), server.log] if file.is_file()]
    assert {file.name for file in files if KEY.encode() in file.read_bytes()} == set()
    assert {file.name for file in files if VALUE.encode() in file.read_bytes()} <= {"atelier.db", "atelier.db-wal"}
    assert stat.S_IMODE(server.home.stat().st_mode) == 0o700
    secret = [server.home / "atelier.db", *server.home.rglob("token")]
    assert {stat.S_IMODE(file.stat().st_mode) for file in secret} == {0o600}


def begin(server: Management, body: dict[str, Any]) -> socket.socket:
    """A connection on which an inference was asked for."""
    host, port = server.url.removeprefix("http://").split(":")
    data = json.dumps(body).encode()
    head = f"POST {INFER} HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\nContent-Type: application/json\r\n"
    connection = socket.create_connection((host, int(port)))
    connection.sendall(head.encode() + f"Content-Length: {len(data)}\r\n\r\n".encode() + data)
    return connection


def running(server: Management) -> set[str]:
    """The ids of the replicas whose processes run."""
    found = subprocess.run(
        ["pgrep", "-af", f"replica/host.py {server.home}"], capture_output=True, check=False, text=True
    )
    return {Path(line.split()[-1]).name for line in found.stdout.splitlines()}
