"""What the marks promise: a unit test starts no interpreter, no torch is imported to collect what needs none, and the
tests of one group run on one worker."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import pytest

from tests.support.running import sorting

_running: Final[list[pytest.Item]] = []


@contextmanager
def kept(item: pytest.Item) -> Iterator[None]:
    """While the block runs, an interpreter that a unit test starts is an error."""
    unit = item.get_closest_marker("unit") is not None
    if unit:
        _running.append(item)
    try:
        yield
    finally:
        if unit:
            _running.pop()


def check_groups(ids: Sequence[str]) -> None:
    """End the run where pytest-xdist has ignored the groups: it appends each test's group to its id."""
    if not all("@" in test for test in ids):
        pytest.exit("this pytest-xdist does not group tests under this pytest: see pyproject.toml", returncode=4)


def check_collection(session: pytest.Session) -> None:
    """Raises UsageError where torch was imported for nothing."""
    if "torch" in sys.modules and not sorting.wants_torch(session.config):
        raise pytest.UsageError(
            "torch was imported to collect tests that need none: see tests/support/running/sorting.py"
        )


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if event == "subprocess.Popen" and _running and str(arguments[0]) == sys.executable:
        raise RuntimeError(f"{_running[-1].name} starts a process of ours: mark it server")


sys.addaudithook(_watch)
