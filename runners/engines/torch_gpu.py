"""torch: on a GPU in half precision with CUDA graphs; on a CPU for training, which has a module but no file yet."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from runners.engines.base import Engine, Outputs, precision_of
from runners.models.vision import graphs
from runners.models.vision.networks import Folded, Served
from runners.models.vision.transform import EvalTransform

SIZES: Final = (1, 2, 4, 8, 16, 32)
"""Batch sizes with a CUDA graph; a batch between two sizes is padded to the larger one."""

TYPES: Final = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class TorchEngine(Engine):
    """A module with input uint8 [N, H, W, 3], such as ``Served``."""

    name = "torch"

    def __init__(
        self, module: nn.Module, facts: Mapping[str, Any], *, precision: str = "auto", device: str | None = None
    ) -> None:
        self.facts = dict(facts)
        self._device = _device(device)
        self.precision = _precision(precision, self._device)
        self.module = module.eval().to(self._device).to(memory_format=torch.channels_last)
        self._recorded: dict[int, _Recorded] = {}
        self._one_at_a_time = Lock()  # a graph reads and writes the same memory at each replay

    def __call__(self, pixels: NDArray[np.uint8]) -> Outputs:
        """Run the network, one batch at a time."""
        with self._one_at_a_time:
            return self._run(pixels)

    @torch.inference_mode()
    def _run(self, pixels: NDArray[np.uint8]) -> Outputs:
        if self._device.type != "cuda" or len(pixels) > SIZES[-1]:
            return self.on_device(torch.from_numpy(pixels).to(self._device))
        size = next(size for size in SIZES if size >= len(pixels))
        if size not in self._recorded:
            self._recorded[size] = self._record(size, pixels.shape[1:])
        return self._recorded[size].replay(pixels)

    @torch.inference_mode()
    def on_device(self, pixels: Tensor) -> Outputs:
        """Run the network on pixels that are already on the device."""
        return self._compute(pixels).float().cpu().numpy()

    def _compute(self, pixels: Tensor) -> Tensor:
        with self._autocast():
            output: Tensor = self.module(pixels)
        return output

    def _autocast(self) -> contextlib.AbstractContextManager[object]:
        dtype = TYPES[self.precision]
        if next(self.module.parameters()).dtype == dtype:
            return contextlib.nullcontext()
        # Tensors in autocast's cache could be freed before a graph reads them.
        return torch.autocast(self._device.type, dtype, cache_enabled=False)

    def _record(self, size: int, shape: tuple[int, ...]) -> _Recorded:
        """Record a graph for one batch size: launching fifty kernels one by one takes longer than running them."""
        staged = torch.zeros((size, *shape), dtype=torch.uint8, pin_memory=True)
        pixels = torch.zeros((size, *shape), dtype=torch.uint8, device=self._device)
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):  # the libraries' tuning at the first calls must not be recorded
            for _ in range(3):
                self._compute(pixels)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            output = self._compute(pixels).float()
        return _Recorded(graph, staged, pixels, output)


@dataclass(frozen=True)
class _Recorded:
    """A CUDA graph with fixed input and output memory; ``staged`` is a pinned buffer for its input."""

    graph: torch.cuda.CUDAGraph
    staged: Tensor
    pixels: Tensor
    output: Tensor

    def replay(self, pixels: NDArray[np.uint8]) -> Outputs:
        self.staged[: len(pixels)].copy_(torch.from_numpy(pixels))
        self.pixels.copy_(self.staged, non_blocking=True)
        self.graph.replay()
        return self.output[: len(pixels)].cpu().numpy()


def from_file(
    path: Path, precision: str = "auto", device: str | None = None, threads: int | None = None
) -> TorchEngine:
    """Load the network of an ONNX file that ``training.onnx_export`` wrote; ``threads`` is for a CPU.

    Raises KeyError for a network that is not in ``networks.ARCHITECTURES``.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    graph, on = graphs.read(path), _device(device)
    computed = _precision(precision_of(precision, graph.facts), on)
    tensors = {_in_torch(name): torch.from_numpy(value) for name, value in graph.tensors.items()}
    network = Folded(graph.facts["network"], tensors).to(TYPES[computed])
    served = Served(network, EvalTransform.from_dict(graph.facts["transform"]))
    return TorchEngine(served, graph.facts, precision=computed, device=on.type)


def _in_torch(name: str) -> str:
    return name.removeprefix("network.").replace(".weight_bias", ".bias")


def _device(name: str | None) -> torch.device:
    return torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))


def _precision(precision: str, device: torch.device) -> str:
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
    return "bfloat16" if cpu_multiplies_bfloat16() else "float32"


def cpu_multiplies_bfloat16() -> bool:
    """Return whether this machine's cores compute in bfloat16; others emulate it, at a tenth of float32's speed."""
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
