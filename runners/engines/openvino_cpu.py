"""OpenVINO on a CPU, in float32 or bfloat16."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from runners.engines.base import Engine, Outputs, precision_of
from runners.models.facts import FACTS

# If this module is installed, importing openvino sends telemetry; None blocks its import.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
import openvino  # noqa: E402

# The table of types is created on first use. If two threads used it first at the same time, they would deadlock, so the
# importing thread does it.
openvino.Type.f32.to_dtype()

METADATA: Final = ["framework", FACTS]
"""Path of an ONNX file's metadata in OpenVINO's model."""

TYPES: Final = {"float32": "f32", "bfloat16": "bf16"}
NAMES: Final = {"f32": "float32", "float": "float32", "bf16": "bfloat16", "bfloat16": "bfloat16", "f16": "float16"}


MAX_STREAMS: Final = 4
"""Batches computed concurrently, at most."""


class OpenVinoEngine(Engine):
    """A network compiled for this machine's cores, which compute several batches concurrently.

    Cores that share a batch wait for one another at every layer, and a core that also decodes delays all of them.
    Separate batches gave a fifth more throughput; a single request takes a third longer. Compiling the network for both
    cases would take 100 MB more.
    """

    name = "openvino"
    max_batch_size = 8

    def __init__(self, path: Path, precision: str, threads: int) -> None:
        core = openvino.Core()
        model = core.read_model(path)
        if not model.has_rt_info(METADATA):
            raise KeyError(FACTS)
        self.facts = json.loads(model.get_rt_info(METADATA).astype(str))
        # Each model is a process: with pinning, all of them would share the first core.
        options: dict[str, Any] = {"INFERENCE_NUM_THREADS": threads, "ENABLE_CPU_PINNING": False}
        precision = precision_of(precision, self.facts)
        if precision != "auto":  # auto: OpenVINO's fastest precision
            options["INFERENCE_PRECISION_HINT"] = TYPES[precision]
        self.streams = min(threads, MAX_STREAMS)
        compiled = core.compile_model(model, "CPU", {**options, "NUM_STREAMS": self.streams})
        computed = compiled.get_property("INFERENCE_PRECISION_HINT")
        self.precision = NAMES[computed.get_type_name()]
        self._requests: SimpleQueue[Any] = SimpleQueue()
        for _ in range(self.streams):
            self._requests.put(compiled.create_infer_request())

    def __call__(self, pixels: NDArray[np.uint8]) -> Outputs:
        """Run the network without holding the interpreter's lock."""
        request = self._requests.get()
        try:
            request.infer([np.ascontiguousarray(pixels)], share_inputs=True)
            return np.array(request.get_output_tensor().data, np.float32)
        finally:
            self._requests.put(request)
