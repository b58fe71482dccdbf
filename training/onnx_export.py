"""Writes a PyTorch module as an ONNX file that carries its facts, and checks that both compute the same."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from runners.models.onnx_file import OnnxFile
from runners.models.vision import graphs
from runners.models.vision.networks import SatelliteNet, Served
from runners.models.vision.transform import EvalTransform

TOLERANCE: Final = 1e-4
HALVED_TOLERANCE: Final = 0.05  # of logits, where kernels are stored in float16


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


class _Seen(Served):
    """The served network with its features as a second output, so that they have a name in the graph."""

    network: SatelliteNet

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        features = self.network.trunk(self.normalised(pixels))
        return self.network.head(features), features


def export_pictures(network: SatelliteNet, transform: EvalTransform, facts: Mapping[str, Any], path: Path) -> None:
    """A picture network with its normalisation, for any number of square pictures; kernels in float16."""
    module = _Seen(network.cpu(), transform)
    pixels = torch.randint(0, 256, (2, transform.crop, transform.crop, 3), dtype=torch.uint8)
    free = {graphs.PIXELS: {0: "pictures", 1: "height", 2: "width"}}
    export(module, {graphs.PIXELS: pixels}, ["logits", graphs.FEATURES], free, path)
    model = onnx.load(path)
    del model.graph.output[1]
    graphs.halve(model)
    graphs.write(path, model, facts)
    check_equal(Served(network, transform), {graphs.PIXELS: pixels}, path, HALVED_TOLERANCE)


def explain(path: Path, facts: Mapping[str, Any]) -> None:
    """Puts the facts into the file's metadata, in place of what stood there."""
    graphs.write(path, onnx.load(path), facts)


def check_equal(module: nn.Module, inputs: Mapping[str, Tensor], path: Path, tolerance: float = TOLERANCE) -> float:
    """Return the largest difference between the outputs of module and file. Raises ValueError when it is not small."""
    with torch.no_grad():
        expected = module.eval()(*inputs.values())
    expected = [expected] if isinstance(expected, Tensor) else list(expected)
    outputs = OnnxFile(path)(**{name: value.numpy() for name, value in inputs.items()})
    if [tuple(one.shape) for one in expected] != [one.shape for one in outputs]:
        raise ValueError(f"{path} gives other shapes")
    difference = max(float(np.abs(one.numpy() - other).max()) for one, other in zip(expected, outputs, strict=True))
    if not difference <= tolerance:  # true for NaN
        raise ValueError(f"{path} computes something else: {difference}")
    return difference
