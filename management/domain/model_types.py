"""The types of models and the frameworks that the documented API names; a deployment may have others of this form."""

from __future__ import annotations

import re
from typing import Final

LABEL: Final = r"^[a-z][a-z0-9_.-]{0,31}$"
"""Form of a type or a framework."""
MODEL_TYPES: Final = (
    "tcm_diagnosis",
    "multimodal",
    "treatment",
    "image_classification",
    "image_embedding",
    "summarization",
)
FRAMEWORKS: Final = ("tensorflow", "pytorch", "onnx")
OTHER_TYPE: Final = "custom"
"""Type of a model that no word is given for."""
OTHER_FRAMEWORK: Final = "bentoml"
"""Framework of such a model."""


def label_or(given: str | None, otherwise: str) -> str:
    """Return a Bento's own label where a deployment may have it."""
    return given if given is not None and re.match(LABEL, given) else otherwise
