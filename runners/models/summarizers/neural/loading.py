"""Loads a checkpoint's model into memory, in the data type that is fastest on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil
import torch

from machine.devices import cores
from runners.models.summarizers.neural.checkpoints import INSTALL, Checkpoint, CheckpointError

MEMORY_FACTOR: Final = 1.2
"""Memory that a model needs, as a multiple of its weights; the rest is for activations and the cache of one text."""

CGROUP: Final = Path("/sys/fs/cgroup")
"""Folder with the memory limit of this process's control group (version 2)."""


@dataclass(frozen=True)
class Loaded:
    """A model ready to generate. ``processor`` is its tokenizer, or a processor of pictures that contains one."""

    checkpoint: Checkpoint
    model: Any
    processor: Any
    device: torch.device
    dtype: torch.dtype


def load(
    checkpoint: Checkpoint,
    *,
    precision: str = "auto",
    compiled: bool | None = None,
    device: torch.device | None = None,
    threads: int = 0,
) -> Loaded:
    """Load the model on the best device, from safetensors only.

    ``precision`` is ``auto``, ``float32``, ``bfloat16`` or ``float16``; ``auto`` takes the type that ``atelier.json``
    names for this device, else float32 on a CPU and bfloat16 (float16 if older) on a GPU. ``compiled`` defaults to the
    value in ``atelier.json``; ``threads`` is for PyTorch on the CPU, 0 for all cores. Raises CheckpointError if the
    model exceeds the free memory or its files do not fit together.
    """
    device = device or _best_device()
    torch.set_num_threads(threads or cores())
    optimized = checkpoint.optimized
    if optimized is not None and optimized.device != device.type:
        optimized = None  # measured on another type of device
    dtype = _dtype(precision, optimized.dtype if optimized else None, device)
    _check_memory(checkpoint, dtype, device)
    model, processor = _read(checkpoint, dtype, device)
    if compiled if compiled is not None else bool(optimized and optimized.compile):
        compile_in_place(model)
    return Loaded(checkpoint, model, processor, device, dtype)


def compile_in_place(model: Any) -> None:
    """Compile the model's largest parts with torch.compile; the first batches then take minutes.

    Shapes are dynamic: texts and the cache differ in length between calls.
    """
    parts = [model.get_encoder(), model.get_decoder()] if model.config.is_encoder_decoder else [model]
    for part in parts:
        part.compile(dynamic=True)


def free_memory(device: torch.device) -> int:
    """Return the free bytes of the device, within the limit of this process's container."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    free = int(psutil.virtual_memory().available)
    try:
        limit, used = ((CGROUP / name).read_text().strip() for name in ("memory.max", "memory.current"))
        return free if limit == "max" else min(free, int(limit) - int(used))
    except (OSError, ValueError):  # no control group of version 2
        return free


def _best_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _dtype(precision: str, optimized: str | None, device: torch.device) -> torch.dtype:
    name = optimized or "auto" if precision == "auto" else precision
    if name == "auto":
        name = "float32" if device.type == "cpu" else _gpu_dtype()
    dtype: torch.dtype = getattr(torch, name)
    return dtype


def _gpu_dtype() -> str:
    """Return bfloat16 where the GPU supports it in hardware; older GPUs only emulate it, slowly."""
    return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"


def _check_memory(checkpoint: Checkpoint, dtype: torch.dtype, device: torch.device) -> None:
    needed = int(checkpoint.parameters * dtype.itemsize * MEMORY_FACTOR)
    free = free_memory(device)
    if needed > free:
        dtype_name = str(dtype).removeprefix("torch.")
        raise CheckpointError(
            f"{checkpoint.name} does not fit into this machine's memory: as {dtype_name} it needs"
            f" {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free ({device.type})."
        )


def _read(checkpoint: Checkpoint, dtype: torch.dtype, device: torch.device) -> tuple[Any, Any]:
    model_class, processor_class = _classes(checkpoint)
    trusted = {"trust_remote_code": checkpoint.trusted}
    try:
        processor = processor_class.from_pretrained(str(checkpoint.folder), **trusted)
        model, info = model_class.from_pretrained(
            str(checkpoint.folder),
            use_safetensors=True,
            dtype=dtype,
            device_map=str(device),
            output_loading_info=True,
            **trusted,
        )
    except Exception as error:  # the libraries' errors are of many classes; the operator gets one sentence
        lines = str(error).strip().splitlines() or [""]
        raise CheckpointError(f"{checkpoint.name} cannot be loaded: {type(error).__name__}: {lines[0]}") from error
    missing = sorted(info["missing_keys"])
    if missing:  # transformers would initialize them with random numbers
        raise CheckpointError(
            f"{checkpoint.name} is incomplete: {len(missing)} weights, such as {missing[0]}, are missing."
        )
    return model.eval(), processor


def _classes(checkpoint: Checkpoint) -> tuple[Any, Any]:
    try:
        import transformers
    except ImportError as error:
        raise CheckpointError(f"Loading {checkpoint.name} needs transformers; {INSTALL}") from error
    transformers.utils.logging.disable_progress_bar()
    if checkpoint.kind == "deepseek-ocr":
        return transformers.DeepseekOcr2ForConditionalGeneration, transformers.AutoProcessor
    return transformers.AutoModelForSeq2SeqLM, transformers.AutoTokenizer
