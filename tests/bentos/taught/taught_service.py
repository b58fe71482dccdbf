"""A Bento with a model of the model store: it starts only where the model is, and answers with what it holds."""

from __future__ import annotations

from pathlib import Path

import bentoml


@bentoml.service(name="Taught", workers=1, resources={"cpu": "200m", "memory": "256Mi"})
class Taught:
    """Says what its model holds."""

    lesson = bentoml.models.BentoModel("lesson:1")

    def __init__(self) -> None:
        self.text = Path(self.lesson.path_of("lesson.txt")).read_text()

    @bentoml.api  # type: ignore[untyped-decorator]
    def recite(self) -> str:
        """The lesson."""
        return self.text
