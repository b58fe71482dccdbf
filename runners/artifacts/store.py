"""Weights: what is shipped, and what lies in the BentoML model store under which tag.

A model in the store is one ONNX or safetensors file. Its metadata explains it: transform numbers, version, licence and,
of the models that were trained here, labels, thresholds, training configuration, data counts and figures.
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
Trunk = Literal["imagenet", "satellite"]
EMBEDDINGS: Final[dict[Trunk, str]] = {
    "imagenet": "embedding:imagenet1k-v1",
    "satellite": "embedding:satellite-1.0.0",
}


def path(tag: str) -> Path:
    """The file of that exact tag. Raises ModelUnavailable when it is not in the store, and says what puts it there."""
    found = find(tag)
    if found is None:
        raise ModelUnavailable(f"{tag} is not in the model store; run: python -m runners.artifacts")
    return found


def embedding_tag() -> str:
    """The tag that embeddings are made with: the one ``embedding`` model in the store."""
    tags = stored_embeddings()
    if len(tags) != 1:
        found = ", ".join(tags) or "none"
        cure = "python -m runners.artifacts" + (" embedding NAME" if tags else "")
        raise ModelUnavailable(f"one embedding model is wanted in the store, found {found}; run: {cure}")
    return tags[0]


def stored_embeddings() -> list[str]:
    """Tags of the embedding models whose file is there."""
    return sorted(tag for tag in listed_embeddings() if find(tag))


def listed_embeddings() -> list[str]:
    """Tags of the embedding models that BentoML lists, whole or not."""
    try:
        return [str(model.tag) for model in bentoml.models.list("embedding")]
    except NotFound:
        return []


def find(tag: str) -> Path | None:
    """The file of the tag, if it is there: a store that an older version filled may hold another one."""
    try:
        file = file_in(bentoml.models.get(tag), tag)
    except NotFound:
        return None
    return file if file.is_file() else None


def file_in(model: bentoml.Model, tag: str) -> Path:
    """The weight file inside the model's folder, whether it is there or not."""
    kind = SHIPPED[tag].suffix if tag in SHIPPED else GRAPH
    return Path(model.path) / f"model{kind}"
