"""Does the engine summarize at all? Asked before a server is ready, with what it is going to meet."""

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
"""Longer than ``LENGTH``; of lengths that differ, and so little that they share a batch."""

TEMPERATURES: Final = (0.0, 0.7)
LENGTH: Final = 16  # tokens


def warm(summarizer: Summarizer) -> None:
    """Summarizes one text and two, greedily and sampled: kernels are made, and what would fail for callers fails here.

    Raises CheckpointError, one sentence with the engine and its model.
    """
    detect(TEXTS[0])  # loads its counts
    tasks = [_drawable(summarizer, Task(text, LENGTH, 0.0, "en")) for text in TEXTS]
    for temperature in TEMPERATURES:
        for count in (1, 2):
            _check(summarizer, [replace(task, temperature=temperature) for task in tasks[:count]])


def _check(summarizer: Summarizer, tasks: list[Task]) -> None:
    for said in summarizer.summarize(tasks):
        if isinstance(said, RunnerError):
            raise CheckpointError(
                f"The engine {summarizer.engine} with the model {summarizer.model} cannot summarize a short text at"
                f" temperature {tasks[0].temperature}: {said.message}"
            )


def _drawable(summarizer: Summarizer, task: Task) -> Task:
    """The task, or a page in its place where no font can draw it: without fonts, documents of pictures are read yet."""
    if not summarizer.reads_pictures:
        return task
    try:
        summarizer.split(task)
    except RunnerError:
        return replace(task, text="", images=(_page(),))
    return task


def _page() -> bytes:
    """A white page with lines of black bars, which need no font."""
    from PIL import Image, ImageDraw

    page = Image.new("L", (620, 877), "white")
    pen = ImageDraw.Draw(page)
    for top in range(60, 800, 40):
        pen.rectangle((60, top, 560, top + 12), fill="black")
    file = BytesIO()
    page.save(file, "PNG")
    return file.getvalue()
