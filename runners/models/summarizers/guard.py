"""Turns an unexpected exception into the error of its own task. Does not load torch."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from runners.errors import RunnerError

logger = logging.getLogger(__name__)

T = TypeVar("T")


def guarded(work: Callable[[], T], texts: int = 1) -> T | RunnerError:
    """Return the work's result or its error; ``texts`` is the number of tasks that share the work."""
    try:
        return work()
    except RunnerError as error:
        return error
    except Exception as error:  # an error of one text must not affect other texts
        return unforeseen(error, texts)


def raising(work: Callable[[], T]) -> T:
    """Return the work's result. Raises only RunnerError."""
    result = guarded(work)
    if isinstance(result, RunnerError):
        raise result
    return result


def unforeseen(error: Exception, texts: int = 1) -> RunnerError:
    """Log an unexpected exception, with its traceback if it concerns a single text, and return the client's error."""
    if texts > 1:
        logger.warning("%d texts failed together and are tried separately: %r", texts, error)
    else:
        logger.error("a text could not be summarized: %r", error, exc_info=error)
    return RunnerError("The text could not be summarized.")
