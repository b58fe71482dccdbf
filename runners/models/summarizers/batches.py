"""Which pieces are generated together, and what happens when a batch fails. Knows no model."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import torch

from runners.errors import RunnerError
from runners.models.summarizers.guard import unforeseen

logger = logging.getLogger(__name__)

ROWS: Final = 16
"""Most texts of one batch."""

TOKENS: Final = 16 * 1024
"""Most tokens of one batch, padding included."""

T = TypeVar("T")


def by_length(lengths: Sequence[int], rows: int = ROWS, tokens: int = TOKENS) -> list[list[int]]:
    """Indices in batches, longest first: at most ``rows``, at most ``tokens`` padded, none half as long as its longest.

    So less than half of what is computed is padding, whatever the lengths are.
    """
    found: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda one: -lengths[one]):
        longest = lengths[found[-1][0]] if found else 0
        room = bool(found) and len(found[-1]) < rows and (len(found[-1]) + 1) * longest <= tokens
        if room and 2 * lengths[index] > longest:
            found[-1].append(index)
        else:
            found.append([index])
    return found


def run(batch: Sequence[T], generate: Callable[[Sequence[T]], list[str]]) -> list[str | RunnerError]:
    """A result or an error for each. A batch that fails is halved and tried again, so that an error finds its item."""
    try:
        return list(generate(batch))
    except RunnerError as error:
        failure = error
    except Exception as error:  # the batch's edge: one text must not take its neighbours with it
        failure = _failure(error, len(batch))
    # Out here the traceback is gone, and with it the tensors that it kept alive.
    if len(batch) == 1:
        return [failure]
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    middle = len(batch) // 2
    return run(batch[:middle], generate) + run(batch[middle:], generate)


def _failure(error: Exception, rows: int) -> RunnerError:
    if is_out_of_memory(error):
        logger.warning("out of memory with %d texts", rows)
        return RunnerError("The model needs more memory for this text than the machine has.")
    return unforeseen(error, rows)


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory was short, on a GPU or on a CPU, where PyTorch raises a plain RuntimeError."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )
