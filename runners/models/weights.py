"""Weight files: safetensors whose metadata explains them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from runners.models import facts

HALVED_FROM_AXES = 2
"""Kernels and matrices are stored in float16; vectors (normalisation statistics, biases) stay float32."""


@dataclass(frozen=True)
class Weights:
    """Tensors in float32, and the facts about them: transform numbers, licence, labels, figures, data counts."""

    tensors: dict[str, Tensor]
    facts: dict[str, Any]


def save(path: Path, weights: Weights) -> None:
    """Writes one safetensors file, about 2 bytes a parameter."""
    tensors = {name: _stored(tensor).contiguous() for name, tensor in weights.tensors.items()}
    save_file(tensors, path, metadata={"facts": json.dumps(weights.facts, ensure_ascii=False, sort_keys=True)})
    path.chmod(0o644)  # it is written for its owner alone, and a container runs as another user


def read(path: Path) -> Weights:
    """Reads what ``save`` wrote. Raises OSError when there is no such file, KeyError when it explains nothing."""
    with safe_open(path, framework="pt") as file:
        tensors = {name: _computed(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118 - no mapping
    return Weights(tensors, facts.read(path))


def _stored(tensor: Tensor) -> Tensor:
    return tensor.half() if tensor.dtype == torch.float32 and tensor.ndim >= HALVED_FROM_AXES else tensor


def _computed(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor
