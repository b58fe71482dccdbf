"""The interface of an engine: a network on this machine's best device."""

from __future__ import annotations

from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Name = Literal["openvino", "onnxruntime", "torch"]
Outputs = NDArray[np.float32]


class Engine(ABC):
    """A network on this machine's best device."""

    facts: dict[str, Any]
    """What the file says of itself."""

    name: Name
    """The library that runs it."""

    precision: str
    """What it computes in: ``float32``, ``bfloat16`` or ``float16``."""

    streams: int = 1
    """How many batches it computes beside one another; further calls wait."""

    max_batch_size: int = 32
    """Most pictures of a batch that are worth it: larger ones would only make their callers wait for one another."""

    @abstractmethod
    def __call__(self, pixels: NDArray[np.uint8]) -> Outputs:
        """uint8 [N, H, W, 3] -> the network's output, float32 [N, ...]. May be called by several threads at once."""

    def warm(self, side: int) -> None:
        """Runs the largest batch that will come, and smaller ones: the first of a size takes some 20 ms more."""
        pixels = np.zeros((self.max_batch_size, side, side, 3), np.uint8)
        with ThreadPoolExecutor(self.streams) as threads:
            while len(pixels):
                list(threads.map(self, [pixels] * self.streams))
                pixels = pixels[: len(pixels) // 2]
