"""Forked programs of the tests behave as started ones do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.support.running.figures import JUDGED
from tests.support.running.preloaded import Command, Forked, run, start

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(sys.platform != "linux", reason="elsewhere programs are started as usual"),
    pytest.mark.skipif(JUDGED, reason="what judges speed starts programs as usual"),
]

TELL = """
import json, os, sys
here = [os.getcwd(), os.environ.get("OWN"), os.environ.get("ATELIER_TESTS_SHARED"), sys.argv[1:], sys.stdin.read()]
print(json.dumps([*here, __name__, "bentoml" in sys.modules]))
sys.exit(3)
"""


def test_a_fork_has_its_own_folder_variables_arguments_input_and_status(tmp_path: Path) -> None:
    env = {name: value for name, value in os.environ.items() if name != "ATELIER_TESTS_SHARED"} | {"OWN": "1"}
    told = run(Command("bentoml", "-c", TELL, ["a", "b"]), cwd=tmp_path, env=env, given="in", check=False)
    assert told.status == 3
    assert json.loads(told.text) == [str(tmp_path), "1", None, ["a", "b"], "in", "__main__", True]


def test_what_is_asked_for_at_the_start_of_an_interpreter_gets_one(tmp_path: Path) -> None:
    with tempfile.TemporaryFile() as output:
        env = {**os.environ, "PYTHONWARNINGS": "error"}
        process = start(
            Command("bentoml", "-c", "import warnings; warnings.warn('w')"), cwd=tmp_path, env=env, output=output
        )
        assert isinstance(process, subprocess.Popen)
        assert process.wait(30) == 1


def test_a_fork_is_killed_waited_for_and_leaves_nothing(tmp_path: Path) -> None:
    with tempfile.TemporaryFile() as output:
        command = Command("bentoml", "-c", "import time; time.sleep(600)")
        process = start(command, cwd=tmp_path, env=dict(os.environ), output=output)
        assert isinstance(process, Forked)
        assert process.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.01)
        process.kill()
        assert process.wait(30) == -signal.SIGKILL
        assert process.poll() == -signal.SIGKILL
        process.terminate()  # of one that has ended nothing is asked


def test_forks_of_one_kind_end_on_their_own(tmp_path: Path) -> None:
    with tempfile.TemporaryFile() as output:
        code = "import sys, time; time.sleep(600 if sys.argv[1] == 'long' else 0); sys.exit(int(sys.argv[1]))"
        commands = [Command("bentoml", "-c", code, [argument]) for argument in ("long", "1", "2", "3")]
        long, *short = [start(command, cwd=tmp_path, env=dict(os.environ), output=output) for command in commands]
        assert [process.wait(30) for process in short] == [1, 2, 3]
        assert long.poll() is None
        long.terminate()
        assert long.wait(30) == -signal.SIGTERM


def test_a_fork_reads_its_own_settings(tmp_path: Path) -> None:
    code = "from web.settings import settings; print(settings().connections, end='')"
    env = {**os.environ, "ATELIER_CONNECTIONS": "77"}
    assert run(Command("server", "-c", code), cwd=tmp_path, env=env).text == "77"


@pytest.mark.unit
def test_a_test_that_is_marked_unit_forks_no_program(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="mark it server"):
        run(Command("bentoml", "-c", "pass"), cwd=tmp_path, env=dict(os.environ))
