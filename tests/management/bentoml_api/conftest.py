"""A server, a Bento with a model, and a user of BentoML's own program who is logged in."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.bentos.program import Program, logged_in, user_home
from tests.support.calls import emptied, quick
from tests.support.management_servers import Management
from tests.support.running.sharing import made_once


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Management]:
    """A server without any Bento."""
    with quick(tmp_path_factory.mktemp("store")) as running:
        yield running


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The BentoML home of a user."""
    folder = tmp_path_factory.mktemp("user")
    shutil.copytree(made_once("user", user_home), folder, symlinks=True, dirs_exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def program(server: Management, home: Path) -> Program:
    """BentoML's program of this user, who is logged in."""
    return logged_in(home, server)


@pytest.fixture
def api(server: Management) -> Iterator[httpx.Client]:
    """The documented API; what a test has deployed is deleted after it."""
    with emptied(server) as client:
        yield client


@pytest.fixture
def pushed(program: Program) -> None:
    """``echo`` is in the store."""
    program.run("push", "echo:1.0.0")
