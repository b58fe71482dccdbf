"""``bentoml code`` in a terminal: what its user saves is what the deployment answers."""

from __future__ import annotations

import shutil
from pathlib import Path

import httpx
import pytest

from tests.support.bentos.program import MENU, logged_in
from tests.support.calls import quick, until
from tests.support.servers import ROOT

START_SECONDS = 60
WATCHING = "Watching for changes"


@pytest.mark.slow
def test_what_is_saved_is_what_answers(tmp_path: Path) -> None:
    folder = tmp_path / "hello"
    folder.mkdir()
    source = folder / "service.py"
    shutil.copy(ROOT / "examples" / "bentos" / "hello" / "service.py", source)
    # Without locking: otherwise BentoML 1.4.39 fails in its own build of what it does not send.
    (folder / "bentofile.yaml").write_text("service: 'service:Hello'\npython:\n  lock_packages: false\n")

    def edit(before: str, after: str) -> None:
        source.write_text(source.read_text().replace(before, after))

    with quick(tmp_path / "store") as server:
        program = logged_in(tmp_path / "user", server)
        program.run("secret", "create", "hf", "HF_TOKEN=hf_abc")

        def answer(path: str) -> str:
            return httpx.post(f"{told['endpoint_urls'][0]}/{path}", json={"name": "Ann"}).text

        with program.terminal("code", ".", "--env", "GREETING=hi", "--secret", "hf", cwd=folder) as terminal:
            terminal.press("\r", MENU, WATCHING)  # a new one, with any name
            told = program.deployment(program.json("deployment", "list")[0]["name"])
            until(lambda: answer("greet") == "Hello, Ann!", START_SECONDS)
            edit("Hello,", "Servus,")
            until(lambda: answer("greet") == "Servus, Ann!", START_SECONDS)
            edit("def greet", "def welcome")
            until(lambda: answer("welcome") == "Servus, Ann!", START_SECONDS)
            assert terminal.interrupt() == 0
            assert "Attach to this codespace again" in terminal.text
        assert told["config"]["envs"] == [{"name": "GREETING", "value": "hi"}]
        assert told["config"]["secrets"] == ["hf"]
        edit("Servus,", "Moin,")
        with program.terminal("code", ".", "--attach", told["name"], "--cluster", "default", cwd=folder) as terminal:
            until(lambda: answer("welcome") == "Moin, Ann!", START_SECONDS)
            terminal.expect(WATCHING)
            assert terminal.interrupt() == 0
        program.run("deployment", "terminate", told["name"], "--wait")
        assert program.status(told["name"]) == "terminated"
        program.run("deployment", "delete", told["name"])
