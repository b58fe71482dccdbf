"""``atelier call``: any request to a model's own address, from the shell and from a program."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from client import AtelierClient, AtelierError
from management.cli.main import main
from tests.support.calls import deploy
from tests.support.management_servers import KEY, Management, managing
from tests.support.servers import ROOT

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def server(echo_bentos: Path) -> Iterator[Management]:
    with managing(echo_bentos) as found, found.client() as api:
        deploy(api).raise_for_status()
        yield found


@pytest.fixture
def run(server: Management, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("ATELIER_URL", server.url)
    monkeypatch.setenv("ATELIER_API_KEY", KEY)
    return lambda *arguments: CliRunner().invoke(main, ["call", *arguments])


def test_a_body_is_sent_as_json_and_the_answer_is_shown(run: Run) -> None:
    result = run("echo", "/infer", "-d", '{"requests": [{"input_data": {"n": 1}}]}')
    assert (result.exit_code, '"echo": {"n": 1}' in result.stdout) == (0, True), result.output


def test_without_a_body_it_reads(run: Run) -> None:
    result = run("echo", "schema.json", "-i")
    assert result.exit_code == 0
    assert '"routes"' in result.stdout
    assert "x-atelier-revision: 1" in result.stderr


def test_an_answer_goes_to_a_file(run: Run, tmp_path: Path) -> None:
    assert run("echo", "/livez", "-o", str(tmp_path / "answer")).exit_code == 0
    assert (tmp_path / "answer").read_bytes() == b"\n"


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("echo", "/nowhere"), 1, "the model answered 404"),
        (("nobody", "/"), 1, "MODEL_NOT_FOUND"),
        (("echo", "/infer", "-d", "@/nowhere"), 2, "No such file"),
        (("echo", "/", "-H", "no colon"), 2, "NAME: VALUE"),
        (("echo", "/", "-F", "nothing"), 2, "NAME=TEXT"),
        (("echo", "/", "-d", "a", "-F", "b=c"), 2, "not both"),
        (("echo", "/infer", "-d", "{}", "--timeout", "100000"), 1, "INVALID_REQUEST"),
    ],
)
def test_what_fails_has_a_status_and_a_reason(run: Run, arguments: tuple[str, ...], status: int, said: str) -> None:
    result = run(*arguments)
    assert result.exit_code == status, result.output
    assert said in result.stderr


def test_a_stream_is_shown_as_it_comes(server: Management) -> None:
    command = [sys.executable, "-m", "management", "call", "echo", "/ticks", "-d", '{"count": 600, "seconds": 0.1}']
    environment = {**os.environ, "ATELIER_URL": server.url, "ATELIER_API_KEY": KEY}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read(9) == b"data: 0\n\n"  # the last of the events is a minute away
        process.kill()


def test_the_client_tells_the_models_errors_from_those_of_the_server(server: Management) -> None:
    with AtelierClient(server.url, api_key=KEY) as client:
        answer = client.call_model("echo", "/infer", json={"requests": "none"}, timeout=5, priority="high")
        assert answer.status_code == 400
        with pytest.raises(AtelierError) as caught:
            client.call_model("nobody", "/infer", json={})
        assert caught.value.code == "MODEL_NOT_FOUND"


def test_the_client_streams(server: Management) -> None:
    with AtelierClient(server.url, api_key=KEY) as client:
        answer = client.call_model("echo", "/ticks", json={"count": 600, "seconds": 0.1}, stream=True)
        with answer:
            assert next(answer.iter_lines()) == b"data: 0"
