"""Groups items of similar length into batches, and retries a batch that fails. Independent of any model."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import torch

from runners.errors import RunnerError
from runners.models.summarizers.guard import unforeseen

logger = logging.getLogger(__name__)

MAX_ROWS: Final = 16
"""Maximum number of texts in a batch."""

MAX_TOKENS: Final = 16 * 1024
"""Maximum number of tokens in a batch, padding included."""

T = TypeVar("T")


def by_length(lengths: Sequence[int], rows: int = MAX_ROWS, tokens: int = MAX_TOKENS) -> list[list[int]]:
    """Group the indices of ``lengths``, longest first: at most ``rows``, and at most ``tokens`` with padding.

    Items of a batch are more than half as long as its longest, so that padding is less than half of the computation.
    """
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda position: -lengths[position]):
        longest = lengths[batches[-1][0]] if batches else 0
        fits = bool(batches) and len(batches[-1]) < rows and (len(batches[-1]) + 1) * longest <= tokens
        if fits and 2 * lengths[index] > longest:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches


def run(batch: Sequence[T], generate: Callable[[Sequence[T]], list[str]]) -> list[str | RunnerError]:
    """Return a result or an error for each item. A failing batch is halved and retried to find the item at fault."""
    try:
        return list(generate(batch))
    except RunnerError as error:
        failure = error
    except Exception as error:  # one text must not fail the others of its batch
        failure = _failure(error, len(batch))
    # Outside the handler the traceback no longer keeps tensors alive.
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
    """Whether memory ran out, on a GPU or on a CPU, where PyTorch raises a plain RuntimeError."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )
