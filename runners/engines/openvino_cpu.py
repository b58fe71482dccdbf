"""OpenVINO on a CPU."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from runners.engine import Engine, Outputs
from runners.models.facts import FACTS

# Importing openvino sends an event to its maker, where this module can be had; nothing here is sent anywhere.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
import openvino  # noqa: E402

METADATA: Final = ["framework", FACTS]
"""Where OpenVINO keeps what it finds in an ONNX file's metadata."""

TYPES: Final = {"float32": "f32", "bfloat16": "bf16"}
NAMES: Final = {"f32": "float32", "float": "float32", "bf16": "bfloat16", "bfloat16": "bfloat16", "f16": "float16"}


class OpenVinoEngine(Engine):
    """A graph compiled for this machine's cores."""

    name = "openvino"

    def __init__(self, path: Path, precision: str, threads: int) -> None:
        core = openvino.Core()
        model = core.read_model(path)
        if not model.has_rt_info(METADATA):
            raise KeyError(FACTS)
        self.facts = json.loads(model.get_rt_info(METADATA).astype(str))
        # Each model is a process: pinned, all of them would share the first core.
        options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, "ENABLE_CPU_PINNING": False}
        if precision != "auto":  # else what the cores multiply fastest without losing labels
            options["INFERENCE_PRECISION_HINT"] = TYPES[precision]
        compiled = core.compile_model(model, "CPU", options)
        computed = compiled.get_property("INFERENCE_PRECISION_HINT")
        self.precision = NAMES[computed.get_type_name()]
        self._request = compiled.create_infer_request()

    def __call__(self, pixels: NDArray[np.uint8]) -> Outputs:
        """Runs outside the interpreter's lock."""
        self._request.infer([np.ascontiguousarray(pixels)], share_inputs=True)
        return np.array(self._request.get_output_tensor().data, np.float32)
