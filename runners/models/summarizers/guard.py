"""What a failure that nobody foresaw becomes: the error of its own task, so that others are served. Loads no torch."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from runners.errors import RunnerError

logger = logging.getLogger(__name__)

T = TypeVar("T")


def guarded(work: Callable[[], T], texts: int = 1) -> T | RunnerError:
    """What the work of one task gives, or its error; of more than one, the error says that they failed together."""
    try:
        return work()
    except RunnerError as error:
        return error
    except Exception as error:  # the task's edge: what is wrong with one text must not reach its neighbours
        return unforeseen(error, texts)


def raising(work: Callable[[], T]) -> T:
    """What the work of one task gives. Raises RunnerError, and nothing else."""
    found = guarded(work)
    if isinstance(found, RunnerError):
        raise found
    return found


def unforeseen(error: Exception, texts: int = 1) -> RunnerError:
    """What the caller is told. The log has the traceback once, when the text that is at fault is alone."""
    if texts > 1:
        logger.warning("%d texts failed together and are tried apart: %r", texts, error)
    else:
        logger.error("a text could not be summarized: %r", error, exc_info=error)
    return RunnerError("The text could not be summarized.")
