"""Bentos of the gallery, brought from their folders to a server with an empty store by the command line alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner, Result

from management.cli.main import main
from tests.e2e.gallery.bentos import GALLERY, Listed
from tests.e2e.gallery.readmes import EXAMPLES
from tests.e2e.gallery.steady import Steady, call, caller
from tests.support.calls import until
from tests.support.management_servers import KEY, Management, managing
from tests.support.running.effort import effort

pytestmark = pytest.mark.slow
LEAST = ("--cpu", "100m", "--memory", "128Mi")
CHANGES = {
    "hello": ('f"Hello, {name}!"', 'f"Good day, {name}!"', "Good day, Ada!"),
    "iris": ("[str(name) for", "[str(name).upper() for", '["SETOSA"]'),
    "stream": ('yield f"{number}\\n"', 'yield f"{number}!\\n"', "1!\n2!\n3!\n"),
}
"""What an author changes in the service of a Bento, and what its request is answered then."""
CHANGED = effort(tuple(CHANGES), ("hello",))
Run = Callable[..., Result]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Management]:
    with managing(tmp_path_factory.mktemp("empty")) as running:
        yield running


@pytest.fixture
def run(server: Management, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command as its author would beside the folder ``examples``, with a Bento store of their own."""
    monkeypatch.setenv("ATELIER_URL", server.url)
    monkeypatch.setenv("ATELIER_API_KEY", KEY)
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "mine"))
    shutil.copytree(EXAMPLES / "bentos", tmp_path / "examples" / "bentos", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(main, arguments)


def answer(server: Management, listed: Listed) -> httpx.Response:
    with caller(server, listed) as client:
        return call(client, listed)


@pytest.mark.parametrize(
    "listed", [listed for listed in GALLERY if listed.name in CHANGED], ids=lambda listed: listed.name
)
def test_a_folder_is_deployed_and_updated_under_load_by_a_command_each(
    listed: Listed, run: Run, server: Management
) -> None:
    folder = f"examples/bentos/{listed.name}"
    deployed = run("deploy", folder, "--model-id", listed.name, *LEAST)
    assert deployed.exit_code == 0, deployed.stderr
    before, now, changed = CHANGES[listed.name]
    first = answer(server, listed)
    assert first.is_success
    assert first.text != changed
    service = Path(folder, "service.py")
    assert before in service.read_text()
    service.write_text(service.read_text().replace(before, now))
    with Steady(server, listed) as steady:
        until(lambda: steady.answers["1"] >= 5 or steady.failures)
        updated = run("update", listed.name, folder)
        until(lambda: steady.answers["2"] >= 5 or steady.failures or updated.exit_code)
    assert updated.exit_code == 0, updated.stderr
    assert not steady.failures, steady.failures[:3]
    assert answer(server, listed).text == changed
    status = json.loads(run("status", listed.name, "--json").stdout)
    assert (status["status"], status["revision"]) == ("running", 2)
    assert len(json.loads(run("bentos", "--name", listed.name, "--json").stdout)) == 2
    assert run("delete", listed.name, "--yes").exit_code == 0
