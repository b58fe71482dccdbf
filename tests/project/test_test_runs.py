"""How the tests themselves are run: who may be beside whom, what is made once, and what imports torch."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.running import sharing, sorting
from tests.support.servers import ROOT


@pytest.fixture(autouse=True)
def own_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of this test's own: the real one's machine is held already."""
    monkeypatch.setenv(sharing.FOLDER, str(tmp_path))


def selecting(marks: str) -> Any:
    return SimpleNamespace(option=SimpleNamespace(markexpr=marks))


@pytest.mark.parametrize("first", [True, False])
def test_a_test_that_is_to_be_alone_waits_for_others_and_others_for_it(first: bool) -> None:
    entered = threading.Event()

    def second() -> None:
        with sharing.machine(alone=not first):
            entered.set()

    with ThreadPoolExecutor(1) as other:
        with sharing.machine(alone=first):
            done = other.submit(second)
            assert not entered.wait(0.2)
        done.result(10)


def test_tests_are_beside_one_another_unless_one_is_to_be_alone() -> None:
    with sharing.machine(alone=False), sharing.machine(alone=False):
        pass


def test_what_workers_share_is_made_once_and_whole() -> None:
    made: list[Path] = []

    def make(folder: Path) -> None:
        made.append(folder)
        folder.mkdir()
        (folder / "file").write_text("whole")

    with ThreadPoolExecutor(4) as workers:
        folders = list(workers.map(lambda _: sharing.made_once("thing", make), range(4)))
    assert len(made) == 1
    assert {(folder / "file").read_text() for folder in folders} == {"whole"}


@pytest.mark.parametrize("marks", ["unit and not slow and not docker", "(unit or server) and not slow", "docker"])
def test_where_no_test_of_torch_is_wanted_its_modules_are_left_alone(marks: str) -> None:
    for place in sorting.TORCH_PLACES:
        assert (ROOT / place).exists()
        assert sorting.is_ignored(ROOT / place / "test_x.py", selecting(marks))
    assert not sorting.is_ignored(Path(__file__), selecting(marks))


@pytest.mark.parametrize("marks", ["", "slow or torch", "slow", "not slow and not docker"])
def test_where_one_may_be_wanted_they_are_collected(marks: str) -> None:
    assert not any(sorting.is_ignored(ROOT / place, selecting(marks)) for place in sorting.TORCH_PLACES)


@pytest.mark.unit
def test_a_test_that_is_marked_unit_starts_no_interpreter() -> None:
    with pytest.raises(RuntimeError, match="mark it server"):
        subprocess.run([sys.executable, "-c", ""], check=True)
