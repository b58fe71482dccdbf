"""Summarizes texts longer than a model's input: the parts, then their joined summaries, until they are short enough."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from runners.errors import PayloadTooLarge, RunnerError
from runners.models.summarizers.base import Task
from runners.models.summarizers.guard import guarded

MAX_PASSES: Final = 8
"""Maximum number of passes. Each leaves a quarter of the tokens, so this limits a misbehaving model, not the text."""

SPACELESS: Final = frozenset({"ja", "th", "zh"})
"""ISO 639-1 codes of languages without spaces between sentences."""

Outcome = str | RunnerError
Split = Callable[[Task], list[Task]]
Generate = Callable[[Sequence[Task]], list[Outcome]]


def separator(language: str) -> str:
    """Return the text between two sentences of a language."""
    return "" if language in SPACELESS else " "


def budget(task: Task, limit: int) -> int:
    """Return the tokens for the summary of one part: the task's, but at most a quarter of the input ``limit``."""
    return max(1, min(task.max_length, limit // 4))


def summarize(tasks: Sequence[Task], split: Split, generate: Generate, count: Callable[[str], int]) -> list[Outcome]:
    """Return one outcome per task. The parts of all tasks are generated together.

    ``split`` returns a task's parts (one if it fits), ``generate`` an outcome for each part, ``count`` a text's tokens.
    Summaries of parts that are within the task's ``max_length`` together are its summary; otherwise they are the text
    of the next pass. An exception in any of the three becomes the error of its task alone.
    """
    outcomes: dict[int, Outcome] = {}
    current = dict(enumerate(tasks))
    for _ in range(MAX_PASSES):
        parts = {index: guarded(partial(split, task)) for index, task in current.items()}
        results = _generate_parts(parts, generate)
        for index, task in list(current.items()):
            result = join(task, results[index], count)
            if isinstance(result, Task):
                current[index] = result
            else:
                outcomes[index] = result
                del current[index]
    return [outcomes.get(index, too_long()) for index in range(len(tasks))]


def too_long() -> RunnerError:
    """Return the error for a text whose summaries do not get shorter."""
    return PayloadTooLarge("The text is too long to be summarized.")


def _generate_parts(parts: dict[int, list[Task] | RunnerError], generate: Generate) -> dict[int, list[Outcome]]:
    """Return the outcomes of each task's parts; a task that could not be split keeps its error."""
    flat = [part for split in parts.values() if isinstance(split, list) for part in split]
    outcomes = iter(_generated(flat, generate) if flat else [])
    return {
        index: [next(outcomes) for _ in split] if isinstance(split, list) else [split] for index, split in parts.items()
    }


def _generated(parts: list[Task], generate: Generate) -> list[Outcome]:
    """Generate all parts together, or each by itself if they fail together."""
    outcomes = guarded(partial(generate, parts), len(parts))
    if not isinstance(outcomes, RunnerError):
        return outcomes
    return [outcomes] if len(parts) == 1 else [outcome for part in parts for outcome in _generated([part], generate)]


def join(task: Task, outcomes: Sequence[Outcome], count: Callable[[str], int]) -> Outcome | Task:
    """Return the summary, the first error, or the task of the next pass; never raises."""
    return guarded(partial(_join, task, outcomes, count))


def _join(task: Task, outcomes: Sequence[Outcome], count: Callable[[str], int]) -> Outcome | Task:
    texts: list[str] = []
    for outcome in outcomes:
        if isinstance(outcome, RunnerError):
            return outcome
        texts.append(outcome)
    together = separator(task.language).join(text for text in texts if text)
    if len(texts) <= 1 or count(together) <= task.max_length:
        return together
    return replace(task, text=together, images=())
