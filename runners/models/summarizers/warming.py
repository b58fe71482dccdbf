"""Warms an engine up with typical inputs before its server is ready, and checks that it can summarize them."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from typing import Final

from runners.errors import RunnerError
from runners.models.summarizers.base import Summarizer, Task
from runners.models.summarizers.neural.checkpoints import CheckpointError
from runners.models.text.language import detect

TEXTS: Final = (
    "The tide comes in before noon. It goes out again in the evening. Nobody on the beach is surprised.",
    "The city council published a new plan for the old town. Citizens may object to it within three weeks.",
)
"""Texts longer than ``MAX_LENGTH``, of different lengths that still share a batch."""

TEMPERATURES: Final = (0.0, 0.7)
MAX_LENGTH: Final = 16
"""Tokens of each summary."""


def warm(summarizer: Summarizer) -> None:
    """Summarize batches of one and two texts, greedily and sampled, so that kernels are built before the first request.

    Raises CheckpointError, one sentence that names the engine and its model.
    """
    detect(TEXTS[0])  # loads its statistics
    tasks = [_drawable(summarizer, Task(text, MAX_LENGTH, 0.0, "en")) for text in TEXTS]
    for temperature in TEMPERATURES:
        for count in (1, 2):
            _check(summarizer, [replace(task, temperature=temperature) for task in tasks[:count]])


def _check(summarizer: Summarizer, tasks: list[Task]) -> None:
    for outcome in summarizer.summarize(tasks):
        if isinstance(outcome, RunnerError):
            raise CheckpointError(
                f"The engine {summarizer.engine} with the model {summarizer.model} cannot summarize a short text at"
                f" temperature {tasks[0].temperature}: {outcome.message}"
            )


def _drawable(summarizer: Summarizer, task: Task) -> Task:
    """Return the task, or a picture if no font can draw its text: without fonts, pictures can still be summarized."""
    if not summarizer.reads_pictures:
        return task
    try:
        summarizer.split(task)
    except RunnerError:
        return replace(task, text="", images=(_page(),))
    return task


def _page() -> bytes:
    """Return a PNG of a white page with black bars for lines, which need no font."""
    from PIL import Image, ImageDraw

    page = Image.new("L", (620, 877), "white")
    pen = ImageDraw.Draw(page)
    for top in range(60, 800, 40):
        pen.rectangle((60, top, 560, top + 12), fill="black")
    file = BytesIO()
    page.save(file, "PNG")
    return file.getvalue()
