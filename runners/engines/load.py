"""Runs a network as fast as this machine can, and always with the same results.

An ONNX file is run by OpenVINO on a CPU, in bfloat16 where the cores multiply it; by ONNX Runtime where OpenVINO has no
build; by torch on a GPU. None of them is imported before it is chosen.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from runners.serving.machine import cores, gpus
from runners.settings import settings

logger = logging.getLogger("bentoml.atelier")

Name = Literal["openvino", "onnxruntime", "torch"]
MODULES: Final[dict[Name, str]] = {"openvino": "openvino", "onnxruntime": "onnxruntime", "torch": "torch"}

Outputs = NDArray[np.float32]


class Engine(ABC):
    """A network on this machine's best device."""

    facts: dict[str, Any]
    """What the file says of itself."""

    name: Name
    """The library that runs it."""

    precision: str
    """What it computes in: ``float32``, ``bfloat16`` or ``float16``."""

    lanes: int = 1
    """How many batches it computes beside one another; further calls wait."""

    batch: int = 32
    """Most pictures of a batch that are worth it: larger ones would only make their callers wait for one another."""

    @abstractmethod
    def __call__(self, pixels: NDArray[np.uint8]) -> Outputs:
        """uint8 [N, H, W, 3] -> the network's output, float32 [N, ...]. May be called by several threads at once."""

    def warm(self, side: int) -> None:
        """Runs the largest batch that will come, and smaller ones: the first of a size takes some 20 ms more."""
        pixels = np.zeros((self.batch, side, side, 3), np.uint8)
        with ThreadPoolExecutor(self.lanes) as threads:
            while len(pixels):
                list(threads.map(self, [pixels] * self.lanes))
                pixels = pixels[: len(pixels) // 2]


def load(path: Path, *, name: Name | None = None, precision: str | None = None, threads: int | None = None) -> Engine:
    """The network of an ONNX file. Raises OSError when there is no such file, KeyError when it explains nothing."""
    if not path.is_file():
        raise FileNotFoundError(path)
    wanted = precision or settings().precision
    threads = threads or settings().threads or cores()
    chosen = name or choose()
    if chosen == "openvino":
        from runners.engines.openvino_cpu import OpenVinoEngine

        return OpenVinoEngine(path, wanted, threads)
    if chosen == "torch":
        from runners.engines.torch_gpu import from_file

        return from_file(path, wanted, threads=threads)
    from runners.engines.onnx_cpu import OnnxEngine

    if wanted == "bfloat16":
        logger.warning("ONNX Runtime computes in float32 here: ATELIER_PRECISION=bfloat16 needs OpenVINO")
    return OnnxEngine(path, threads)


def choose() -> Name:
    """The engine that settings, GPUs and installed libraries allow."""
    wanted = settings().engine
    if wanted != "auto":
        return wanted
    if gpus() and _installed("torch"):
        return "torch"
    if gpus():
        logger.warning("a GPU is here, but torch is not: the CPU computes (make .venv/gpu installs it)")
    return "openvino" if _installed("openvino") else "onnxruntime"


def _installed(name: Name) -> bool:
    return find_spec(MODULES[name]) is not None
