"""The interface of summarization engines: a batch of tasks in, a summary or an error for each out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from runners.errors import RunnerError

MAX_SUMMARY_TOKENS = 4096
"""Tokens of the longest summary, as the engine counts them."""


@dataclass(frozen=True)
class Task:
    """One text to summarize, or the pages of one document as pictures."""

    text: str
    max_length: int  # tokens of the engine, 1 to MAX_SUMMARY_TOKENS
    temperature: float  # 0 to 2; 0 is greedy
    language: str  # ISO 639-1, or "und" where it cannot be determined
    title: str | None = None
    images: tuple[bytes, ...] = ()  # encoded pictures, one a page; only for an engine that reads pictures


class Summarizer(ABC):
    """One engine with its model loaded. The same task gives the same summary, in any batch."""

    engine: ClassVar[str]
    """The ``engine`` field of a response: "extractive", "seq2seq", "deepseek-ocr"."""

    ignored_parameters: ClassVar[tuple[str, ...]] = ()
    """Parameters without effect on this engine; every response names them."""

    reads_pictures: ClassVar[bool] = False
    """Whether the engine takes pages as pictures instead of their OCR text."""

    thread_safe: ClassVar[bool] = False
    """Whether ``summarize`` may run in several threads at once, so that no short text waits for a long one."""

    model: str
    """Name of the weights: a tag of the model store, a folder's name, or a hub name."""

    def split(self, task: Task) -> list[Task]:
        """Split a task that is too long for one input into parts. Raises RunnerError.

        Parts can be summarized in different batches, so that another task waits for one part of a long text at most.
        """
        return [task]

    def join(self, task: Task, outcomes: Sequence[str | RunnerError]) -> str | RunnerError | Task:
        """Combine the outcomes of a task's parts to its summary, its error, or a shorter task to split again."""
        (outcome,) = outcomes
        return outcome

    @abstractmethod
    def summarize(self, tasks: Sequence[Task]) -> list[str | RunnerError]:
        """Return a summary of at most ``max_length`` tokens for each task, in order; never raises for one task.

        An unexpected failure is logged, and becomes the RunnerError of its own task alone.
        """
