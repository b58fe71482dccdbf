"""Writes a PyTorch module as an ONNX file that carries its facts, and checks that both compute the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from runners.models.tcm.onnx_file import FACTS, OnnxFile

TOLERANCE: Final = 1e-4


def export(
    module: nn.Module, inputs: Mapping[str, Tensor], outputs: list[str], free: Mapping[str, dict[int, str]], path: Path
) -> None:
    """Exports a module; ``free`` names the dimensions of inputs that may have any size."""
    shapes = tuple({axis: torch.export.Dim(name) for axis, name in free.get(one, {}).items()} for one in inputs)
    program = torch.onnx.export(
        module.eval(),
        tuple(inputs.values()),
        input_names=list(inputs),
        output_names=outputs,
        dynamic_shapes=shapes,
        dynamo=True,
        verbose=False,
    )
    if program is None:
        raise RuntimeError("the exporter gave nothing")
    program.save(path)


def explain(path: Path, facts: Mapping[str, Any]) -> None:
    """Puts the facts into the file's metadata, in place of what stood there: paths of the machine that exported it."""
    model = onnx.load(path)
    for part in (model, model.graph, *model.graph.node, *model.functions):
        del part.metadata_props[:]
    model.metadata_props.add(key=FACTS, value=json.dumps(facts, ensure_ascii=False, sort_keys=True))
    model.producer_name, model.producer_version = "atelier", ""
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    path.chmod(0o644)


def check_equal(module: nn.Module, inputs: Mapping[str, Tensor], path: Path) -> float:
    """The largest difference between the outputs of module and file. Raises ValueError when it is not small."""
    with torch.no_grad():
        wanted = module.eval()(*inputs.values())
    wanted = [wanted] if isinstance(wanted, Tensor) else list(wanted)
    got = OnnxFile(path)(**{name: value.numpy() for name, value in inputs.items()})
    if [tuple(one.shape) for one in wanted] != [one.shape for one in got]:
        raise ValueError(f"{path} gives other shapes")
    difference = max(float(np.abs(one.numpy() - other).max()) for one, other in zip(wanted, got, strict=True))
    if not difference <= TOLERANCE:  # NaN is not
        raise ValueError(f"{path} computes something else: {difference}")
    return difference
