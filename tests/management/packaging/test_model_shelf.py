"""Models of the store are listed by when they were saved, and what cannot be read is left out."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from management.domain.bento_tag import Tag
from management.packaging.build import BentoHome
from management.packaging.model_shelf import ModelShelf


@pytest.fixture
def shelf(tmp_path: Path) -> ModelShelf:
    return ModelShelf(BentoHome(tmp_path))


def keep(shelf: ModelShelf, name: str, version: str, **content: Any) -> Path:
    """Write a model with this content of its file, and return the file."""
    file = shelf.home.home / "models" / name / version / "model.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(yaml.safe_dump({"name": name, "version": version, **content}))
    return file


def test_models_are_listed_the_newest_first(shelf: ModelShelf) -> None:
    assert shelf.tags() == []
    for version, day in (("1", "02"), ("2", "03"), ("3", "01")):
        keep(shelf, "iris", version, creation_time=f"2026-01-{day}T00:00:00+00:00")
    keep(shelf, "early", "1", creation_time="2025-01-01T00:00:00")
    keep(shelf, "unknown", "1", creation_time="yesterday")
    shown = [str(tag) for tag in shelf.tags()]
    assert shown == ["iris:2", "iris:1", "iris:3", "early:1", "unknown:1"]


def test_a_model_is_what_its_file_says(shelf: ModelShelf) -> None:
    said = {
        "module": "sklearn",
        "api_version": "v1",
        "options": {"a": 1},
        "metadata": {"accuracy": float("nan"), "when": datetime(2026, 1, 1, tzinfo=UTC)},
        "context": {"framework_name": "sklearn"},
        "labels": {"stage": "test"},
        "bentoml_version": "1.4.39",
        "creation_time": "2026-01-01T00:00:00+00:00",
    }
    file = keep(shelf, "iris", "1", **said)
    (file.parent / "weights").write_bytes(bytes(1000))
    kept = shelf.get(Tag("iris", "1"))
    assert kept is not None
    assert kept.size == 1000 + file.stat().st_size
    assert kept.created_at == datetime(2026, 1, 1, tzinfo=UTC)
    assert kept.document["options"] == {"a": 1}
    assert kept.document["metadata"] == {"accuracy": None, "when": "2026-01-01 00:00:00+00:00"}
    assert kept.document["labels"] == {"stage": "test"}


def test_what_cannot_be_read_is_left_out(shelf: ModelShelf, monkeypatch: pytest.MonkeyPatch) -> None:
    for version, text in (("1", "[" * 1000), ("2", "- list"), ("3", "\0")):
        keep(shelf, "iris", version).write_text(text)
    keep(shelf, "iris", "4").write_bytes(b"\xff")
    large = keep(shelf, "iris", "5")
    (shelf.home.home / "models" / "iris" / "latest").write_text("5")
    monkeypatch.setattr("management.packaging.bento_files.MAX_FILE_BYTES", large.stat().st_size - 1)
    assert shelf.all() == []
    assert shelf.get(Tag("iris", "1")) is None


@pytest.mark.parametrize("tag", [Tag("iris", "2"), Tag("..", "models"), Tag("iris", "../iris/1"), Tag("iris", "")])
def test_no_tag_leads_to_another_folder(tag: Tag, shelf: ModelShelf) -> None:
    keep(shelf, "iris", "1")
    assert shelf.get(tag) is None


def test_a_changed_file_is_read_again(shelf: ModelShelf) -> None:
    file = keep(shelf, "iris", "1")
    first = shelf.get(Tag("iris", "1"))
    assert shelf.get(Tag("iris", "1")) is first
    file.write_text(yaml.safe_dump({"name": "iris", "version": "1", "module": "torch"}))
    os.utime(file, ns=(0, file.stat().st_mtime_ns + 1))
    again = shelf.get(Tag("iris", "1"))
    assert again is not None
    assert again.document["module"] == "torch"
