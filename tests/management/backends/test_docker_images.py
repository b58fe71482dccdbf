"""What the Bento in an image is, read without running anything of the image."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from management.backends.docker.bento_reader import LABEL, LEFT_SECONDS, _Stream
from management.backends.docker.builder import ImageBuilder
from management.backends.docker.client import DockerEngine
from management.backends.docker.images import DockerImages
from management.backends.docker.settings import DockerSettings
from management.domain.bento import Bento
from management.errors import BackendUnavailable
from management.packaging import bento_files
from management.packaging.build import BentoHome
from tests.support.docker_engine import docker, user_images
from tests.support.management_servers import copied_many

# The ``docker`` library leaves its socket to the garbage collector where it finds no engine.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


@pytest.fixture
async def images() -> AsyncIterator[DockerImages]:
    engine = DockerEngine(DockerSettings().socket)
    yield DockerImages(engine, DockerSettings())
    await engine.close()


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """What a test leaves is collected in it, where its warnings are filtered."""
    yield
    gc.collect()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = copied_many(tmp_path_factory.mktemp("many"))
    user_images(home, "many", "duo")
    return home


def leftovers() -> list[str]:
    return docker("ps", "--all", "--quiet", "--filter", f"label={LABEL}").splitlines()


def same(bento: Bento | None) -> Bento:
    assert bento is not None
    return replace(bento, created_at="")


@pytest.mark.docker
@pytest.mark.parametrize("name", ["many", "duo"])
async def test_an_image_of_a_bento_holds_the_bento(store: Path, images: DockerImages, name: str) -> None:
    await images.check(f"users/{name}:1.0.0")
    found = await images.describe(f"users/{name}:1.0.0")
    assert same(found) == same(bento_files.read(store / "bentos" / name / "1.0.0"))
    assert leftovers() == []


@pytest.mark.docker
async def test_an_image_is_read_once_and_by_one_caller(
    store: Path, images: DockerImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    from management.backends.docker import bento_reader

    reads: list[str] = []
    read = bento_reader._read

    def counted(client: object, image_id: str, path: str) -> Bento:
        reads.append(image_id)
        return read(client, image_id, path)

    monkeypatch.setattr(bento_reader, "_read", counted)
    found = await asyncio.gather(*(images.describe("users/duo:1.0.0") for _ in range(5)))
    assert all(bento is found[0] for bento in found)
    assert await images.describe("users/duo:1.0.0") is found[0]
    assert len(reads) == 1


@pytest.mark.docker
async def test_what_is_no_image_of_a_bento_has_none(store: Path, images: DockerImages) -> None:
    assert await images.describe("users/nothing:1.0.0") is None
    assert await images.describe("python:3.11-slim") is None
    docker("build", "--tag", "users/broken:1.0.0", "-", text="FROM python:3.11-slim\nENV BENTO_PATH=/nowhere\n")
    assert await images.describe("users/broken:1.0.0") is None
    assert leftovers() == []


@pytest.mark.docker
async def test_a_container_that_a_killed_control_plane_left_is_removed_in_time(
    store: Path, images: DockerImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = docker("create", "--label", f"{LABEL}=0", "users/duo:1.0.0", "true")
    try:
        await images.describe("users/duo:1.0.0")
        assert leftovers() == [left[:12]], "another control plane may be reading"
        now = time.time
        monkeypatch.setattr(time, "time", lambda: now() + LEFT_SECONDS + 60)
        await images.describe("users/many:1.0.0")
        assert leftovers() == []
    finally:
        monkeypatch.undo()
        for container in leftovers():
            docker("rm", container)


async def test_an_engine_that_is_away_is_told(tmp_path: Path) -> None:
    engine = DockerEngine(tmp_path / "nothing.sock")
    with pytest.raises(BackendUnavailable):
        await DockerImages(engine, DockerSettings()).describe("users/duo:1.0.0")
    await engine.close()


async def test_what_is_prepared_is_not_known_while_the_engine_is_away(tmp_path: Path) -> None:
    """A status is shown without it."""
    engine = DockerEngine(tmp_path / "nothing.sock")
    builder = ImageBuilder(engine, BentoHome(tmp_path / "home"), tmp_path / "logs")
    assert await builder.look("users/many:1.0.0") is None
    await engine.close()


def test_pieces_of_an_archive_are_read_as_a_file() -> None:
    stream = _Stream(iter([b"abc", b"", b"defg", b"h"]))
    assert [stream.read(2), stream.read(3), stream.read(10), stream.read(1)] == [b"ab", b"cde", b"fgh", b""]
