"""The types of models and the frameworks that a deployment may have."""

from __future__ import annotations

from typing import Final, Literal, get_args

ModelType = Literal[
    "tcm_diagnosis", "multimodal", "treatment", "image_classification", "image_embedding", "summarization"
]
Framework = Literal["tensorflow", "pytorch", "onnx"]

MODEL_TYPES: Final[tuple[str, ...]] = get_args(ModelType)
FRAMEWORKS: Final[tuple[str, ...]] = get_args(Framework)
