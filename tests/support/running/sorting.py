"""What each test needs, and which tests run on one worker, in their order.

Every test has one of ``unit``, ``server`` and ``torch``: the mark it carries, or the first that its fixtures or its
folder ask for. ``slow``, ``docker``, ``kubernetes`` and ``swarm`` come besides. A file's tests share a worker, so that
each worker starts what a module shares once; the tests of one shared server do so across files.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

import pytest
from _pytest.mark.expression import Expression, ExpressionMatcher

from tests.support.servers import ROOT

NEEDS: Final = frozenset({"unit", "server", "torch"})
ENGINES: Final = ("kubernetes", "swarm", "docker")
"""What a test may need besides, which few machines have."""
TORCH_PLACES: Final = (
    "tests/runners/engines/test_load.py",
    "tests/runners/engines/test_networks.py",
    "tests/runners/models/neural/",
    "tests/training/",
)
"""Where modules import torch at once; everywhere else a test that needs it imports it itself."""

SERVER_PLACES: Final = ("tests/e2e/", "tests/deploy/", "tests/faults/")
"""Where tests start servers or other processes, unless they carry another mark."""

TORCH_FIXTURES: Final = frozenset({"online"})
"""What imports it for the tests that ask for it."""

TORCH_MARKS: Final = ({"torch"}, {"torch", "slow"})
"""What their tests are marked with."""

SHARED_SERVERS: Final = {
    "management": "management",
    "atelier": "atelier",
    "satellite": "atelier",
    "embedding": "atelier",
    "own_addresses": "own_addresses",
}
"""Fixtures of the whole session, and the group of the tests that use them; of several, the first decides."""
SERVER_FIXTURES: Final = frozenset(
    {*SHARED_SERVERS, "caller", "earlier", "echo_bentos", "own_echo_bentos", "echo_images", "front"}
    | {"several", "several_management", "postgresql"}
    | {"atelier_image", "summarization_image", "tcm_image", "tcm_image_again"}
)
SIGNATURE_BYTES: Final = 8
"""Bytes of a parameter that name it: formats differ in them, and in a ZIP archive the time comes after them."""
MAX_NAME: Final = 50
"""Characters of a text that name a parameter."""
LONG_SECONDS: Final = 1500
"""Before a test that is known to be slow, or waits for an image, is taken for one that hangs."""


def is_ignored(path: Path, config: pytest.Config) -> bool:
    """Whether a module imports torch for tests that this run leaves out anyhow."""
    return _is_torch_place(path) and not wants_torch(config)


def wants_torch(config: pytest.Config) -> bool:
    """Whether the tests that the command line's marks select may need torch."""
    selected = Expression.compile(config.option.markexpr or "torch")
    return any(selected.evaluate(_among(marks)) for marks in TORCH_MARKS)


def _among(marks: set[str]) -> ExpressionMatcher:
    def matches(name: str, /, **_: str | int | bool | None) -> bool:
        return name in marks

    return matches


def parameter_name(value: object) -> str | None:
    """A short name for a parameter. Workers must agree on it, and archives made at collection hold the time."""
    if isinstance(value, bytes):
        return ascii(value[:SIGNATURE_BYTES])[2:-1]
    if isinstance(value, str) and len(value) > MAX_NAME:
        return ascii(f"{value[:MAX_NAME]}...")[1:-1]
    return None


def sort(items: list[pytest.Item]) -> None:
    """Marks every test; those that wait for servers come first, so that the short ones fill the end evenly."""
    for item in items:
        marks = {mark.name for mark in item.iter_markers()}
        if marks.isdisjoint(NEEDS):
            item.add_marker(_need(item))
        if "xdist_group" not in marks:
            item.add_marker(pytest.mark.xdist_group(_group(item)))
        if not marks.isdisjoint({"slow", *ENGINES}):
            item.add_marker(pytest.mark.timeout(LONG_SECONDS))
    items.sort(key=lambda item: item.get_closest_marker("unit") is not None)


def _need(item: pytest.Item) -> str:
    fixtures = _fixtures(item)
    if _is_torch_place(item.path) or not TORCH_FIXTURES.isdisjoint(fixtures):
        return "torch"
    starts = (
        any(item.get_closest_marker(engine) for engine in ENGINES)
        or _place(item.path).startswith(SERVER_PLACES)
        or not SERVER_FIXTURES.isdisjoint(fixtures)
    )
    return "server" if starts else "unit"


def _group(item: pytest.Item) -> str:
    """The engine that a test needs decides first: tests count what runs there, and lose its nodes."""
    engine = next((engine for engine in ENGINES if item.get_closest_marker(engine)), None)
    fixtures = _fixtures(item)
    shared = (group for name, group in SHARED_SERVERS.items() if name in fixtures)
    return engine or next(shared, _place(item.path))


def _fixtures(item: pytest.Item) -> list[str]:
    return getattr(item, "fixturenames", [])


def _is_torch_place(path: Path) -> bool:
    return _place(path).startswith(TORCH_PLACES)


@cache
def _place(path: Path) -> str:
    """Where a file lies in the project; what lies elsewhere is none of our tests."""
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else str(path)
