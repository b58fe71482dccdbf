"""Files that are replaced together: a process that is killed before any of its steps leaves all of it, or nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from management.backup.replacing import JOURNAL, replace, settle
from tests.support.servers import ROOT

OLD = {"key": "old", "base": "old", "base-log": "old", "store/a/file": "old"}
NEW = {"key": "new", "base": "new", "store/b/file": "new", "only": "new"}

# Each act is that of a process of its own, for one that is killed cannot tidy up; and always in the same folder.
KILLING = """
import json, os, shutil, signal, sys
from itertools import count
from pathlib import Path
from management.backup.replacing import settle
from tests.management.backup.test_replacing import begin, found

home = Path(sys.argv[1])

def killed(act, before):
    "Whether it was, before that step, and had not come to its end."
    left = [before]
    def hook(event, _):
        if event in {"open", "os.rename", "os.remove", "os.rmdir"}:
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
    child = os.fork()
    if not child:
        sys.addaudithook(hook)
        act(home)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL

def as_in(saved):
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(saved, home)

beginning, middle = home.with_name("beginning"), home.with_name("middle")
home.rename(beginning)
for first in count():
    as_in(beginning)
    if not killed(begin, first):
        break
    shutil.rmtree(middle, ignore_errors=True)
    shutil.copytree(home, middle)
    for second in count(first % 3, 3):  # each third, for the sake of time
        as_in(middle)
        again = killed(settle, second)
        settle(home)
        print(json.dumps({"steps": [first, second], "left": found(home)}))
        if not again:
            break
"""


def lay(folder: Path, files: dict[str, str]) -> None:
    """Writes them."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def found(home: Path) -> dict[str, str]:
    """Every file but those of the stage, which remains where no journal told of it."""
    files = {str(one.relative_to(home)): one for one in home.rglob("*") if one.is_file()}
    return {name: file.read_text() for name, file in files.items() if not name.startswith("stage/")}


def begin(home: Path) -> None:
    """Replaces what is there by what is in the stage."""
    stage = home / "stage"
    parts = ("key", "base", "store", "only")
    replace([(None, home / "base-log"), *((stage / one, home / one) for one in parts)], home, [stage])


@pytest.fixture
def home(tmp_path: Path) -> Path:
    lay(tmp_path / "home", OLD)
    lay(tmp_path / "home" / "stage", NEW)
    return tmp_path / "home"


def test_everything_is_replaced_and_nothing_else_remains(home: Path) -> None:
    begin(home)
    assert found(home) == NEW
    assert not (home / "stage").exists()


def test_what_cannot_be_replaced_leaves_everything_as_it_was(home: Path) -> None:
    (home / "stage" / "only").unlink()
    with pytest.raises(FileNotFoundError):
        begin(home)
    assert found(home) == OLD


@pytest.mark.server
def test_whoever_is_killed_before_any_step_leaves_the_old_or_the_new(home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLING, home], cwd=ROOT, check=True, capture_output=True, text=True, timeout=120
    )
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one for one in told if one["left"] not in (OLD, NEW)] == []
    assert OLD in (ends := [one["left"] for one in told])
    assert NEW in ends
    assert len(told) > 50


def test_nothing_is_settled_where_nothing_was_begun(home: Path) -> None:
    settle(home)
    assert found(home) == OLD
    assert not (home / JOURNAL).exists()
