"""A shared store on a folder and on a real S3 server, each test with a place of its own."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from management.packaging.build import BentoHome
from management.packaging.shared.client import ObstoreClient
from management.packaging.shared.shared_store import SharedStore
from tests.support.object_stores import VARIABLES, Bucket, temporary_bucket

ControlPlane = Callable[[str], SharedStore]
"""Returns the shared store as a control plane with a BentoML home of that name sees it."""


@pytest.fixture(scope="package")
def bucket() -> Iterator[Bucket]:
    with temporary_bucket() as found:
        yield found


@pytest.fixture(params=["folder", pytest.param("bucket", marks=pytest.mark.server)])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "folder":
        (tmp_path / "shared").mkdir()
        return f"file://{tmp_path}/shared"
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    found: Bucket = request.getfixturevalue("bucket")
    return found.url(secrets.token_hex(4))


@pytest.fixture
def objects(url: str) -> ObstoreClient:
    return ObstoreClient(url)


@pytest.fixture
def plane(url: str, tmp_path: Path) -> ControlPlane:
    return lambda name: SharedStore(ObstoreClient(url), BentoHome(tmp_path / name))
