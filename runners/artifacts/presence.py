"""Are the models in the store? Read from the files: importing BentoML takes longer than all other checks of a start."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from runners import registry

EMBEDDING: Final = "embedding"
GRAPH: Final = ".onnx"


def complete() -> bool:
    """Return whether ``publish.publish`` would find nothing to do: every shipped model, and one network that embeds."""
    models = Path(os.environ.get("BENTOML_HOME") or Path.home() / "bentoml") / "models"
    shipped = all(_is_stored(folder, suffix) for folder, suffix in _shipped(models))
    embeddings = [folder for folder in (models / EMBEDDING).glob("*/") if (folder / "model.yaml").is_file()]
    return shipped and len(embeddings) == 1 and _is_stored(embeddings[0], GRAPH)


def _shipped(models: Path) -> Iterator[tuple[Path, str]]:
    """Yield the folder of each shipped model, and how the name of its file ends."""
    for row in registry.MODELS:
        for file in row.weights:
            name, _, version = registry.tag_of(file).partition(":")
            yield models / name / version, Path(file).suffix


def _is_stored(folder: Path, suffix: str) -> bool:
    return (folder / "model.yaml").is_file() and (folder / f"model{suffix}").is_file()
