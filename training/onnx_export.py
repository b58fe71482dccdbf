"""Export of PyTorch modules to ONNX files with metadata, and the check that both compute the same."""

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
"""Maximum difference between an output of a module and of its file."""
FLOAT16_TOLERANCE: Final = 0.05
"""The same for logits of a file whose kernels are stored in float16."""


def export(
    module: nn.Module,
    inputs: Mapping[str, Tensor],
    outputs: list[str],
    dynamic_axes: Mapping[str, dict[int, str]],
    path: Path,
) -> None:
    """Export a module; ``dynamic_axes`` names the dimensions of inputs that may have any size."""
    shapes = tuple(
        {axis: torch.export.Dim(dimension) for axis, dimension in dynamic_axes.get(name, {}).items()} for name in inputs
    )
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


class _WithFeatures(Served):
    """The served network with its features as a second output, so that they have a name in the graph."""

    network: SatelliteNet

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        features = self.network.trunk(self.normalised(pixels))
        return self.network.head(features), features


def export_pictures(network: SatelliteNet, transform: EvalTransform, facts: Mapping[str, Any], path: Path) -> None:
    """Export a network with its normalisation, for any number of square pictures; kernels are stored in float16."""
    module = _WithFeatures(network.cpu(), transform)
    pixels = torch.randint(0, 256, (2, transform.crop, transform.crop, 3), dtype=torch.uint8)
    dynamic_axes = {graphs.PIXELS: {0: "pictures", 1: "height", 2: "width"}}
    export(module, {graphs.PIXELS: pixels}, ["logits", graphs.FEATURES], dynamic_axes, path)
    model = onnx.load(path)
    del model.graph.output[1]
    graphs.halve(model)
    graphs.write(path, model, facts)
    check_equal(Served(network, transform), {graphs.PIXELS: pixels}, path, FLOAT16_TOLERANCE)


def write_facts(path: Path, facts: Mapping[str, Any]) -> None:
    """Replace the facts in the file's metadata."""
    graphs.write(path, onnx.load(path), facts)


def check_equal(module: nn.Module, inputs: Mapping[str, Tensor], path: Path, tolerance: float = TOLERANCE) -> float:
    """Return the largest difference between the outputs of module and file. Raises ValueError above the tolerance."""
    with torch.no_grad():
        expected = module.eval()(*inputs.values())
    expected = [expected] if isinstance(expected, Tensor) else list(expected)
    outputs = OnnxFile(path)(**{name: value.numpy() for name, value in inputs.items()})
    if [tuple(value.shape) for value in expected] != [output.shape for output in outputs]:
        raise ValueError(f"{path} gives other shapes")
    pairs = zip(expected, outputs, strict=True)
    difference = max(float(np.abs(value.numpy() - output).max()) for value, output in pairs)
    if not difference <= tolerance:  # true for NaN
        raise ValueError(f"{path} computes something else: {difference}")
    return difference
