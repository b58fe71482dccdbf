"""What an image takes from its Bento."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from management.domain.bento_tag import (
    Tag,
)
from management.packaging import images
from management.packaging.build import (
    BentoHome,
)
from tests.support.docker_engine import docker, inspected
from tests.support.registry import registry

BENTO: dict[str, Any] = {
    "name": "tcm-diagnosis",
    "version": "2.0.0",
    "labels": {"framework": "onnx", "model_type": "tcm_diagnosis", "revision": "abc", "versions": "2.0.0 2.1.0"},
    "entry_service": "Front",
    "services": [
        {"name": "Inner", "config": {"http": {"port": 1}}},
        {"name": "Front", "config": {"http": {"port": 8002}}},
    ],
}


def test_an_images_labels_say_which_bento_it_is_and_of_which_commit() -> None:
    assert images.labels(BENTO, "Symptoms to syndromes,\n  on ONNX Runtime.\n", "12ab") == {
        "org.opencontainers.image.title": "tcm-diagnosis",
        "org.opencontainers.image.version": "2.0.0",
        "org.opencontainers.image.revision": "abc",
        "org.opencontainers.image.description": "Symptoms to syndromes, on ONNX Runtime.",
        "org.opencontainers.image.licenses": "Apache-2.0",
        "atelier.framework": "onnx",
        "atelier.model_type": "tcm_diagnosis",
        "atelier.digest": "12ab",
    }


def test_what_a_bento_does_not_say_is_no_label() -> None:
    labels = images.labels({**BENTO, "labels": None}, "", "12ab")
    assert labels.keys() == {
        "org.opencontainers.image.title",
        "org.opencontainers.image.version",
        "org.opencontainers.image.licenses",
        "atelier.digest",
    }


def test_the_port_is_that_of_the_service_that_callers_reach() -> None:
    assert images.port(BENTO) == 8002
    assert images.port({**BENTO, "services": [{"name": "Front", "config": {}}]}) is None


def test_an_image_wants_its_bento_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "require_engine", lambda: None)
    with pytest.raises(images.ImageError, match=r"echo:1\.0\.0 is not built"):
        images.make(BentoHome(tmp_path), Tag("echo", "1.0.0"), "tests/echo:1.0.0")


@pytest.mark.docker
def test_an_image_that_is_pushed_can_be_pulled_elsewhere(echo_images: list[str], tmp_path: Path) -> None:
    with registry(tmp_path) as address:
        there = images.push(echo_images[0], f"{address}/team/")
        assert there == f"{address}/team/{echo_images[0]}"
        docker("rmi", there)
        docker("pull", there)
        assert inspected(there)["Config"] == inspected(echo_images[0])["Config"]
        docker("rmi", there)


@pytest.mark.docker
def test_an_image_that_no_registry_takes_is_said() -> None:
    with pytest.raises(images.ImageError, match=r":9/tests/none:1\.0\.0 cannot be pushed: .*[Nn]o such image"):
        images.push("tests/none:1.0.0", "127.0.0.1:9")
