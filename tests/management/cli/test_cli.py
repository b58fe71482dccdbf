"""The command line against a real server, with a real Bento to deploy."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from management.cli.main import main
from management.configuration import settings
from management.control.log_lines import fresh
from management.packaging import build as building
from management.packaging import images as imaging
from tests.support.management_servers import KEY, Management, echo_config, managing
from tests.support.servers import ROOT, free_port

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def server(own_echo_bentos: Path) -> Iterator[Management]:
    with managing(own_echo_bentos, ATELIER_START_SECONDS="30", ATELIER_START_ATTEMPTS="1") as found:
        yield found


@pytest.fixture
def run(server: Management, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command against the server, and returns what it wrote, apart for each stream."""
    monkeypatch.setenv("ATELIER_URL", server.url)
    monkeypatch.setenv("ATELIER_API_KEY", KEY)

    def call(*arguments: str, text: str | None = None) -> Result:
        return CliRunner().invoke(main, arguments, input=text)

    return call


@pytest.fixture
def model(run: Run, request: pytest.FixtureRequest) -> Iterator[str]:
    """An echo that is deployed and ready, named after the test."""
    model_id = request.node.name[5:60].lower()
    done = run("deploy", "-", text=json.dumps(echo_config(model_id)))
    assert done.exit_code == 0, done.stderr
    yield model_id
    run("delete", model_id, "--yes", "--force", "--wait")


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home of this process's own settings."""
    monkeypatch.setenv("ATELIER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    settings.cache_clear()
    yield tmp_path / "home"
    settings.cache_clear()


def told(result: Result) -> Any:
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


# What is deployed


def test_life(run: Run, tmp_path: Path) -> None:
    """Deployed from a YAML file and flags, called, scaled, updated, deleted."""
    file = tmp_path / "model.yaml"
    lines = "\n".join(f"  {name}: {json.dumps(value)}" for name, value in echo_config("life", version="0.9").items())
    file.write_text(f"config:\n{lines}\n")
    done = run("deploy", str(file), "--version", "1.0.0", "--image", "tests/echo:1.0.0", "--max", "3", "-e", "A=b=c")
    assert done.exit_code == 0, done.stderr
    assert "Model life is deployed" in done.stdout
    assert "python -m management infer life" in done.stdout
    seen = told(run("status", "life", "--json"))
    assert seen["config"]["scaling_config"]["max_replicas"] == 3
    assert list(seen["config"]["environment_variables"]) == ["A"]
    scaled = told(run("scale", "life", "2", "--wait", "--json"))
    assert scaled["target_replicas"] == 2
    updated = run("update", "life", "--version", "2.0.0", "--image", "tests/echo:2.0.0", "--unset", "A", "--wait")
    assert "Model life is updated" in updated.stdout
    seen = told(run("status", "life", "--json"))
    assert (seen["version"], seen["replicas"]["ready"]) == ("2.0.0", 2)
    assert seen["config"]["environment_variables"] == {}
    told(run("update", "life", "--label", "team=a", "--no-access-authorization", "--strategy", "Recreate", "--json"))
    panel = run("status", "life").stdout
    assert "2.0.0 (revision 2)" in panel, "they make no new revision"
    assert all(shown in panel for shown in ("team=a", "Recreate", "no key for its own address"))
    deleted = run("delete", "life", "--force", "--wait")
    assert "Model life is deleted" in deleted.stdout
    assert [event["action"] for event in told(run("events", "life", "--json", "--limit", "500"))].count("deploy") == 1


def test_views(run: Run, model: str) -> None:
    for arguments in (("list",), ("list", "--all", "--status", "running", "--type", "multimodal")):
        listed = run(*arguments).stdout
        assert model in listed
        assert "running" in listed
    assert model not in run("list", "--status", "failed").stdout
    assert [model["model_id"] for model in told(run("list", "--json"))] == [model]
    panel = run("status", model).stdout
    assert "1 of 1 replicas ready" in panel
    assert "tests/echo:1.0.0" in panel
    assert "deploy" in run("events", model).stdout
    assert told(run("logs", model, "--json"))["model_id"] == model


def test_inference(run: Run, model: str, tmp_path: Path) -> None:
    answer = told(run("infer", model, '{"a": "é"}', "--parameters", '{"b": 1}', "--priority", "high"))
    assert answer["output_data"]["echo"] == {"a": "é"}
    assert answer["output_data"]["parameters"] == {"b": 1}
    (tmp_path / "input.json").write_text('[{"a": 1}, {"input_data": {"a": 2}, "parameters": {"c": 3}}]')
    several = told(run("infer", model, f"@{tmp_path / 'input.json'}", "--batch", "--parameters", '{"b": 1}', "--json"))
    assert [result["output_data"]["echo"]["a"] for result in several] == [1, 2]
    assert [result["output_data"]["parameters"] for result in several] == [{"b": 1}, {"c": 3}]
    refused = json.dumps({"error": {"code": "TOO_ODD", "message": "no \x1b[31mthanks"}})
    failed = run("infer", model, "-", text=refused)
    assert failed.exit_code == 1
    assert failed.stdout == ""
    assert "TOO_ODD, HTTP 422" in failed.stderr
    assert "\x1b" not in failed.stderr
    partly = run("infer", model, f'[{{"a": 1}}, {refused}]', "--batch")
    assert partly.exit_code == 1
    assert "1 of 2 items failed" in partly.stderr
    slow = run("infer", model, '{"sleep": 3}', "--timeout", "1")
    assert "INFERENCE_TIMEOUT" in slow.stderr
    assert "--timeout SECONDS" in slow.stderr


def test_a_failed_deployment_says_why_and_shows_the_logs_end(run: Run) -> None:
    config = echo_config("broken", environment_variables={"ECHO_FAIL": "1"})
    done = run("deploy", "-", text=json.dumps(config))
    assert done.exit_code == 1
    assert done.stdout == ""
    assert "DEPLOYMENT_FAILED" in done.stderr
    assert "ECHO_FAIL says that this start fails" in done.stderr
    assert "failed" in run("status", "broken").stdout
    run("delete", "broken", "--yes", "--force", "--wait")


def test_what_is_not_done_in_time_goes_on(run: Run) -> None:
    config = echo_config("slow", environment_variables={"ECHO_START_SECONDS": "20"})
    done = run("deploy", "-", "--wait-seconds", "1", text=json.dumps(config))
    assert done.exit_code == 1
    assert "it goes on" in done.stderr
    run("delete", "slow", "--yes", "--force")


# Stopping by Ctrl-C


def started(server: Management, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    environment = {**os.environ, "ATELIER_URL": server.url, "ATELIER_API_KEY": KEY, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "management", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": ROOT}
    return subprocess.Popen(command, env=environment, **{**pipes, **options})


def test_following_a_log(server: Management, run: Run, model: str) -> None:
    assert run("infer", model, '{"print": "first \\u001b[31m"}').exit_code == 0
    process = started(server, "logs", model, "-f")
    found = started_line(process, "first")
    assert "\x1b" not in found
    assert run("infer", model, '{"print": "second"}').exit_code == 0
    started_line(process, "second")
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=10)
    assert (process.returncode, errors) == (0, "")
    assert "first" not in rest


def started_line(process: subprocess.Popen[str], wanted: str) -> str:
    """The first line with this text; nothing that does not come is waited for."""
    killer = threading.Timer(20, process.kill)
    killer.start()
    assert process.stdout is not None
    found = next((line for line in process.stdout if wanted in line), None)
    killer.cancel()
    assert found is not None
    return found


def test_ctrl_c_while_waiting_ends_with_130_and_the_deployment_goes_on(server: Management, run: Run) -> None:
    config = echo_config("waited", environment_variables={"ECHO_START_SECONDS": "20"})
    process = started(server, "deploy", "-", stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(json.dumps(config))
    process.stdin.close()
    deadline = time.monotonic() + 20
    while run("status", "waited").exit_code != 0:
        assert time.monotonic() < deadline
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=10) == 130
    assert run("delete", "waited", "--yes", "--force").exit_code == 0
    for pipe in (process.stdout, process.stderr):
        assert pipe is not None
        assert "Traceback" not in pipe.read()
        pipe.close()


# What is refused


def test_the_apis_problems_are_told_field_by_field_in_the_wanted_language(run: Run) -> None:
    done = run("deploy", "--model-id", "NO", "--cpu", "much")
    assert done.exit_code == 1
    assert "INVALID_MODEL_CONFIG, HTTP 400" in done.stderr
    assert "config.resource_requirements.cpu: is not a valid quantity" in done.stderr
    assert "模型配置无效" in run("deploy", "--model-id", "NO", "--language", "zh").stderr


def test_an_unknown_model_and_a_wrong_key_have_hints(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert "management list" in run("status", "nothing").stderr
    monkeypatch.setenv("ATELIER_API_KEY", "another-key")
    refused = run("list")
    assert refused.exit_code == 1
    assert "UNAUTHORIZED" in refused.stderr
    assert "--key-file" in refused.stderr
    (tmp_path / "key").write_text(KEY + "\n")
    assert run("--key-file", str(tmp_path / "key"), "list").exit_code == 0


def test_the_first_key_is_found_and_told_to_this_machine_alone(
    run: Run, server: Management, alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ATELIER_API_KEY")
    alone.mkdir()
    (alone / "admin.key").write_text(KEY + "\n")
    assert "UNAUTHORIZED" in run("list").stderr, "it is a server of another home"
    shutil.copy(server.home / "server.json", alone)
    assert run("list").exit_code == 0
    elsewhere = server.url.replace("127.0.0.1", "0.0.0.0")
    assert "UNAUTHORIZED" in run("list", "--url", elsewhere).stderr


def test_no_server_is_said_with_a_status_of_its_own(run: Run) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    for arguments in (("--url", url, "list"), ("list", "--url", url)):
        done = run(*arguments)
        assert done.exit_code == 3
        assert "management serve" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("deploy",),
        ("deploy", "/nowhere.yaml"),
        ("deploy", "-e", "novalue"),
        ("update", "a"),
        ("scale", "a", "-1"),
        ("infer", "a", "{"),
        ("infer", "a", "[]"),
        ("infer", "a", "{}", "--batch"),
        ("infer", "a", "@/nowhere.json"),
        ("status", "a", "--watch", "--json"),
        ("logs", "a", "-f", "--json"),
        ("build", "nothing"),
        ("build", "--version", "1"),
        ("build", "satellite", "--version", "a b"),
        ("image", "nothing"),
        ("image", "--version", "1"),
        ("keys", "create", "a", "--role", "king"),
        ("keys", "create", "a", "--role", "admin", "--expires", "soon"),
        ("list", "--key-file", "/nowhere.key"),
    ],
    ids=" ".join,
)
def test_a_wrong_call_ends_with_2(run: Run, arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert done.exit_code == 2
    assert done.stdout == ""


@pytest.mark.parametrize("text", ["- 1", "a: 2024-01-01", "a: {", "", "a: .nan", "\x00"])
def test_a_file_that_holds_no_configuration_is_refused(run: Run, text: str) -> None:
    assert run("deploy", "-", text=text).exit_code == 2


@pytest.mark.parametrize("command", [[], *([name] for name in main.commands), ["keys", "create"], ["keys", "revoke"]])
def test_every_command_explains_itself_with_an_example(command: list[str]) -> None:
    done = CliRunner().invoke(main, [*command, "--help"])
    assert done.exit_code == 0
    assert "\n  python -m management" in done.stdout or "python -m management serve" in done.stdout


# On this machine alone


def test_keys(alone: Path) -> None:
    def call(*arguments: str) -> Result:
        return CliRunner().invoke(main, ["keys", *arguments])

    made = told(call("create", "shop", "--role", "operator", "--expires", "30d", "--json"))
    shown = call("create", "eye", "--role", "viewer")
    assert shown.stdout.startswith("atl_")
    assert "eye" in shown.stderr
    assert [model["name"] for model in told(call("list", "--json"))] == ["shop", "eye"]
    assert made["key"] not in call("list").stdout
    assert call("revoke", made["id"]).exit_code == 0
    assert call("revoke", made["id"]).exit_code == 1
    assert {model["name"]: model["state"] for model in told(call("list", "--json"))} == {
        "shop": "revoked",
        "eye": "valid",
    }
    assert (alone / "atelier.db").stat().st_mode & 0o777 == 0o600


def test_keys_without_a_database(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone.mkdir()
    (alone / "atelier.db").write_bytes(b"this is no database at all" * 100)
    done = CliRunner().invoke(main, ["keys", "list"])
    assert done.exit_code == 1
    assert "STORE_UNAVAILABLE" in done.stderr


def test_building(alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = {"echo:1.0.0": True, "echo:2.0.0": False}

    def build(recipe: building.Recipe, tag: Any, store: building.BentoHome) -> bool:
        if str(tag) not in state:
            raise building.BuildError(f"{tag} needs weights:1, which the model store does not have: run make models")
        return state[str(tag)]

    recipe = building.Recipe(tmp_path, tmp_path / "echo.yaml", "echo", ("1.0.0", "2.0.0"), (), (), (), ())
    recipe.file.write_text("")
    monkeypatch.setattr(building, "recipes", lambda: [recipe])
    monkeypatch.setattr(building, "build", build)
    done = CliRunner().invoke(main, ["build", "--json"])
    assert [row["state"] for row in told(done)] == ["built", "up to date"]
    listed = CliRunner().invoke(main, ["build", "--list"])
    assert listed.stdout.count("not built") == 2
    failed = CliRunner().invoke(main, ["build", "echo", "--version", "3.0.0"])
    assert failed.exit_code == 1
    assert "make models" in failed.stderr
    assert "failed" in failed.stdout


@pytest.mark.parametrize("docker_host", ["unix:///nowhere", None])
def test_images_without_an_engine(alone: Path, monkeypatch: pytest.MonkeyPatch, docker_host: str | None) -> None:
    if docker_host is None:
        monkeypatch.setenv("PATH", "/nowhere")
    else:
        monkeypatch.setenv("DOCKER_HOST", docker_host)
    done = CliRunner().invoke(main, ["image", "tcm-diagnosis"])
    assert done.exit_code == 1
    assert "Docker Engine" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_images_are_made_one_after_another_and_told_with_their_size(
    alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = {"atelier/echo:1.0.0": True, "atelier/echo:2.0.0": False}

    def make(store: Any, tag: Any, name: str, watch: Any, *, again: bool) -> tuple[imaging.Image, bool]:
        watch("[1/2] RUN something")
        if name not in made:
            raise imaging.ImageError(f"{name} cannot be made:\nno space left")
        return imaging.Image(name, 123_456_789, ""), made[name] or again

    recipe = building.Recipe(tmp_path, tmp_path / "echo.yaml", "echo", ("1.0.0", "2.0.0"), (), (), (), ())
    monkeypatch.setattr(building, "recipes", lambda: [recipe])
    monkeypatch.setattr(building, "build", lambda *_: False)
    monkeypatch.setattr(imaging, "require_engine", lambda: None)
    monkeypatch.setattr(imaging, "make", make)
    first, second = told(CliRunner().invoke(main, ["image", "--json"]))
    assert first == {"image": "atelier/echo:1.0.0", "size_bytes": 123_456_789, "state": "made"}
    assert second["state"] == "up to date"
    assert CliRunner().invoke(main, ["image", "--again"]).stdout.count("123 MB") == 2
    monkeypatch.setattr(imaging, "push", lambda name, registry: f"{registry}/{name}")
    sent = told(CliRunner().invoke(main, ["image", "--json", "--push", "registry:5000"]))
    assert [(row["image"], row["state"]) for row in sent] == [
        ("registry:5000/atelier/echo:1.0.0", "made, pushed"),
        ("registry:5000/atelier/echo:2.0.0", "up to date, pushed"),
    ]
    failed = CliRunner().invoke(main, ["image", "echo", "--version", "3.0.0"])
    assert failed.exit_code == 1
    assert "no space left" in failed.stderr
    assert "failed" in failed.stdout


@pytest.mark.server
def test_serving_says_where_it_answers_and_refuses_a_used_port(alone: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = CliRunner().invoke(main, ["serve", "--port", str(taken.getsockname()[1])])
    assert done.exit_code == 1
    assert "cannot be used" in done.stderr
    port = free_port()
    command = [sys.executable, "-m", "management", "serve", "--port", str(port)]
    home = tempfile.mkdtemp(prefix="at-")
    environment = {**os.environ, "ATELIER_API_KEY": KEY, "ATELIER_HOME": home, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        said = [process.stdout.readline(), process.stdout.readline()]
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=20)
    shutil.rmtree(home)
    assert f"answers on http://127.0.0.1:{port}/api/v1 " in said[1]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("ATELIER_API_KEY", "short", "a key has 8 to 512"),
        ("ATELIER_OVERCOMMIT", "0.5", "ATELIER_OVERCOMMIT"),
        ("ATELIER_HOME", "/proc/nothing", "No such file or directory: /proc/nothing"),
    ],
)
def test_a_wrong_setting_is_said_in_a_sentence(
    alone: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.chdir(alone.parent)
    monkeypatch.setenv(name, value)
    settings.cache_clear()
    done = CliRunner().invoke(main, ["serve", "--port", str(free_port())])
    assert done.exit_code == 2
    assert said in done.stderr


@pytest.mark.parametrize(
    ("before", "now", "new"),
    [
        ([], ["a"], ["a"]),
        (["a"], ["a"], []),
        (["a", "b"], ["a", "b", "c"], ["c"]),
        (["a", "b"], ["b", "c"], ["c"]),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        (["a", "b"], ["a", "bcd", "e"], ["bcd", "e"]),
        (["c", "d"], ["a", "b", "c", "d", "e"], ["e"]),
        (["a", "a"], ["a", "a", "a"], ["a"]),
        (["a"], [], []),
    ],
)
def test_a_followed_log_shows_each_line_once(before: list[str], now: list[str], new: list[str]) -> None:
    assert list(fresh(before, now)) == new
