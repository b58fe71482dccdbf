"""Texts longer than a model's input: summarizes the parts, then their summaries, until one is short enough."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from runners.errors import PayloadTooLarge, RunnerError
from runners.models.summarizers.base import Task
from runners.models.summarizers.guard import guarded

PASSES: Final = 8
"""Passes at most: each leaves a quarter of the tokens, so this bounds a misbehaving model, not the text."""

SPACELESS: Final = frozenset({"ja", "th", "zh"})
"""Languages without spaces between sentences."""

Outcome = str | RunnerError
Split = Callable[[Task], list[Task]]
Generate = Callable[[Sequence[Task]], list[Outcome]]


def separator(language: str) -> str:
    """Return what separates two sentences."""
    return "" if language in SPACELESS else " "


def budget(task: Task, limit: int) -> int:
    """Return tokens for the summary of one part: the requested length, or a quarter of an input of ``limit``."""
    return max(1, min(task.max_length, limit // 4))


def summarize(tasks: Sequence[Task], split: Split, generate: Generate, count: Callable[[str], int]) -> list[Outcome]:
    """Return one outcome per task. The parts of all tasks are generated together.

    ``split`` gives the tasks that a task's parts are (one, when it fits). Parts' summaries that are within the task's
    ``max_length`` together are its summary; otherwise they are the text of the next pass. What any of the three
    raises is the error of its task alone.
    """
    outcomes: dict[int, Outcome] = {}
    current = dict(enumerate(tasks))
    for _ in range(PASSES):
        parts = {index: guarded(partial(split, task)) for index, task in current.items()}
        results = _all(parts, generate)
        for index, task in list(current.items()):
            after = joined(task, results[index], count)
            if isinstance(after, Task):
                current[index] = after
            else:
                outcomes[index] = after
                del current[index]
    return [outcomes.get(index, too_long()) for index in range(len(tasks))]


def too_long() -> RunnerError:
    """Return the error for a text whose summaries do not get shorter."""
    return PayloadTooLarge("The text is too long to be summarized.")


def _all(parts: dict[int, list[Task] | RunnerError], generate: Generate) -> dict[int, list[Outcome]]:
    flat = [part for found in parts.values() if isinstance(found, list) for part in found]
    outcomes = iter(_generated(flat, generate) if flat else [])
    return {
        index: [next(outcomes) for _ in found] if isinstance(found, list) else [found] for index, found in parts.items()
    }


def _generated(parts: list[Task], generate: Generate) -> list[Outcome]:
    """Generate all parts together, or each by itself where the whole batch fails."""
    outcomes = guarded(partial(generate, parts), len(parts))
    if not isinstance(outcomes, RunnerError):
        return outcomes
    return [outcomes] if len(parts) == 1 else [outcome for part in parts for outcome in _generated([part], generate)]


def joined(task: Task, said: Sequence[Outcome], count: Callable[[str], int]) -> Outcome | Task:
    """Return the summary, the first error, or the task of the next pass; never raises."""
    return guarded(partial(_joined, task, said, count))


def _joined(task: Task, said: Sequence[Outcome], count: Callable[[str], int]) -> Outcome | Task:
    texts: list[str] = []
    for outcome in said:
        if isinstance(outcome, RunnerError):
            return outcome
        texts.append(outcome)
    together = separator(task.language).join(text for text in texts if text)
    if len(texts) <= 1 or count(together) <= task.max_length:
        return together
    return replace(task, text=together, images=())
