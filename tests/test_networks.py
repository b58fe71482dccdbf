"""The networks against torchvision run directly."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.nn.functional import cosine_similarity
from torchvision.models import ResNet18_Weights, resnet18

from runners import artifacts
from runners.engine import Engine
from runners.models import weights
from runners.models.networks import Embedder, SatelliteNet
from runners.models.satellite import LABELS, judge
from runners.models.transform import IMAGENET_TRANSFORM, SATELLITE_TRANSFORM, EvalTransform
from runners.models.weights import Weights
from tests.conftest import picture

SIZES = [(64, 64), (640, 480), (300, 500), (224, 224), (31, 120)]


@pytest.mark.parametrize("size", SIZES)
def test_the_imagenet_transform_is_torchvisions(size: tuple[int, int]) -> None:
    image = picture(1, size)
    theirs = ResNet18_Weights.IMAGENET1K_V1.transforms()(image)
    assert torch.allclose(IMAGENET_TRANSFORM(image), theirs, atol=1e-6)


def test_a_transform_survives_its_description() -> None:
    assert EvalTransform.from_dict(SATELLITE_TRANSFORM.as_dict()) == SATELLITE_TRANSFORM


@pytest.mark.parametrize(("precision", "cosine"), [("float32", 0.9999), ("bfloat16", 0.999)])
def test_vectors_equal_torchvision_run_directly(tmp_path: Path, precision: str, cosine: float) -> None:
    torch.manual_seed(0)
    reference = resnet18(weights=None).eval()
    images = [picture(seed, size) for seed, size in enumerate(SIZES)]
    transform = ResNet18_Weights.IMAGENET1K_V1.transforms()
    body = torch.nn.Sequential(*list(reference.children())[:-1])
    with torch.no_grad():
        wanted = torch.stack([body(transform(image)[None])[0, :, 0, 0] for image in images])
    tensors = {f"trunk.{name}": value for name, value in reference.state_dict().items() if not name.startswith("fc.")}
    path = tmp_path / "model.safetensors"
    weights.save(path, Weights(tensors, {}))
    embedder = Embedder()
    embedder.load_state_dict(weights.read(path).tensors)
    vectors = Engine(embedder, precision=precision)([IMAGENET_TRANSFORM(image) for image in images])
    assert cosine_similarity(vectors, wanted).min() >= cosine
    assert torch.allclose(vectors.norm(dim=1), torch.ones(len(images)), atol=1e-5)


def test_the_served_precision_says_what_float32_says(store: Path) -> None:
    stored = artifacts.load(artifacts.SATELLITE)
    network = SatelliteNet()
    network.load_state_dict(stored.tensors)
    pixels = [SATELLITE_TRANSFORM(picture(seed)) for seed in range(16)]
    exact = Engine(network, precision="float32")(pixels).softmax(dim=1)
    served = Engine(network, precision="bfloat16")(pixels).softmax(dim=1)
    assert torch.equal(exact.argmax(dim=1), served.argmax(dim=1))
    assert (exact - served).abs().max() < 0.05


def test_a_model_file_is_half_as_large_and_explains_itself(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    weights.save(path, Weights({"kernel": torch.ones(100, 100), "scale": torch.full((3,), 1e6)}, {"labels": ["forêt"]}))
    read = weights.read(path)
    assert path.stat().st_size < 21_000
    assert read.facts == {"labels": ["forêt"]}
    assert read.tensors["kernel"].dtype == torch.float32
    assert read.tensors["scale"][0] == 1e6


def test_the_shipped_weights_are_small_enough_to_ship() -> None:
    assert artifacts.SHIPPED[artifacts.SATELLITE].stat().st_size <= 25_000_000


def test_the_shipped_weights_explain_themselves() -> None:
    facts = weights.read(artifacts.SHIPPED[artifacts.SATELLITE]).facts
    assert {"labels", "transform", "temperature", "threshold", "config", "data", "figures", "licence"} <= facts.keys()
    assert facts["labels"]["fr"] == list(LABELS["fr"])


def test_a_verdict_names_its_labels_in_the_wanted_language() -> None:
    verdict = judge([0.7, 0.1, 0.05, 0.05, 0.1], threshold=0.5, language="zh")
    assert (verdict.label, verdict.confidence, verdict.rejected) == ("森林", 0.7, False)
    assert sum(verdict.probabilities.values()) == pytest.approx(0.9)


def test_a_scene_that_is_none_of_the_four_is_rejected() -> None:
    verdict = judge([0.2, 0.1, 0.05, 0.05, 0.6], threshold=0.5, language="fr")
    assert verdict.rejected
    assert verdict.confidence == 0.2


@pytest.mark.parametrize("size", [(3, 400), (10_000, 1), (1, 10_000), (1, 1)])
def test_a_picture_of_any_shape_becomes_a_square_without_growing_first(size: tuple[int, int]) -> None:
    before = peak_memory()
    assert IMAGENET_TRANSFORM(Image.new("RGB", size)).shape == (3, 224, 224)
    # Enlarged whole, 10,000 x 1 pixels become 2,560,000 x 256.
    assert peak_memory() < before + 300_000_000


def test_the_middle_of_a_strip_is_what_is_seen() -> None:
    strip = Image.new("RGB", (900, 10), "red")
    strip.paste("blue", (400, 0, 500, 10))
    blue = SATELLITE_TRANSFORM(Image.new("RGB", (10, 10), "blue"))
    assert torch.allclose(SATELLITE_TRANSFORM(strip), blue, atol=1e-5)


def peak_memory() -> int:
    """This process's most resident bytes so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
