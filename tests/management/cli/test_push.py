"""Bentos of a user's own, from the command line to a real server."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from management.cli.bentos.sources import Kind, Source, source_of
from management.cli.main import main
from management.cli.models._from_bento import suggested_by
from tests.support.bentos.bento_archives import files, tar
from tests.support.management_servers import ECHO, KEY, Management, managing
from tests.support.servers import ROOT

pytestmark = pytest.mark.server
Run = Callable[..., Result]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Management]:
    with managing(tmp_path_factory.mktemp("store")) as running:
        yield running


@pytest.fixture
def run(server: Management, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Runs a command against the server, in a folder with a service and with a Bento store of its own."""
    monkeypatch.setenv("ATELIER_URL", server.url)
    monkeypatch.setenv("ATELIER_API_KEY", KEY)
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "mine"))
    shutil.copytree(ECHO, tmp_path / "echo", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.chdir(tmp_path / "echo")

    def call(*arguments: str) -> Result:
        return CliRunner().invoke(main, arguments)

    yield call
    with server.client() as api:
        for model in api.get("/models").json():
            api.delete(f"/models/{model['model_id']}", params={"force": True, "wait": 60})
        for bento in api.get("/bentos").json():
            api.delete(f"/bentos/{bento['name']}/{bento['version']}")


def test_a_folder_is_built_pushed_and_deployed_in_one_command(run: Run) -> None:
    done = run("deploy", ".", "--model-id", "mine", "--version", "1.0.0", "--memory", "128Mi", "--cpu", "100m")
    assert done.exit_code == 0, done.stderr
    steps = [line.split()[0] for line in done.stderr.splitlines()]
    assert steps[:4] == ["Building", "Packing", "Sending", "Unpacking"]
    about = json.loads(run("status", "mine", "--json").stdout)
    assert (about["status"], about["version"], about["name"]) == ("running", "1.0.0", "Echo")
    assert about["config"]["docker_image"] == "bentos/echo:1.0.0"
    assert json.loads(run("infer", "mine", '{"x": 1}').stdout)["output_data"]["echo"] == {"x": 1}
    again = run("deploy", ".", "--model-id", "mine", "--version", "1.0.1")
    assert again.exit_code == 1
    assert "update is the command for it: " in again.stderr
    assert " update mine .\n" in again.stderr
    assert "Building" not in again.stderr
    refused = run("bentos", "delete", "echo:1.0.0", "--yes")
    assert refused.exit_code == 1
    assert "BENTO_IN_USE" in refused.stderr
    assert "models: mine" in refused.stderr


@pytest.mark.parametrize(
    ("bento", "answered"), [("stream", "1\n2\n3\n4\n5\n"), ("task", '"status":"in_progress"')], ids=["stream", "task"]
)
def test_the_command_that_a_deployment_shows_calls_streams_and_tasks(run: Run, bento: str, answered: str) -> None:
    done = run("deploy", str(ROOT / "examples" / "bentos" / bento), "--model-id", bento)
    assert done.exit_code == 0, done.stderr
    shown = next(line for line in done.stdout.splitlines() if f" call {bento} " in line)
    called = run(*shlex.split(shown[shown.index("call ") :]))
    assert (called.exit_code, answered in called.stdout) == (0, True), called.output


def test_a_model_that_has_written_nothing_has_its_logs_shown_so(run: Run) -> None:
    run("deploy", str(ROOT / "examples" / "bentos" / "hello"), "--model-id", "hello")
    silent = run("logs", "hello")
    assert (silent.exit_code, silent.stdout, silent.stderr) == (0, "", "No replica has written a line\n")


def test_a_folder_is_built_pushed_and_takes_the_place_of_what_serves_in_one_command(run: Run, tmp_path: Path) -> None:
    absent = run("update", "echo", ".")
    assert (absent.exit_code, "Building" in absent.stderr) == (1, False)
    assert " deploy . --model-id echo\n" in absent.stderr
    run("deploy", ".", "--version", "1.0.0", "--memory", "128Mi", "--cpu", "100m", "-e", "ECHO_VERSION=first")
    service = tmp_path / "echo" / "echo_service.py"
    service.write_text(service.read_text() + "# changed\n")
    done = run("update", "echo", ".", "-e", "KEPT=1")
    assert done.exit_code == 0, done.stderr
    steps = [line.split()[0] for line in done.stderr.splitlines()]
    assert steps[:4] == ["Building", "Packing", "Sending", "Unpacking"]
    assert any(step == "echo:" for step in steps[4:]), "it waits, and shows the model's progress in the same display"
    about = json.loads(run("status", "echo", "--json").stdout)
    assert (about["status"], about["revision"], about["name"]) == ("running", 2, "Echo")
    assert about["version"] != "1.0.0", "BentoML named it"
    assert about["config"]["docker_image"] == f"bentos/echo:{about['version']}"
    assert set(about["config"]["environment_variables"]) == {"ECHO_VERSION", "KEPT"}
    assert about["config"]["resource_requirements"]["memory"] == "128Mi"


def test_an_update_takes_a_tag_or_an_archive_and_its_other_options(run: Run, tmp_path: Path) -> None:
    run("deploy", ".", "--version", "1.0.0", "--memory", "128Mi", "--cpu", "100m")
    run("push", ".", "--version", "2.0.0")
    by_tag = run("update", "echo", "echo:2.0.0", "--max", "3", "--no-wait", "--json")
    assert by_tag.exit_code == 0, by_tag.stderr
    config = json.loads(run("status", "echo", "--json").stdout)["config"]
    assert (config["docker_image"], config["scaling_config"]["max_replicas"]) == ("bentos/echo:2.0.0", 3)
    assert run("update", "echo", ".", "--image", "bentos/echo:1.0.0").exit_code == 2
    archive = tmp_path / "hello.bento"
    archive.write_bytes(tar(files()))
    by_file = run("update", "echo", str(archive), "--version", "7", "--no-wait")
    assert by_file.exit_code == 0, by_file.stderr
    assert json.loads(run("status", "echo", "--json").stdout)["config"]["docker_image"] == "bentos/hello:1.0.0"


def test_the_server_refuses_what_a_bento_is_called_by_itself_with_the_command_for_it(run: Run) -> None:
    run("deploy", ".", "--version", "1.0.0", "--memory", "128Mi", "--cpu", "100m")
    again = run("deploy", "echo:1.0.0")
    assert again.exit_code == 1
    assert "MODEL_ALREADY_EXISTS" in again.stderr
    assert " update echo FOLDER|TAG|FILE" in again.stderr


@pytest.mark.parametrize(
    ("labels", "chosen"),
    [
        ({}, ("custom", "bentoml")),
        ({"model_type": "not a word", "framework": "F!"}, ("custom", "bentoml")),
        ({"model_type": "sentiment", "framework": "sklearn"}, ("sentiment", "sklearn")),
    ],
)
def test_a_bento_has_its_own_labels_and_otherwise_the_free_ones(
    labels: dict[str, str], chosen: tuple[str, str]
) -> None:
    described = {"name": "echo", "version": "1", "service": "Echo", "docker_image": "bentos/echo:1"}
    flags = suggested_by({**described, "labels": labels, "resources": {}})
    assert (flags["model_type"], flags["framework"]) == chosen


def test_a_bento_is_pushed_by_folder_tag_and_file_and_sent_once(run: Run, tmp_path: Path) -> None:
    first = run("push", ".", "--version", "1.0.0")
    assert first.exit_code == 0, first.stderr
    assert first.stdout.startswith("echo:1.0.0 is in the store\n")
    for tag in ("echo:1.0.0", "echo"):
        again = run("push", tag)
        assert again.stdout.startswith("echo:1.0.0 was in the store already\n")
        assert "Sending" not in again.stderr
    archive = tmp_path / "hello.bento"
    archive.write_bytes(tar(files()))
    assert json.loads(run("push", str(archive), "--json").stdout)["tag"] == "hello:1.0.0"
    archive.write_bytes(tar({**files(), "src/service.py": b"other"}))
    taken = run("push", str(archive))
    assert taken.exit_code == 1
    assert "BENTO_ALREADY_EXISTS" in taken.stderr
    assert "hint: give it a new version" in taken.stderr


def test_bentos_are_listed_shown_and_deleted(run: Run) -> None:
    run("push", ".", "--version", "1.0.0")
    assert run("bentos").stdout.splitlines()[1].startswith("echo:1.0.0")
    assert [bento["tag"] for bento in json.loads(run("bentos", "--json", "--name", "echo").stdout)] == ["echo:1.0.0"]
    assert "/infer" in run("bentos", "show", "echo:1.0.0").stdout
    assert json.loads(run("bentos", "show", "echo:1.0.0", "--json").stdout)["apis"][0]["name"] == "infer"
    assert run("bentos", "delete", "echo:1.0.0", "--yes").exit_code == 0
    missing = run("bentos", "show", "echo:1.0.0")
    assert (missing.exit_code, "BENTO_NOT_FOUND" in missing.stderr) == (1, True)
    assert run("bentos", "show", "echo").exit_code == 2


def test_the_whole_store_is_imported_and_what_is_there_is_skipped(run: Run) -> None:
    assert run("import").exit_code == 1  # an empty store
    run("push", ".", "--version", "1.0.0")
    own = Path(os.environ["BENTOML_HOME"], "bentos", "echo")
    shutil.copytree(own / "1.0.0", own / "1.1.0")
    text = (own / "1.1.0" / "bento.yaml").read_text()
    (own / "1.1.0" / "bento.yaml").write_text(text.replace("version: 1.0.0", "version: 1.1.0"))
    (own / "1.2.0").mkdir()
    (own / "1.2.0" / "bento.yaml").write_text("nothing: here")
    done = run("import", "--json")
    states = {row["tag"]: row["state"] for row in json.loads(done.stdout)}
    assert states == {"echo:1.0.0": "there already", "echo:1.1.0": "pushed", "echo:1.2.0": "failed"}
    assert done.exit_code == 1


def test_what_cannot_be_pushed_is_said(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    assert "nothing to build" in run("push", str(tmp_path / "empty")).stderr
    assert "is not in the Bento store" in run("push", "absent:1.0.0").stderr
    assert run("push", str(tmp_path / "absent.yaml")).exit_code == 2
    assert run("push", "echo:1.0.0", "--version", "2").exit_code == 2
    (tmp_path / "echo" / "echo_service.py").write_text("raise RuntimeError('broken')")
    failed = run("push", ".")
    assert failed.exit_code == 1
    assert "bentoml build failed" in failed.stderr
    assert run("deploy", ".", "--image", "x/y:1").exit_code == 2
    monkeypatch.setenv("ATELIER_URL", "http://127.0.0.1:1")
    away = run("push", ".")
    assert (away.exit_code, "Building" in away.stderr) == (3, False)


def test_a_source_is_told_from_a_configuration(tmp_path: Path) -> None:
    archive, config = tmp_path / "hello.tar.gz", tmp_path / "model.yaml"
    archive.write_bytes(tar(files(), compression="gz"))
    config.write_text("model_id: a\n")
    kinds = {text: source.kind if (source := source_of(text)) else None for text in (str(archive), str(tmp_path))}
    assert kinds == {str(archive): Kind.ARCHIVE, str(tmp_path): Kind.FOLDER}
    assert [source_of(text) for text in (str(config), "-", "absent.yaml", "a/b:1")] == [None] * 4
    assert [source_of(text) for text in ("hello", "hello:1.0.0")] == [
        Source(Kind.TAG, "hello"),
        Source(Kind.TAG, "hello:1.0.0"),
    ]
