"""The model store: what is put there, when the embedding network changes, and when it must not."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import bentoml
import pytest
import torch
from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml._internal.models import ModelStore
from torch.nn.functional import cosine_similarity
from torchvision.models import ResNet18_Weights, resnet18

from runners import artifacts
from runners.engine import Engine
from runners.errors import ModelUnavailable
from runners.models.networks import Embedder
from runners.models.tcm.onnx_file import OnnxFile
from runners.models.transform import EvalTransform
from tests.conftest import picture

ROOT = Path(__file__).parents[1]


@pytest.fixture
def empty_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A model store of this test's own."""
    before = BentoMLContainer.model_store.get()  # first: it remembers the home of its first use
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    (tmp_path / "models").mkdir()
    BentoMLContainer.model_store.set(ModelStore(tmp_path / "models"))
    yield tmp_path
    BentoMLContainer.model_store.set(before)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """torchvision's weights cannot be downloaded."""
    monkeypatch.setattr(ResNet18_Weights.IMAGENET1K_V1.value, "url", "file:///nowhere/resnet18-00000000.pth")


@pytest.fixture
def online(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> torch.nn.Module:
    """torchvision's weights can be downloaded; they are those of the network returned."""
    torch.manual_seed(1)
    network: torch.nn.Module = resnet18(weights=None).eval()
    file = BytesIO()
    torch.save(network.state_dict(), file)
    digest = hashlib.sha256(file.getvalue()).hexdigest()[:8]
    path = tmp_path / f"resnet18-{digest}.pth"
    path.write_bytes(file.getvalue())
    monkeypatch.setattr(ResNet18_Weights.IMAGENET1K_V1.value, "url", path.as_uri())
    return network


@pytest.mark.usefixtures("offline")
def test_without_a_network_the_satellite_trunk_embeds(empty_store: Path) -> None:
    assert artifacts.publish() == [
        "satellite:1.0.0",
        "summarization:1.0.0",
        "tcm-diagnosis:1.0.0",
        "tcm-treatment:1.0.0",
        "embedding:satellite-1.0.0",
    ]
    assert set(artifacts.load("embedding:satellite-1.0.0").tensors) == set(Embedder().state_dict())


def test_imagenet_weights_embed_as_torchvision_does(empty_store: Path, online: torch.nn.Module) -> None:
    assert artifacts.publish()[-1] == "embedding:imagenet1k-v1"
    stored = artifacts.load("embedding:imagenet1k-v1")
    embedder = Embedder()
    embedder.load_state_dict(stored.tensors)
    image = picture(5, (320, 240))
    vector = Engine(embedder, precision="float32")([EvalTransform.from_dict(stored.facts["transform"])(image)])
    online.fc = torch.nn.Identity()
    with torch.no_grad():
        wanted = online(ResNet18_Weights.IMAGENET1K_V1.transforms()(image)[None])
    assert cosine_similarity(vector, wanted).item() >= 0.9999


@pytest.mark.usefixtures("empty_store", "online")
def test_a_choice_once_made_stays_when_weights_become_downloadable() -> None:
    artifacts.choose_embedding("satellite")
    assert artifacts.publish()[-1] == "embedding:satellite-1.0.0"
    assert artifacts.embedding_tag() == "embedding:satellite-1.0.0"


@pytest.mark.usefixtures("empty_store", "online")
def test_a_command_changes_the_choice_and_leaves_one_network() -> None:
    artifacts.choose_embedding("satellite")
    assert artifacts.choose_embedding("imagenet") == "embedding:imagenet1k-v1"
    assert artifacts.embedding_tag() == "embedding:imagenet1k-v1"


@pytest.mark.usefixtures("empty_store", "offline")
def test_a_change_that_fails_changes_nothing() -> None:
    artifacts.choose_embedding("satellite")
    with pytest.raises(OSError, match="nowhere"):
        artifacts.choose_embedding("imagenet")
    assert artifacts.embedding_tag() == "embedding:satellite-1.0.0"


@pytest.mark.usefixtures("empty_store")
def test_another_file_than_the_promised_one_is_not_taken(online: torch.nn.Module, tmp_path: Path) -> None:
    next(tmp_path.glob("resnet18-*.pth")).write_bytes(b"<html>please log in</html>")
    assert artifacts.publish()[-1] == "embedding:satellite-1.0.0"


@pytest.mark.usefixtures("empty_store")
def test_two_networks_after_a_kill_are_named_with_the_command_that_chooses() -> None:
    artifacts.choose_embedding("satellite")
    artifacts._store("embedding:imagenet1k-v1", artifacts.load("embedding:satellite-1.0.0"))
    with pytest.raises(ModelUnavailable, match="embedding NAME"):
        artifacts.publish()
    artifacts.choose_embedding("satellite")
    assert artifacts.publish()[-1] == "embedding:satellite-1.0.0"


@pytest.mark.usefixtures("empty_store")
def test_a_missing_model_is_named_with_what_puts_it_there() -> None:
    with pytest.raises(ModelUnavailable, match=r"satellite:1\.0\.0 .* python -m runners\.artifacts"):
        artifacts.load("satellite:1.0.0")
    with pytest.raises(ModelUnavailable, match="found none"):
        artifacts.embedding_tag()


@pytest.mark.usefixtures("offline")
def test_writers_at_once_leave_one_whole_model(empty_store: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        tags = list(pool.map(lambda _: artifacts.publish(), range(4)))
    assert all(each == tags[0] for each in tags)
    assert artifacts.load("satellite:1.0.0").facts["network"] == "ResNet18"


@pytest.mark.usefixtures("empty_store", "offline")
@pytest.mark.parametrize("tag", [artifacts.DIAGNOSIS, artifacts.TREATMENT])
def test_an_onnx_model_is_published_once_as_it_is_shipped(tag: str) -> None:
    artifacts.publish()
    stored = artifacts.path(tag)
    assert stored.suffix == ".onnx"
    assert stored.read_bytes() == artifacts.SHIPPED[tag].read_bytes()
    before = (stored.stat().st_mtime_ns, bentoml.models.get(tag).info.creation_time)
    assert tag in artifacts.publish()
    assert (artifacts.path(tag).stat().st_mtime_ns, bentoml.models.get(tag).info.creation_time) == before
    assert [str(model.tag) for model in bentoml.models.list(tag.partition(":")[0])] == [tag]


@pytest.mark.usefixtures("empty_store", "offline")
@pytest.mark.parametrize("tag", [artifacts.DIAGNOSIS, artifacts.TREATMENT])
def test_the_store_shows_what_an_onnx_model_says_of_itself(tag: str) -> None:
    artifacts.publish()
    shown = bentoml.models.get(tag).info
    facts = OnnxFile(artifacts.path(tag)).facts
    assert shown.labels == {"project": "atelier"}
    assert shown.metadata == {key: facts[key] for key in ("network", "weights", "licence")}
    assert all(isinstance(text, str) and text for text in shown.metadata.values())


@pytest.mark.usefixtures("empty_store")
@pytest.mark.parametrize("tag", [artifacts.DIAGNOSIS, artifacts.TREATMENT])
def test_a_missing_onnx_model_is_named_with_what_puts_it_there(tag: str) -> None:
    with pytest.raises(ModelUnavailable, match=rf"{re.escape(tag)} .* python -m runners\.artifacts"):
        artifacts.path(tag)


def test_the_command_line_explains_itself() -> None:
    command = [sys.executable, "-m", "runners.artifacts", "--help"]
    assert "embedding" in subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
