"""The model store: what is put there, when the embedding network changes, and when it must not."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import bentoml
import numpy as np
import pytest
from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml._internal.models import ModelStore

from runners.artifacts import imagenet, precision_check, publish, store
from runners.engines import load
from runners.errors import ModelUnavailable
from runners.models.onnx_file import OnnxFile
from runners.models.vision import graphs
from runners.models.vision.transform import EvalTransform
from tests.conftest import picture
from tests.support.servers import ROOT

if TYPE_CHECKING:
    import torch


@pytest.fixture
def empty_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A model store of this test's own."""
    before = BentoMLContainer.model_store.get()  # first: it remembers the home of its first use
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path))
    (tmp_path / "models").mkdir()
    BentoMLContainer.model_store.set(ModelStore(tmp_path / "models"))
    yield tmp_path
    BentoMLContainer.model_store.set(before)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ImageNet weights cannot be downloaded."""
    monkeypatch.setattr(imagenet, "URL", "http://127.0.0.1:9/model.safetensors")


@pytest.fixture
def online(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.nn.Module]:
    """The ImageNet weights can be downloaded; they are those of the network returned."""
    import torch
    from safetensors.torch import save_file
    from torchvision.models import resnet18

    torch.manual_seed(1)
    network: torch.nn.Module = resnet18(weights=None).eval()
    path = tmp_path / "model.safetensors"
    save_file(network.state_dict(), path)
    monkeypatch.setattr(imagenet, "SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(tmp_path))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(imagenet, "URL", f"http://127.0.0.1:{server.server_port}/model.safetensors")
        yield network
        server.shutdown()


EMBEDDING_SHA256 = "fad5754819210dbfa975eafd9bb16051704d9faa86e2c0659793a922db62ed99"


def test_what_embeds_is_the_file_of_the_versions_before() -> None:
    digest = hashlib.sha256(store.EMBEDDING_FILE.read_bytes()).hexdigest()
    assert digest == "fad5754819210dbfa975eafd9bb16051704d9faa86e2c0659793a922db62ed99", (
        "other vectors need another tag"
    )


@pytest.mark.usefixtures("offline")
def test_without_a_network_the_satellite_trunk_embeds(empty_store: Path) -> None:
    assert publish.publish() == [
        "satellite:1.2.0",
        "summarization:1.1.0",
        "tcm-diagnosis:1.0.0",
        "tcm-treatment:1.0.0",
        "embedding:satellite-1.0.0",
    ]
    facts = graphs.read(store.path("embedding:satellite-1.0.0")).facts
    assert facts["weights"] == "the trunk of satellite:1.0.0"
    assert facts["licence"] == "Apache-2.0; trained on EuroSAT (MIT) and AID (research use)"


def test_imagenet_weights_embed_as_torchvision_does(empty_store: Path, online: torch.nn.Module) -> None:
    import torch
    from torchvision.models import ResNet18_Weights

    assert publish.publish()[-1] == "embedding:imagenet1k-v1"
    network = load.load(store.path("embedding:imagenet1k-v1"), precision="float32")
    image = picture(5, (320, 240))
    vector = network(np.stack([EvalTransform.from_dict(network.facts["transform"])(image)]))
    online.fc = torch.nn.Identity()
    with torch.no_grad():
        wanted = online(ResNet18_Weights.IMAGENET1K_V1.transforms()(image)[None])
    assert precision_check.cosines(vector, wanted.numpy()).min() >= 0.9999


@pytest.mark.usefixtures("empty_store", "online")
def test_a_choice_once_made_stays_when_weights_become_downloadable() -> None:
    publish.choose_embedding("satellite")
    assert publish.publish()[-1] == "embedding:satellite-1.0.0"
    assert store.embedding_tag() == "embedding:satellite-1.0.0"


@pytest.mark.usefixtures("empty_store", "online")
def test_a_command_changes_the_choice_and_leaves_one_network() -> None:
    publish.choose_embedding("satellite")
    assert publish.choose_embedding("imagenet") == "embedding:imagenet1k-v1"
    assert store.embedding_tag() == "embedding:imagenet1k-v1"


@pytest.mark.usefixtures("empty_store", "offline")
def test_a_change_that_fails_changes_nothing() -> None:
    publish.choose_embedding("satellite")
    with pytest.raises(OSError, match=r"127\.0\.0\.1"):
        publish.choose_embedding("imagenet")
    assert store.embedding_tag() == "embedding:satellite-1.0.0"


@pytest.mark.usefixtures("empty_store")
def test_another_file_than_the_promised_one_is_not_taken(online: torch.nn.Module, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"<html>please log in</html>")
    assert publish.publish()[-1] == "embedding:satellite-1.0.0"


@pytest.mark.slow
@pytest.mark.usefixtures("empty_store")
def test_two_networks_after_a_kill_are_named_with_the_command_that_chooses() -> None:
    publish.choose_embedding("satellite")
    publish._store("embedding:imagenet1k-v1", store.path("embedding:satellite-1.0.0"))
    with pytest.raises(ModelUnavailable, match="embedding NAME"):
        publish.publish()
    publish.choose_embedding("satellite")
    assert publish.publish()[-1] == "embedding:satellite-1.0.0"


@pytest.mark.usefixtures("empty_store")
def test_a_missing_model_is_named_with_what_puts_it_there() -> None:
    with pytest.raises(ModelUnavailable, match=r"satellite:1\.2\.0 .* python -m runners\.artifacts"):
        store.path("satellite:1.2.0")
    with pytest.raises(ModelUnavailable, match="found none"):
        store.embedding_tag()


@pytest.mark.slow
@pytest.mark.usefixtures("offline")
def test_writers_at_once_leave_one_whole_model(empty_store: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        tags = list(pool.map(lambda _: publish.publish(), range(4)))
    assert all(each == tags[0] for each in tags)
    assert graphs.read(store.path("satellite:1.2.0")).facts["network"] == "EfficientNet-Lite0"


@pytest.mark.usefixtures("empty_store", "online")
def test_a_choice_that_an_older_version_stored_stays() -> None:
    with bentoml.models.create("embedding:satellite-1.0.0") as model:
        (Path(model.path) / "model.safetensors").write_bytes(b"of an older version")
    assert publish.publish()[-1] == "embedding:satellite-1.0.0"
    assert [str(one.tag) for one in bentoml.models.list("embedding")] == ["embedding:satellite-1.0.0"]


@pytest.mark.slow
@pytest.mark.usefixtures("empty_store", "offline")
def test_a_choice_that_an_older_version_stored_and_cannot_be_had_again_is_an_error() -> None:
    with bentoml.models.create("embedding:imagenet1k-v1") as model:
        (Path(model.path) / "model.safetensors").write_bytes(b"of an older version")
    with pytest.raises(OSError, match=r"127\.0\.0\.1"):
        publish.publish()
    assert publish.choose_embedding("satellite") == "embedding:satellite-1.0.0"
    assert [str(one.tag) for one in bentoml.models.list("embedding")] == ["embedding:satellite-1.0.0"]


@pytest.mark.slow
@pytest.mark.usefixtures("empty_store", "offline")
def test_a_store_that_holds_other_files_under_the_same_tags_is_filled_anew() -> None:
    for tag in ("satellite:1.2.0", "embedding:satellite-1.0.0"):
        with bentoml.models.create(tag) as model:
            (Path(model.path) / "model.safetensors").write_bytes(b"of an older version")
    assert publish.publish()[-1] == "embedding:satellite-1.0.0"
    assert graphs.read(store.path("satellite:1.2.0")).facts["network"] == "EfficientNet-Lite0"


@pytest.mark.slow
@pytest.mark.usefixtures("empty_store", "offline")
@pytest.mark.parametrize("tag", [store.SATELLITE, store.DIAGNOSIS, store.TREATMENT])
def test_an_onnx_model_is_published_once_as_it_is_shipped(tag: str) -> None:
    publish.publish()
    stored = store.path(tag)
    assert stored.suffix == ".onnx"
    assert stored.read_bytes() == store.SHIPPED[tag].read_bytes()
    before = (stored.stat().st_mtime_ns, bentoml.models.get(tag).info.creation_time)
    assert tag in publish.publish()
    assert (store.path(tag).stat().st_mtime_ns, bentoml.models.get(tag).info.creation_time) == before
    assert [str(model.tag) for model in bentoml.models.list(tag.partition(":")[0])] == [tag]


@pytest.mark.slow
@pytest.mark.usefixtures("empty_store", "offline")
@pytest.mark.parametrize("tag", [store.DIAGNOSIS, store.TREATMENT])
def test_the_store_shows_what_an_onnx_model_says_of_itself(tag: str) -> None:
    publish.publish()
    shown = bentoml.models.get(tag).info
    facts = OnnxFile(store.path(tag)).facts
    assert shown.labels == {"project": "atelier"}
    assert shown.metadata == {key: facts[key] for key in ("network", "weights", "licence")}
    assert all(isinstance(text, str) and text for text in shown.metadata.values())


@pytest.mark.usefixtures("empty_store")
@pytest.mark.parametrize("tag", [store.DIAGNOSIS, store.TREATMENT])
def test_a_missing_onnx_model_is_named_with_what_puts_it_there(tag: str) -> None:
    with pytest.raises(ModelUnavailable, match=rf"{re.escape(tag)} .* python -m runners\.artifacts"):
        store.path(tag)


@pytest.mark.server
def test_the_command_line_explains_itself() -> None:
    command = [sys.executable, "-m", "runners.artifacts", "--help"]
    assert "embedding" in subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
