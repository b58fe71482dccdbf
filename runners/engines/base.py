"""The interface of all engines, which run a network on this machine's best device."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Name = Literal["openvino", "onnxruntime", "torch"]
Outputs = NDArray[np.float32]


def precision_of(requested: str, facts: Mapping[str, Any]) -> str:
    """Return the requested precision; for "auto", that of the model file if it names one.

    A file names float32 where faster formats would change its answers.
    """
    return str(facts.get("precision", requested)) if requested == "auto" else requested


class Engine(ABC):
    """A network on this machine's best device."""

    facts: dict[str, Any]
    """Metadata of the network's file."""

    name: Name
    """The library that runs it."""

    precision: str
    """Number format of the computation: ``float32``, ``bfloat16`` or ``float16``."""

    streams: int = 1
    """Number of batches computed concurrently; further calls wait."""

    max_batch_size: int = 32
    """Pictures of the largest useful batch: larger ones would only add waiting time."""

    @abstractmethod
    def __call__(self, pixels: NDArray[np.uint8]) -> Outputs:
        """Run the network: uint8 [N, H, W, 3] -> float32 [N, ...]. Threads may call it concurrently."""

    def warm(self, side: int) -> None:
        """Run the largest batch and smaller ones: the first run of each size takes some 20 ms more."""
        pixels = np.zeros((self.max_batch_size, side, side, 3), np.uint8)
        with ThreadPoolExecutor(self.streams) as threads:
            while len(pixels):
                list(threads.map(self, [pixels] * self.streams))
                pixels = pixels[: len(pixels) // 2]
