"""Runs a network as fast as this machine can, and always with the same results."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from runners.machine import cores
from runners.settings import settings


class Engine:
    """A network on this machine's best device: pixels in, float32 rows out.

    On a GPU it computes in bfloat16; on a CPU in bfloat16 where the cores multiply it, else in float32.
    """

    def __init__(self, network: nn.Module, *, precision: str | None = None, threads: int | None = None) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.precision = _precision(precision or settings().precision, self.device)
        torch.set_num_threads(threads or settings().threads or cores())
        self._network = network.eval().to(memory_format=torch.channels_last).to(self.device)

    @torch.inference_mode()
    def __call__(self, pixels: Sequence[Tensor]) -> Tensor:
        """N tensors of [3, H, W] -> the network's output, float32 [N, ...] on the CPU."""
        batch = torch.stack(list(pixels)).to(self.device, memory_format=torch.channels_last)
        with self._lowered():
            output: Tensor = self._network(batch)
        return output.float().cpu()

    def _lowered(self) -> contextlib.AbstractContextManager[object]:
        if self.precision == "float32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)


def _precision(wanted: str, device: torch.device) -> str:
    if wanted != "auto":
        return wanted
    return "bfloat16" if device.type == "cuda" or _cpu_multiplies_bfloat16() else "float32"


def _cpu_multiplies_bfloat16() -> bool:
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
