"""An ONNX file: its graph, run by ONNX Runtime, and the facts in its metadata."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from runners.models.facts import FACTS

Array = NDArray[Any]


class OnnxFile:
    """A loaded model. Raises OSError if there is no file, KeyError if it has no facts."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        if not path.is_file():
            raise FileNotFoundError(path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.enable_cpu_mem_arena = False  # requests are small: an arena would only keep the largest one's memory
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.facts: dict[str, Any] = json.loads(self._session.get_modelmeta().custom_metadata_map[FACTS])

    def __call__(self, **inputs: Array) -> list[Array]:
        """Run the graph on inputs by name and return its outputs."""
        return [np.asarray(output) for output in self._session.run(None, inputs)]


def read_facts(path: Path) -> dict[str, Any]:
    """Return only the facts. Raises OSError and KeyError like ``OnnxFile``."""
    return OnnxFile(path).facts
