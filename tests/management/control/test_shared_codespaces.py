"""The Bentos of codespaces are there for all control planes, and a deleted one is undone where a model uses it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from management.control.bentos import Bentos
from management.control.codespaces.codespaces import Codespaces
from management.control.repository.uploads import Uploads
from management.domain.bento_tag import StoredKind, Tag
from management.errors import BentoInUse
from management.packaging.build import BentoHome
from management.packaging.shared.client import ObstoreClient
from management.packaging.shared.shared_store import SharedStore
from management.packaging.shared.shelves import SharedBentoShelf
from management.settings import BentoSettings
from management.store import Store

MANIFEST: dict[str, Any] = {
    "name": "hello",
    "version": "1",
    "entry_service": "Hello",
    "bentoml_version": "1.4.39",
    "services": [{"name": "Hello"}],
    "schema": {"name": "Hello", "routes": []},
}
LIMITS = BentoSettings()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    found = Store(f"sqlite:///{tmp_path}/db")
    found.migrate()
    yield found
    found.close()


def plane(tmp_path: Path, name: str) -> SharedStore:
    (tmp_path / "shared").mkdir(exist_ok=True)
    return SharedStore(ObstoreClient(f"file://{tmp_path}/shared"), BentoHome(tmp_path / name))


async def test_a_codespaces_bento_is_made_here_and_fetched_elsewhere(store: Store, tmp_path: Path) -> None:
    ours, theirs = plane(tmp_path, "a"), plane(tmp_path, "b")
    bentos = Bentos(store, ours.home, LIMITS, ours)
    codespaces = Codespaces(ours.home, LIMITS, bentos, Uploads(ours.home, LIMITS, shared=ours))
    first = await codespaces.begin(MANIFEST)
    image = f"bentos/{first.tag}"
    assert await codespaces.put(image, {"service.py": b"import bentoml\n"}) is None
    tag = await codespaces.put(image, {".project_ready": b""})
    assert tag is not None
    assert SharedBentoShelf(theirs).tags() == [first.tag, tag]
    theirs.fetch(StoredKind.BENTO, tag)
    assert (theirs.home.folder(tag) / "src" / "service.py").read_bytes() == b"import bentoml\n"


async def test_a_deployment_that_comes_while_its_bento_is_deleted_keeps_it(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = plane(tmp_path, "a")
    bentos = Bentos(store, ours.home, LIMITS, ours)
    codespaces = Codespaces(ours.home, LIMITS, bentos, Uploads(ours.home, LIMITS, shared=ours))
    tag: Tag = (await codespaces.begin(MANIFEST)).tag
    checks = 0

    async def used_from_the_second_check_on(_: Tag) -> None:
        nonlocal checks
        checks += 1
        if checks == 2:
            assert SharedBentoShelf(plane(tmp_path, "b")).tags() == []
            raise BentoInUse

    monkeypatch.setattr(bentos, "_check_unused", used_from_the_second_check_on)
    with pytest.raises(BentoInUse):
        await bentos.delete(tag)
    theirs = plane(tmp_path, "c")
    theirs.fetch(StoredKind.BENTO, tag)
    assert theirs.is_whole(tag)
    assert theirs.pointers.get(StoredKind.BENTO, tag) == ours.pointers.get(StoredKind.BENTO, tag)


async def test_copies_of_what_others_deleted_go(store: Store, tmp_path: Path) -> None:
    ours, theirs = plane(tmp_path, "a"), plane(tmp_path, "b")
    bentos, others = Bentos(store, ours.home, LIMITS, ours), Bentos(store, theirs.home, LIMITS, theirs)
    codespaces = Codespaces(ours.home, LIMITS, bentos, Uploads(ours.home, LIMITS, shared=ours))
    tag = (await codespaces.begin(MANIFEST)).tag
    theirs.fetch(StoredKind.BENTO, tag)
    await bentos.delete(tag)
    assert theirs.home.folder(tag).exists()
    await others.follow()
    assert not theirs.home.folder(tag).exists()
