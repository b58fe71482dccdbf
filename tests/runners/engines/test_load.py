"""The engines: every library, in every precision, computes what float32 torch does."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from torchvision.models import ResNet18_Weights, resnet18

from runners.artifacts import precision_check, store
from runners.engines import load, torch_gpu
from runners.engines.base import Name, precision_of
from runners.errors import ModelUnavailable
from runners.models import onnx_file
from runners.models.vision import graphs
from runners.models.vision.networks import SatelliteNet
from runners.models.vision.outputs import softmax
from runners.models.vision.transform import IMAGENET_TRANSFORM, SATELLITE_TRANSFORM, EvalTransform
from runners.settings import settings
from tests.conftest import picture
from tests.support.servers import ROOT
from training import onnx_export

ENGINES: list[tuple[Name, str]] = [
    ("openvino", "float32"),
    ("openvino", "bfloat16"),
    ("openvino", "auto"),
    ("onnxruntime", "float32"),
    ("torch", "float32"),
    ("torch", "bfloat16"),
]
SHIPPED = store.SHIPPED[store.SATELLITE]


def pictures(number: int) -> NDArray[np.uint8]:
    return np.stack([SATELLITE_TRANSFORM(picture(seed)) for seed in range(number)])


@pytest.mark.parametrize(("name", "precision"), ENGINES)
def test_every_engine_says_what_float32_says(name: Name, precision: str) -> None:
    pixels = pictures(16)
    file = SHIPPED if precision == "float32" else store.EMBEDDING_FILE  # the other one is not served in bfloat16
    exact = softmax(load.load(file, name="torch", precision="float32")(pixels))
    served = softmax(load.load(file, name=name, precision=precision)(pixels))
    assert (exact.argmax(axis=1) == served.argmax(axis=1)).all()
    assert np.abs(exact - served).max() < (1e-4 if precision == "float32" else 0.05)


@pytest.mark.parametrize(("name", "precision"), ENGINES)
def test_vectors_equal_torchvision_run_directly(tmp_path: Path, name: Name, precision: str) -> None:
    torch.manual_seed(0)
    reference = resnet18(weights=None).eval()
    reference.fc = torch.nn.Identity()
    images = [picture(seed, size) for seed, size in enumerate([(64, 64), (640, 480), (300, 500), (31, 120)])]
    with torch.no_grad():
        wanted = torch.cat([reference(ResNet18_Weights.IMAGENET1K_V1.transforms()(image)[None]) for image in images])
    state = {one: value.numpy() for one, value in reference.state_dict().items()}
    path = tmp_path / "model.onnx"
    facts = {"network": "ResNet18", "transform": IMAGENET_TRANSFORM.as_dict()}
    graphs.trunk(store.EMBEDDING_FILE, path, facts, state)
    vectors = load.load(path, name=name, precision=precision)(np.stack([IMAGENET_TRANSFORM(one) for one in images]))
    assert precision_check.cosines(vectors, wanted.numpy()).min() >= (0.9999 if precision == "float32" else 0.999)


@pytest.mark.parametrize("name", ["openvino", "onnxruntime", "torch"])
def test_batches_of_any_size_follow_one_another(name: Name) -> None:
    network = load.load(SHIPPED, name=name, precision="float32")
    pixels = pictures(5)
    together = network(pixels)
    for number in (1, 3, 2, 5):
        assert network(pixels[:number]) == pytest.approx(together[:number], abs=1e-3)


@pytest.mark.parametrize("name", ["openvino", "onnxruntime", "torch"])
def test_calls_of_several_threads_get_their_own_answers(name: Name) -> None:
    network = load.load(SHIPPED, name=name, precision="float32", threads=2)
    pixels = pictures(8)
    alone = [network(pixels[number : number + 1]) for number in range(8)]
    with ThreadPoolExecutor(8) as threads:
        beside = list(threads.map(lambda number: network(pixels[number % 8 : number % 8 + 1]), range(64)))
    for number, answer in enumerate(beside):
        assert answer == pytest.approx(alone[number % 8], abs=1e-3)


def test_an_answer_is_not_overwritten_by_the_next_one() -> None:
    network = load.load(SHIPPED, name="openvino")
    pixels = pictures(2)
    first = network(pixels[:1])
    kept = first.copy()
    network(pixels[1:])
    assert (first == kept).all()


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load.load(tmp_path / "nothing.onnx")


@pytest.mark.parametrize("name", ["openvino", "onnxruntime", "torch"])
def test_a_file_that_explains_nothing_is_refused(tmp_path: Path, name: Name) -> None:
    model = onnx.load(SHIPPED)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "mute.onnx")
    with pytest.raises(KeyError):
        load.load(tmp_path / "mute.onnx", name=name)


def test_the_engine_is_the_one_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATELIER_ENGINE", "onnxruntime")
    settings.cache_clear()
    try:
        assert load.load(SHIPPED).name == "onnxruntime"
    finally:
        monkeypatch.delenv("ATELIER_ENGINE")
        settings.cache_clear()


@pytest.mark.parametrize(
    ("gpus", "installed", "chosen"),
    [
        (0, {"torch", "openvino"}, "openvino"),
        (0, {"torch"}, "onnxruntime"),
        (1, {"torch", "openvino"}, "torch"),
        (1, {"openvino"}, "openvino"),
    ],
)
def test_the_fastest_engine_that_is_there_is_chosen(
    monkeypatch: pytest.MonkeyPatch, gpus: int, installed: set[str], chosen: str
) -> None:
    monkeypatch.setattr(load, "gpus", lambda: gpus)
    monkeypatch.setattr(load, "_installed", lambda name: name in installed)
    assert load.choose() == chosen


def test_serving_on_a_cpu_imports_neither_torch_nor_telemetry() -> None:
    code = (
        "import sys; from runners.engines import load; from runners.artifacts.store import SHIPPED, SATELLITE\n"
        "assert load.load(SHIPPED[SATELLITE], name='openvino').name == 'openvino'\n"
        "loaded = [one for one in ('torch', 'torchvision', 'transformers', 'onnx') if one in sys.modules]\n"
        "assert not loaded, loaded\n"
        # Importing openvino with this module at hand sends an event over the network.
        "assert sys.modules['openvino_telemetry'] is None\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_a_network_is_exported_as_it_computes(tmp_path: Path) -> None:
    torch.manual_seed(3)
    network = SatelliteNet("EfficientNet-Lite0")
    network(torch.randn(8, 3, 64, 64))  # an untrained network's normalisations are all the same
    network.eval()
    path = tmp_path / "new.onnx"
    facts: dict[str, Any] = {
        "network": "EfficientNet-Lite0",
        "transform": {**SATELLITE_TRANSFORM.as_dict(), "mean": [0.5, 0.4, 0.3], "std": [1, 1, 1]},
        "labels": ["é"],
    }
    onnx_export.export_pictures(network, EvalTransform.from_dict(facts["transform"]), facts, path)
    read = graphs.read(path)
    assert read.facts == facts
    assert read.tensors["network.head.weight"] == pytest.approx(network.head.weight.detach().numpy(), rel=1e-3)
    assert b"/" + b"tests" not in path.read_bytes()  # no path of the machine that exported it
    again = torch_gpu.from_file(path, "float32", "cpu")(pictures(2))
    assert load.load(path, name="onnxruntime")(pictures(2)) == pytest.approx(again, abs=1e-3)


@pytest.mark.parametrize("damage", ["missing", "shape", "nan", "unknown"])
def test_weights_that_do_not_fit_are_refused(tmp_path: Path, damage: str) -> None:
    state = {one: value.numpy() for one, value in resnet18(weights=None).state_dict().items() if "fc" not in one}
    if damage == "missing":
        del state["layer4.1.conv2.weight"]
    elif damage == "shape":
        state["conv1.weight"] = state["conv1.weight"][:, :2]
    elif damage == "nan":
        state["layer1.0.conv1.weight"] = state["layer1.0.conv1.weight"] * np.nan
    else:
        state["layer9.0.conv1.weight"] = state["layer1.0.conv1.weight"]
    with pytest.raises((ValueError, KeyError)):
        graphs.trunk(store.EMBEDDING_FILE, tmp_path / "m.onnx", {"transform": IMAGENET_TRANSFORM.as_dict()}, state)


@pytest.mark.parametrize(
    ("requested", "named", "served"),
    [("auto", "float32", "float32"), ("bfloat16", "float32", "bfloat16"), ("auto", None, "auto")],
)
def test_a_file_names_its_precision_unless_the_settings_do(requested: str, named: str | None, served: str) -> None:
    assert precision_of(requested, {"precision": named} if named else {}) == served


def test_the_satellite_network_names_float32() -> None:
    assert onnx_file.read_facts(SHIPPED)["precision"] == "float32"


def test_published_networks_agree_with_float32() -> None:
    assert precision_check.check(SHIPPED) >= precision_check.MIN_COSINE


def test_a_machine_that_computes_something_else_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    served = load.load(SHIPPED)
    monkeypatch.setattr(served, "precision", "bfloat16")  # also where a machine has none
    monkeypatch.setattr(load, "load", lambda _: served)
    monkeypatch.setattr(precision_check, "MIN_COSINE", 1.1)
    with pytest.raises(ModelUnavailable, match="ATELIER_PRECISION=float32"):
        precision_check.check(SHIPPED)


def test_openvino_takes_the_first_arrays_of_two_threads_at_once() -> None:
    # Without a Python instruction between, at which the interpreter would change threads: one waits for its lock while
    # the other, which has it, comes to where OpenVINO lets go of it for a moment, the first time that it names a type.
    code = """
import operator, threading, time
from functools import partial
from runners.engines.openvino_cpu import openvino
def thread(first):
    return threading.Thread(target=list, args=[map(operator.call, [first, openvino.Type.f32.to_dtype])])
threads = [thread(partial(time.sleep, 0.05)), thread(partial(sum, range(10_000_000)))]
for one in threads: one.start()
for one in threads: one.join()
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=30)
