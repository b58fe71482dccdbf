"""The network that every peer serves, with the usual torchvision transform, and the answers from its output."""

from __future__ import annotations

import os
from collections.abc import Callable
from io import BytesIO
from typing import Any, Final, Literal, cast

import torch
from PIL import Image
from torch import Tensor, nn
from torchvision import transforms
from torchvision.models import resnet18

Task = Literal["classify", "embed"]
Transform = Callable[[Image.Image], Tensor]

MAX_BATCH_SIZE: Final = 32
"""Maximum number of pictures in a batch, the same as Atelier's."""

MEAN: Final = (0.485, 0.456, 0.406)
STD: Final = (0.229, 0.224, 0.225)
LABELS: Final = ("forêt", "mer", "désert", "nuageux")


def task() -> Task:
    """Return the task of this process, from the variable ``BENCH_TASK``."""
    return "embed" if os.environ.get("BENCH_TASK") == "embed" else "classify"


def load(task: Task) -> tuple[nn.Module, Transform]:
    """Return the network in float32 and the transform of its input."""
    return (_embedder(), _compose(256, 224)) if task == "embed" else (_classifier(), _compose(128, 128))


def picture(data: bytes) -> Image.Image:
    """Decode a picture as in tutorials."""
    return Image.open(BytesIO(data)).convert("RGB")


def answers(task: Task, output: Tensor) -> list[dict[str, Any]]:
    """Return the response for each row of a network's output."""
    rows = output.float()
    if task == "embed":
        return [{"embedding": row} for row in nn.functional.normalize(rows, dim=1).tolist()]
    return [_verdict(row) for row in rows.softmax(dim=1).tolist()]


class Batches:
    """The network, converted to bfloat16 and channels last: a list of inputs in, a list of answers out.

    Conversion was a little faster than autocast, for 128 pixels and for 224.
    """

    def __init__(self, task: Task) -> None:
        network, self.transform = load(task)
        self._task = task
        self._network = network.to(torch.bfloat16).to(memory_format=torch.channels_last)
        with torch.inference_mode():
            shape = self.transform(Image.new("RGB", (640, 480))).shape
            self._network(self._batch([torch.zeros(shape)] * MAX_BATCH_SIZE))  # the first pass compiles kernels

    def __call__(self, inputs: list[Tensor]) -> list[dict[str, Any]]:
        """Compute the answers in one pass."""
        with torch.inference_mode():
            return answers(self._task, self._network(self._batch(inputs)))

    @staticmethod
    def _batch(inputs: list[Tensor]) -> Tensor:
        return torch.stack(inputs).to(dtype=torch.bfloat16, memory_format=torch.channels_last)


def _classifier() -> nn.Module:
    from runners.artifacts.store import SATELLITE, SHIPPED
    from runners.engines.torch_gpu import from_file

    served = from_file(SHIPPED[SATELLITE], "float32", "cpu").module
    return cast("nn.Module", served.network).eval()


def _embedder() -> nn.Module:
    torch.manual_seed(0)
    network: nn.Module = resnet18(weights=None)
    network.fc = nn.Identity()
    return network.eval()


def _compose(resize: int, crop: int) -> Transform:
    steps = (
        transforms.Resize(resize),
        transforms.CenterCrop(crop),
        transforms.ToTensor(),
        transforms.Normalize(MEAN, STD),
    )
    composed: Transform = transforms.Compose(steps)
    return composed


def _verdict(probabilities: list[float]) -> dict[str, Any]:
    by_label = dict(zip(LABELS, probabilities, strict=False))
    label = max(by_label, key=lambda name: by_label[name])
    return {"label": label, "confidence": by_label[label], "probabilities": by_label}
