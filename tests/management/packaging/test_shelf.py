"""Bentos of the store are read once for each change, and only so many are remembered."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from management.backends.launcher import ImageRefused, LaunchRefused
from management.backends.process.images import BentoStore, tag_to_launch
from management.domain.bento_tag import Tag
from management.packaging import shelf
from management.packaging.build import BentoHome
from management.packaging.shelf import BentoShelf
from tests.support.bentos.bento_archives import bento_yaml

HELLO = Tag("hello", "1.0.0")
EARLIER = ("hello", "hello:latest", "Hello World:1.0.0", "hello@sha256:0123", "")
"""Names of images that name no Bento with its exact version."""


@pytest.fixture
def home(tmp_path: Path) -> BentoHome:
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        keep(BentoHome(tmp_path), Tag("hello", version), bento_yaml(version))
    return BentoHome(tmp_path)


def keep(home: BentoHome, tag: Tag, content: bytes) -> Path:
    """Write the file of a Bento, and return it."""
    file = home.folder(tag) / "bento.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def test_a_bento_is_the_same_object_until_its_file_changes(home: BentoHome) -> None:
    kept = BentoShelf(home)
    first = kept.describe(HELLO)
    assert first is not None
    assert kept.describe(HELLO) is first
    file = keep(home, HELLO, bento_yaml(entry_service="Other"))
    os.utime(file, ns=(0, file.stat().st_mtime_ns + 1))
    again = kept.describe(HELLO)
    assert again is not None
    assert (first.service, again.service) == ("Hello", "Other")


def test_the_content_of_a_bentos_file_is_read_again_when_it_has_changed(home: BentoHome) -> None:
    kept = BentoShelf(home)
    first = kept.document(HELLO)
    assert first is not None
    assert first["entry_service"] == "Hello"
    assert kept.document(HELLO) is first
    file = keep(home, HELLO, b"- no mapping")
    os.utime(file, ns=(0, file.stat().st_mtime_ns + 1))
    assert kept.document(HELLO) is None
    file.unlink()
    assert kept.document(HELLO) is None


def test_only_so_many_bentos_are_remembered(home: BentoHome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "MAX_KNOWN", 2)
    kept = BentoShelf(home)
    for tag in kept.tags():
        assert kept.get(tag) is not None
    assert kept._read.cache_info().currsize == kept._size.cache_info().currsize == 2


def test_a_bento_that_cannot_be_read_is_there_and_says_nothing(home: BentoHome) -> None:
    file = keep(home, HELLO, b"nothing: here")
    kept = BentoShelf(home)
    assert kept.has(HELLO)
    assert kept.describe(HELLO) is None
    shown = kept.get(HELLO)
    assert shown is not None
    assert (shown.bento.tag, shown.bento.service, shown.size) == (HELLO, "", file.stat().st_size)
    file.unlink()
    assert (kept.has(HELLO), kept.describe(HELLO), kept.get(HELLO)) == (False, None, None)


@pytest.mark.parametrize("image", EARLIER)
async def test_an_image_of_an_earlier_version_that_names_no_bento_is_refused_and_nothing_breaks(
    home: BentoHome, image: str
) -> None:
    store = BentoStore(home.home)
    assert await store.describe(image) is None
    assert await store.model_type(image) is None
    with pytest.raises(ImageRefused) as refused:
        await store.check(image)
    assert refused.value.kind == "image"
    with pytest.raises(LaunchRefused, match="exact version"):
        tag_to_launch(image)
