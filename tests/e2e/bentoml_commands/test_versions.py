"""Older programs of BentoML 1.4 do the same here: the oldest, and two between it and the one that other tests run."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from tests.support.bentos.program import MENU, Program, user_home
from tests.support.calls import quick, until
from tests.support.management_servers import KEY
from tests.support.running.effort import effort
from tests.support.running.sharing import made_once
from tests.support.servers import ROOT

pytestmark = [pytest.mark.server, pytest.mark.slow]

OLDEST = "1.4.0"
VERSIONS = effort((OLDEST, "1.4.19", "1.4.30"), (OLDEST, "1.4.30"))
NEEDED = ("setuptools<81", "pip", "uv")
"""What old versions use and do not ask for."""
START_SECONDS = 180
"""Seconds in which an environment with that version is made, too."""
BAD = """
import bentoml

@bentoml.service
class Bad:
    def __init__(self) -> None:
        raise RuntimeError("no weights")
"""


@pytest.fixture(scope="module", params=VERSIONS)
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A user who has that version, and a server without any Bento."""
    version: str = request.param

    def installed(folder: Path) -> None:
        uv = [sys.executable, "-m", "uv"]
        subprocess.run([*uv, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
        python = str(folder / "bin" / "python")
        subprocess.run(
            [*uv, "pip", "install", "--quiet", "--python", python, f"bentoml=={version}", *NEEDED], check=True
        )

    folder = made_once(f"bentoml-{version}", installed)
    home = tmp_path_factory.mktemp("user")
    shutil.copytree(made_once("user", user_home), home, symlinks=True, dirs_exist_ok=True)
    with quick(tmp_path_factory.mktemp("store")) as server:
        yield Program(home, server.url, python=str(folder / "bin" / "python"))


def test_a_deployment_lives_and_ends(program: Program, tmp_path: Path) -> None:
    assert "Logged in as" in program.run("cloud", "login").text
    program.run("secret", "create", "hf", "HF_TOKEN=hf_abc")
    program.run("deploy", "taught:1.0.0", "-n", "lesson", "--env", "LESSON=1", "--secret", "hf", "--no-wait")
    until(lambda: program.status("lesson") == "running")
    program.run("deployment", "update", "lesson", "--scaling-min", "0", "--scaling-max", "2")
    told = program.deployment("lesson")
    assert told["config"]["envs"] == [{"name": "LESSON", "value": "1"}]
    assert httpx.post(f"{told['endpoint_urls'][0]}/recite", json={}, headers={"X-API-Key": KEY}).text == "Look twice."
    (listed,) = program.json("deployment", "list")
    assert listed["bento"] == told["bento"] == "taught:1.0.0"
    other = replace(program, home=tmp_path)
    other.run("pull", "taught:1.0.0")
    assert (tmp_path / "bentos" / "taught" / "1.0.0" / "bento.yaml").is_file()
    program.run("deployment", "terminate", "lesson")
    until(lambda: program.status("lesson") == "terminated")
    program.run("deployment", "delete", "lesson")
    until(lambda: program.json("deployment", "list") == [])
    program.run("secret", "delete", "hf")


@pytest.mark.parametrize("program", [OLDEST], indirect=True)  # an environment for what it builds takes long
def test_what_it_builds_is_deployed_and_a_failure_is_told(program: Program, tmp_path: Path) -> None:
    hello = ROOT / "examples" / "bentos" / "hello"
    assert "is ready" in program.run("deploy", ".", "-n", "hello", cwd=hello).text
    program.run("deployment", "delete", "hello")
    (tmp_path / "service.py").write_text(BAD)
    failed = program.run("deploy", ".", "-n", "bad", cwd=tmp_path, check=False)
    assert failed.status == 1
    assert "no weights" in failed.text


def test_what_is_saved_in_a_codespace_is_what_answers(program: Program, tmp_path: Path) -> None:
    source = tmp_path / "service.py"
    shutil.copy(ROOT / "examples" / "bentos" / "hello" / "service.py", source)
    with program.terminal("code", ".", cwd=tmp_path) as terminal:
        terminal.press("\r", MENU, "Watching for changes")
        (listed,) = (each for each in program.json("deployment", "list") if each["name"].startswith("hello-"))
        url = f"{program.url}/models/{listed['name']}/greet"
        until(lambda: httpx.post(url, json={"name": "Ann"}).text == "Hello, Ann!", START_SECONDS)
        source.write_text(source.read_text().replace("Hello,", "Servus,"))
        until(lambda: httpx.post(url, json={"name": "Ann"}).text == "Servus, Ann!", START_SECONDS)
        assert terminal.interrupt() == 0
    program.run("deployment", "delete", listed["name"])
