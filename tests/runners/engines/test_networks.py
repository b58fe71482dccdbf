"""The networks, their transform and what is made of their outputs, against torchvision run directly."""

from __future__ import annotations

import resource
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torchvision.models import ResNet18_Weights
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

from runners.artifacts import store as artifacts
from runners.models import onnx_file
from runners.models.vision.networks import Served, resnet18_trunk
from runners.models.vision.outputs import l2_normalized, softmax
from runners.models.vision.satellite import LABELS, judge
from runners.models.vision.transform import (
    EMBEDDING_TRANSFORM,
    IMAGENET_TRANSFORM,
    SATELLITE_TRANSFORM,
    EvalTransform,
)
from tests.conftest import picture

SIZES = [(64, 64), (640, 480), (300, 500), (224, 224), (31, 120), (1000, 137), (129, 128), (3, 400)]


def torchvisions(image: Image.Image, transform: EvalTransform) -> NDArray[np.uint8]:
    resized = F.resize(image, [transform.resize], interpolation=InterpolationMode.BILINEAR, antialias=True)
    return np.asarray(F.center_crop(resized, [transform.crop]))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("transform", [IMAGENET_TRANSFORM, SATELLITE_TRANSFORM, EMBEDDING_TRANSFORM])
def test_pixels_are_torchvisions_but_for_rounding(size: tuple[int, int], transform: EvalTransform) -> None:
    image = picture(1, size)
    difference = transform(image).astype(int) - torchvisions(image, transform)
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("size", SIZES)
def test_what_the_network_is_given_is_torchvisions_imagenet_transform(size: tuple[int, int]) -> None:
    image = picture(1, size)
    theirs = ResNet18_Weights.IMAGENET1K_V1.transforms()(image)
    served = Served(resnet18_trunk(), IMAGENET_TRANSFORM)
    ours = served.normalised(torch.from_numpy(IMAGENET_TRANSFORM(image).copy())[None])[0]
    assert (ours - theirs).abs().max() <= 1 / 255 / min(IMAGENET_TRANSFORM.std) + 1e-5


def test_a_transform_survives_its_description() -> None:
    assert EvalTransform.from_dict(SATELLITE_TRANSFORM.as_dict()) == SATELLITE_TRANSFORM


def test_probabilities_sum_to_one_and_do_not_overflow() -> None:
    rows = softmax(np.array([[1000.0, 999.0, -1000.0], [0.0, 0.0, 0.0]], np.float32))
    wanted = torch.tensor([[1000.0, 999.0, -1000.0], [0.0, 0.0, 0.0]]).softmax(dim=1).numpy()
    assert rows == pytest.approx(wanted, abs=1e-6)


def test_a_vector_gets_length_one_and_nothing_stays_nothing() -> None:
    rows = l2_normalized(np.array([[3.0, 4.0], [0.0, 0.0]], np.float32))
    assert rows.tolist() == [pytest.approx([0.6, 0.8]), [0.0, 0.0]]


def test_the_shipped_weights_are_small_enough_to_ship() -> None:
    assert artifacts.SHIPPED[artifacts.SATELLITE].stat().st_size <= 10_000_000


def test_the_shipped_weights_explain_themselves() -> None:
    facts = onnx_file.read_facts(artifacts.SHIPPED[artifacts.SATELLITE])
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
    assert IMAGENET_TRANSFORM(Image.new("RGB", size)).shape == (224, 224, 3)
    # Enlarged whole, 10,000 x 1 pixels become 2,560,000 x 256.
    assert peak_memory() < before + 300_000_000


def test_the_middle_of_a_strip_is_what_is_seen() -> None:
    strip = Image.new("RGB", (900, 10), "red")
    strip.paste("blue", (400, 0, 500, 10))
    assert (SATELLITE_TRANSFORM(strip) == SATELLITE_TRANSFORM(Image.new("RGB", (10, 10), "blue"))).all()


def test_the_model_store_of_the_tests_holds_what_is_shipped(store: Path) -> None:
    assert artifacts.path(artifacts.SATELLITE).read_bytes() == artifacts.SHIPPED[artifacts.SATELLITE].read_bytes()


def peak_memory() -> int:
    """This process's most resident bytes so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
