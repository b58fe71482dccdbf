"""A checkpoint's model in this machine's memory, in the numbers that this machine is fast with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil
import torch

from machine.devices import cores
from runners.models.summarizers.neural.checkpoints import INSTALL, Checkpoint, CheckpointError

ROOM: Final = 1.2
"""How much more than its weights a model needs: activations, and the cache of one text."""

CGROUP: Final = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Loaded:
    """A model ready to generate, and what turns texts (and pictures) into its inputs."""

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
    """Loads the model on the best device, from safetensors only.

    ``precision`` is ``auto``, ``float32``, ``bfloat16`` or ``float16``: auto is what ``atelier.json`` says for this
    device, else bfloat16 (float16 on an older GPU) on a GPU and float32 on a CPU. ``compiled`` None is what
    ``atelier.json`` says. Raises CheckpointError: too large for the free memory, or files that do not fit together.
    """
    device = device or _best_device()
    torch.set_num_threads(threads or cores())
    optimized = checkpoint.optimized
    if optimized is not None and optimized.device != device.type:
        optimized = None  # measured elsewhere
    dtype = _dtype(precision, optimized.dtype if optimized else None, device)
    _check_memory(checkpoint, dtype, device)
    model, processor = _read(checkpoint, dtype, device)
    if compiled if compiled is not None else bool(optimized and optimized.compile):
        compile_in_place(model)
    return Loaded(checkpoint, model, processor, device, dtype)


def compile_in_place(model: Any) -> None:
    """Has torch.compile make kernels of the model's largest parts; the first batches then take minutes.

    Shapes are dynamic: texts and the cache differ in length from call to call.
    """
    parts = [model.get_encoder(), model.get_decoder()] if model.config.is_encoder_decoder else [model]
    for part in parts:
        part.compile(dynamic=True)


def free_memory(device: torch.device) -> int:
    """Bytes that a model may still take on the device; a container's own limit counts."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    free = int(psutil.virtual_memory().available)
    try:
        limit, used = ((CGROUP / name).read_text().strip() for name in ("memory.max", "memory.current"))
        return free if limit == "max" else min(free, int(limit) - int(used))
    except (OSError, ValueError):  # no cgroup of the second version
        return free


def _best_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _dtype(precision: str, optimized: str | None, device: torch.device) -> torch.dtype:
    wanted = optimized or "auto" if precision == "auto" else precision
    if wanted == "auto":
        wanted = "float32" if device.type == "cpu" else _best_of_gpu()
    dtype: torch.dtype = getattr(torch, wanted)
    return dtype


def _best_of_gpu() -> str:
    """bfloat16 where the chip itself computes in it; older ones only emulate it, slowly."""
    return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"


def _check_memory(checkpoint: Checkpoint, dtype: torch.dtype, device: torch.device) -> None:
    needed = int(checkpoint.parameters * dtype.itemsize * ROOM)
    free = free_memory(device)
    if needed > free:
        numbers = str(dtype).removeprefix("torch.")
        raise CheckpointError(
            f"{checkpoint.name} does not fit into this machine's memory: as {numbers} it needs"
            f" {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free ({device.type})."
        )


def _read(checkpoint: Checkpoint, dtype: torch.dtype, device: torch.device) -> tuple[Any, Any]:
    network, reader = _classes(checkpoint)
    trusted = {"trust_remote_code": checkpoint.trusted}
    try:
        processor = reader.from_pretrained(str(checkpoint.folder), **trusted)
        model, about = network.from_pretrained(
            str(checkpoint.folder),
            use_safetensors=True,
            dtype=dtype,
            device_map=str(device),
            output_loading_info=True,
            **trusted,
        )
    except Exception as error:  # whatever the files' readers meet: this is the seam where it gets one sentence
        lines = str(error).strip().splitlines() or [""]
        raise CheckpointError(f"{checkpoint.name} cannot be loaded: {type(error).__name__}: {lines[0]}") from error
    missing = sorted(about["missing_keys"])
    if missing:  # transformers would fill them with random numbers
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
