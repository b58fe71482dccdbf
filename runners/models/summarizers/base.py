"""What every summarization engine is: a batch of tasks in, a summary or an error each out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from runners.errors import RunnerError

LONGEST_SUMMARY = 4096
"""Tokens of the engine."""


@dataclass(frozen=True)
class Task:
    """One text to summarize, or the pages of one document as pictures."""

    text: str
    max_length: int  # tokens of the engine, 1 to LONGEST_SUMMARY
    temperature: float  # 0 to 2; 0 is greedy
    language: str  # ISO 639-1, or "und" where nobody can tell
    title: str | None = None
    images: tuple[bytes, ...] = ()  # encoded pictures, one a page; only for an engine that reads pictures


class Summarizer(ABC):
    """One engine with its model loaded. The same task gives the same summary, in any batch."""

    engine: ClassVar[str]
    """What callers see as ``engine``: "extractive", "seq2seq", "deepseek-ocr"."""

    ignores: ClassVar[tuple[str, ...]] = ()
    """Parameters that change nothing here; every answer names them."""

    reads_pictures: ClassVar[bool] = False
    """Whether pages are given as pictures, instead of as the text that OCR found on them."""

    beside_others: ClassVar[bool] = False
    """Whether ``summarize`` may run in several threads at once: then no short text waits for a long one."""

    model: str
    """Which weights: a tag of the model store, a folder's name, or a hub name."""

    def split(self, task: Task) -> list[Task]:
        """The parts of a task that is too long for one input, itself otherwise. Raises RunnerError.

        Parts can be summarized in different batches, so that a long text holds up nobody for more than one of them.
        """
        return [task]

    def joined(self, task: Task, said: Sequence[str | RunnerError]) -> str | RunnerError | Task:
        """What the summaries of a task's parts make: its summary, its error, or a shorter task that is to be split."""
        (only,) = said
        return only

    @abstractmethod
    def summarize(self, tasks: Sequence[Task]) -> list[str | RunnerError]:
        """A summary of at most ``max_length`` tokens for each task, in order; never raises for one task.

        A failure that nobody foresaw is logged, and is the RunnerError of its own task alone.
        """
