"""The network that every peer serves, with the usual torchvision transform, and the answers from its output."""

from __future__ import annotations

import os
from collections.abc import Callable
from io import BytesIO
from typing import Any, Final, Literal, Protocol, cast

import torch
from PIL import Image
from torch import Tensor, nn
from torchvision import transforms
from torchvision.models import resnet18

from runners.engines.torch_gpu import cpu_multiplies_bfloat16
from runners.models.vision.transform import IMAGENET_TRANSFORM, SATELLITE_TRANSFORM, EvalTransform

Task = Literal["classify", "embed"]
Transform = Callable[[Image.Image], Tensor]

MAX_BATCH_SIZE: Final = 32
"""Maximum number of pictures in a batch, the same as Atelier's."""

TRANSFORMS: Final = {"classify": SATELLITE_TRANSFORM, "embed": IMAGENET_TRANSFORM}
"""What each network's pictures are resized to, cut to and normalised with; the peers do it with torchvision."""
LABELS: Final = ("forêt", "mer", "désert", "nuageux")


def task() -> Task:
    """Return the task of this process, from the variable ``BENCH_TASK``."""
    return "embed" if os.environ.get("BENCH_TASK") == "embed" else "classify"


def load(task: Task) -> tuple[nn.Module, Transform]:
    """Return the network in float32 and the transform of its input."""
    network = _embedder() if task == "embed" else _classifier()
    wanted = TRANSFORMS[task]
    return network, _compose(wanted, transforms.ToTensor(), transforms.Normalize(wanted.mean, wanted.std))


def picture(data: bytes) -> Image.Image:
    """Decode a picture as in tutorials."""
    return Image.open(BytesIO(data)).convert("RGB")


def answers(task: Task, output: Tensor) -> list[dict[str, Any]]:
    """Return the response for each row of a network's output."""
    rows = output.float()
    if task == "embed":
        return [{"embedding": row} for row in nn.functional.normalize(rows, dim=1).tolist()]
    return [_verdict(row) for row in rows.softmax(dim=1).tolist()]


class Batched(Protocol):
    """A list of inputs in, a list of answers out."""

    transform: Transform
    """Makes an input of a picture."""

    def __call__(self, inputs: list[Tensor]) -> list[dict[str, Any]]:
        """Compute the answers in one pass."""


def batched(task: Task, threads: int) -> Batched:
    """Return the network as the variable ``BENCH_ENGINE`` wants it: of torch, or of ``openvino``."""
    return OpenVinoBatches(task, threads) if os.environ.get("BENCH_ENGINE") == "openvino" else Batches(task)


class OpenVinoBatches:
    """Atelier's own file and engine, in the precision that Atelier serves in."""

    def __init__(self, task: Task, threads: int) -> None:
        from runners.artifacts import store
        from runners.engines import load as engines

        tag = store.SATELLITE if task == "classify" else store.EMBEDDINGS["imagenet"]
        self._task, self._network = task, engines.load(store.path(tag), name="openvino", threads=threads)
        self.transform = _compose(TRANSFORMS[task], transforms.PILToTensor())
        self._network.warm(TRANSFORMS[task].crop)

    def __call__(self, inputs: list[Tensor]) -> list[dict[str, Any]]:
        """Compute the answers in one pass."""
        pixels = torch.stack(inputs).permute(0, 2, 3, 1).contiguous().numpy()
        return answers(self._task, torch.from_numpy(self._network(pixels)))


class Batches:
    """The network of torch, channels last; in bfloat16 where the cores multiply it.

    Conversion was a little faster than autocast, for 128 pixels and for 224.
    """

    def __init__(self, task: Task) -> None:
        network, self.transform = load(task)
        self._task = task
        self._dtype = torch.bfloat16 if cpu_multiplies_bfloat16() else torch.float32
        self._network = network.to(self._dtype).to(memory_format=torch.channels_last)
        with torch.inference_mode():
            shape = self.transform(Image.new("RGB", (640, 480))).shape
            self._network(self._batch([torch.zeros(shape)] * MAX_BATCH_SIZE))  # the first pass compiles kernels

    def __call__(self, inputs: list[Tensor]) -> list[dict[str, Any]]:
        """Compute the answers in one pass."""
        with torch.inference_mode():
            return answers(self._task, self._network(self._batch(inputs)))

    def _batch(self, inputs: list[Tensor]) -> Tensor:
        return torch.stack(inputs).to(dtype=self._dtype, memory_format=torch.channels_last)


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


def _compose(wanted: EvalTransform, *steps: nn.Module) -> Transform:
    sides = (transforms.Resize(wanted.resize), transforms.CenterCrop(wanted.crop))
    composed: Transform = transforms.Compose([*sides, *steps])
    return composed


def _verdict(probabilities: list[float]) -> dict[str, Any]:
    by_label = dict(zip(LABELS, probabilities, strict=False))
    label = max(by_label, key=lambda name: by_label[name])
    return {"label": label, "confidence": by_label[label], "probabilities": by_label}
