"""Weights: the shipped files, and the tags of the models in the BentoML model store.

A model in the store is one ONNX or safetensors file. Its metadata contains the transform, version and licence. For
models trained in this project, it also contains labels, thresholds, training configuration, data counts and figures.
``publish`` fills the store.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import bentoml
from bentoml.exceptions import NotFound

from runners import registry
from runners.errors import ModelUnavailable

(SATELLITE,) = registry.model("satellite").tags
(SUMMARIZATION,) = registry.model("summarization").tags
(DIAGNOSIS,) = registry.model("diagnosis").tags
(TREATMENT,) = registry.model("treatment").tags
WEIGHTS: Final = Path(__file__).parents[1] / "weights"
GRAPH: Final = ".onnx"
SHIPPED: Final = {registry.tag_of(file): WEIGHTS / file for row in registry.MODELS for file in row.weights}
EMBEDDING_FILE: Final = WEIGHTS / "embedding-satellite-1.0.0.onnx"
"""The ResNet18 whose trunk embeds, with satellite's or ImageNet's weights; publishing leaves its head out."""
Trunk = Literal["imagenet", "satellite"]
EMBEDDINGS: Final[dict[Trunk, str]] = {
    "imagenet": "embedding:imagenet1k-v1",
    "satellite": "embedding:satellite-1.0.0",
}


def path(tag: str) -> Path:
    """Return the file of that exact tag. Raises ModelUnavailable, which names the command that publishes it."""
    file = find(tag)
    if file is None:
        raise ModelUnavailable(f"{tag} is not in the model store; run: python -m runners.artifacts")
    return file


def embedding_tag() -> str:
    """Return the tag of the one ``embedding`` model in the store. Raises ModelUnavailable for none or several."""
    tags = stored_embeddings()
    if len(tags) != 1:
        stored = ", ".join(tags) or "none"
        command = "python -m runners.artifacts" + (" embedding NAME" if tags else "")
        raise ModelUnavailable(f"the store must hold exactly one embedding model, found {stored}; run: {command}")
    return tags[0]


def stored_embeddings() -> list[str]:
    """Return the tags of the embedding models whose file exists."""
    return sorted(tag for tag in listed_embeddings() if find(tag))


def listed_embeddings() -> list[str]:
    """Return the tags of the embedding models that BentoML lists, with or without their file."""
    try:
        return [str(model.tag) for model in bentoml.models.list("embedding")]
    except NotFound:
        return []


def find(tag: str) -> Path | None:
    """Return the file of the tag if it exists; the store of an older version may hold another file."""
    try:
        file = file_in(bentoml.models.get(tag), tag)
    except NotFound:
        return None
    return file if file.is_file() else None


def file_in(model: bentoml.Model, tag: str) -> Path:
    """Return the path of the weight file in the model's folder; the file may be missing."""
    kind = SHIPPED[tag].suffix if tag in SHIPPED else GRAPH
    return Path(model.path) / f"model{kind}"
