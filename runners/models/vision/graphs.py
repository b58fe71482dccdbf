"""Reads ONNX graphs of convolutional networks, and writes them with other tensors, facts or outputs.

Publishing a model and loading it on a GPU need this; running a graph does not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.utils import Extractor

from runners.models.facts import FACTS

PIXELS: Final = "pixels"
FEATURES: Final = "features"
"""Names of a picture network's input and of the output of its last layer but one."""

FLOAT16_SUFFIX: Final = ".weight"
"""End of the names of kernels and matrices, which are stored in float16; biases and transforms stay in float32."""

BATCH_NORM_EPSILON: Final = 1e-5
"""Added to the variance by ResNet18, of whose weights graphs are made; PyTorch's default."""

Tensors = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Graph:
    """Tensors in float32 by the names of the network's modules, and the facts of the file."""

    tensors: dict[str, NDArray[np.float32]]
    facts: dict[str, Any]


def read(path: Path) -> Graph:
    """Read a file. Raises OSError if there is no file, KeyError if it has no facts."""
    model = onnx.load(path)
    tensors = {entry.name: numpy_helper.to_array(entry).astype(np.float32) for entry in model.graph.initializer}
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    return Graph(tensors, json.loads(metadata[FACTS]))


def write(path: Path, model: ModelProto, facts: Mapping[str, Any]) -> None:
    """Write the graph with these facts and without other metadata, which contains paths of the exporting machine."""
    for part in (model, model.graph, *model.graph.node, *model.functions, *model.graph.input, *model.graph.output):
        del part.metadata_props[:]
    model.metadata_props.add(key=FACTS, value=json.dumps(facts, ensure_ascii=False, sort_keys=True))
    model.producer_name, model.producer_version = "atelier", ""
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    path.chmod(0o644)  # containers run as another user


def halve(model: ModelProto) -> None:
    """Store kernels and matrices in float16; the graph casts them back to float32 before it uses them."""
    del model.graph.value_info[:]  # it describes the old types
    kernels = [tensor for tensor in model.graph.initializer if _is_halved(tensor)]
    for number, kernel in enumerate(kernels):
        name = kernel.name
        kernel.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(kernel).astype(np.float16), name))
        for node in model.graph.node:
            node.input[:] = [f"{name}.float32" if input_name == name else input_name for input_name in node.input]
        model.graph.node.insert(number, helper.make_node("Cast", [name], [f"{name}.float32"], to=TensorProto.FLOAT))


def trunk(source: Path, target: Path, facts: Mapping[str, Any], state: Tensors | None = None) -> None:
    """Write the graph of ``source`` up to its features to ``target``, with another ResNet18's weights if given.

    ``state`` is a torchvision state dict as arrays. Raises ValueError if it does not fit the graph.
    """
    source_model = onnx.shape_inference.infer_shapes(onnx.load(source))  # the extractor needs the features' type
    model = Extractor(source_model).extract_model([PIXELS], [FEATURES])
    del model.graph.value_info[:]
    if state is not None:
        _replace(model, fold_batch_norm(state), facts["transform"])
    write(target, model, facts)


def fold_batch_norm(state: Tensors) -> dict[str, NDArray[np.float32]]:
    """Return a ResNet's convolutions with batch normalisation folded in: kernels, and biases as ``NAME_bias``."""
    convolutions = [name.removesuffix(".weight") for name, tensor in state.items() if tensor.ndim == 4]
    tensors: dict[str, NDArray[np.float32]] = {}
    for name in convolutions:
        norm = name.replace("conv", "bn") if "conv" in name else f"{name.removesuffix('0')}1"  # downsample.0, .1
        scale, shift, mean, variance = (
            state[f"{norm}.{part}"].astype(np.float64) for part in ("weight", "bias", "running_mean", "running_var")
        )
        factor = scale / np.sqrt(variance + BATCH_NORM_EPSILON)
        kernel = state[f"{name}.weight"] * factor[:, None, None, None]
        tensors[f"{name}.weight"] = kernel.astype(np.float32)
        tensors[f"{name}.weight_bias"] = (shift - mean * factor).astype(np.float32)
    return tensors


def _replace(model: ModelProto, tensors: Tensors, transform: Mapping[str, Any]) -> None:
    numbers = {f"pixel_{name}": transform[name] for name in ("mean", "std")}
    remaining = {**tensors, **{name: np.float32(255) * _planes(value) for name, value in numbers.items()}}
    for tensor in model.graph.initializer:
        if tensor.data_type not in {TensorProto.FLOAT, TensorProto.FLOAT16}:
            continue
        value = remaining.pop(tensor.name.removeprefix("network.").removeprefix("trunk."), None)
        if value is None or list(value.shape) != list(tensor.dims) or not np.isfinite(value).all():
            raise ValueError(f"the weights do not fit: {tensor.name}")
        dtype = np.float16 if tensor.data_type == TensorProto.FLOAT16 else np.float32
        tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(value, dtype), tensor.name))
    if remaining:
        raise ValueError(f"the weights do not fit: {', '.join(sorted(remaining))[:100]}")


def _planes(numbers: Sequence[float]) -> NDArray[np.float32]:
    return np.asarray(numbers, np.float32)[:, None, None]


def _is_halved(tensor: TensorProto) -> bool:
    return tensor.data_type == TensorProto.FLOAT and tensor.name.endswith(FLOAT16_SUFFIX)
