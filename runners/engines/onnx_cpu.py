"""ONNX Runtime on a CPU, in float32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runners.engines.base import Engine, Outputs
from runners.models.onnx_file import OnnxFile


class OnnxEngine(Engine):
    """A network in ONNX Runtime."""

    name = "onnxruntime"
    precision = "float32"

    def __init__(self, path: Path, threads: int) -> None:
        self._graph = OnnxFile(path, threads)
        self.facts = self._graph.facts

    def __call__(self, pixels: NDArray[np.uint8]) -> Outputs:
        """Run the network without holding the interpreter's lock."""
        (output,) = self._graph(pixels=pixels)
        return np.asarray(output, np.float32)
