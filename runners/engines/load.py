"""Runs a network as fast as this machine can, and always with the same results.

An ONNX file is run by OpenVINO on a CPU, in bfloat16 where the cores multiply it; by ONNX Runtime where OpenVINO has no
build; by torch on a GPU. None of them is imported before it is chosen.
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
