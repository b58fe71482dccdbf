"""Chooses the fastest engine of this machine for a network; all engines give the same results.

On a CPU, OpenVINO runs an ONNX file, in bfloat16 if the cores support it. ONNX Runtime runs it where OpenVINO has no
build, and torch on a GPU. A library is imported only when it is chosen.
"""

from __future__ import annotations

import logging
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from machine.devices import cores, gpus
from runners.engines.base import Engine, Name
from runners.settings import settings

logger = logging.getLogger("bentoml.atelier")

MODULES: Final[dict[Name, str]] = {"openvino": "openvino", "onnxruntime": "onnxruntime", "torch": "torch"}


def load(path: Path, *, name: Name | None = None, precision: str | None = None, threads: int | None = None) -> Engine:
    """Load the network of an ONNX file. Raises OSError if there is no file, KeyError if it has no metadata."""
    if not path.is_file():
        raise FileNotFoundError(path)
    requested = precision or settings().precision
    threads = threads or settings().threads or cores()
    chosen = name or choose()
    if chosen == "openvino":
        from runners.engines.openvino_cpu import OpenVinoEngine

        return OpenVinoEngine(path, requested, threads)
    if chosen == "torch":
        from runners.engines.torch_gpu import from_file

        return from_file(path, requested, threads=threads)
    from runners.engines.onnx_cpu import OnnxEngine

    if requested == "bfloat16":
        logger.warning("ONNX Runtime computes in float32 here: ATELIER_PRECISION=bfloat16 needs OpenVINO")
    return OnnxEngine(path, threads)


def choose() -> Name:
    """Return the engine of the settings, or the best for the GPUs and installed libraries."""
    configured = settings().engine
    if configured != "auto":
        return configured
    if gpus() and _installed("torch"):
        return "torch"
    if gpus():
        logger.warning("this machine has a GPU, but torch is not installed: using the CPU (see make .venv/gpu)")
    return "openvino" if _installed("openvino") else "onnxruntime"


def _installed(name: Name) -> bool:
    return find_spec(MODULES[name]) is not None
