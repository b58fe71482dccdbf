"""What is counted while the management works: plain numbers in the memory of one worker.

No file stands behind them, as behind BentoML's metrics: a full disk must not hold up what is counted.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import accumulate
from re import Pattern
from typing import Final

from starlette.routing import BaseRoute, Route
from starlette.types import Scope

from management import errors

BOUNDS: Final = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Seconds: the upper ends of a histogram's buckets; a further one has no end."""
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER: Final = "other"
"""The label of methods and paths that nobody serves: each of them would make a series."""


class Outcome(StrEnum):
    """What became of a request for a model."""

    ANSWERED = "answered"
    """The model answered, were it that it refuses the input."""
    FAILED = "failed"
    """The model broke on it."""
    REJECTED = "rejected"
    """It was turned away; ``Rejection`` says why."""
    LEFT = "left"
    """Its caller did not wait for the answer."""


class Rejection(StrEnum):
    """Why a request for a model was turned away."""

    QUEUE_FULL = "queue_full"
    BUSY = "busy"
    """The replica itself takes no more."""
    NO_ROOM = "no_room"
    """The machine cannot hold the model that was to start."""
    NOT_READY = "not_ready"
    TIMEOUT = "timeout"
    """Its caller's time was over."""
    BACKEND = "backend_unavailable"
    """No replica could be reached, and what runs them did not answer either."""
    STORE = "store_unavailable"
    """The model was to start, and the database could not be written."""


class ScalingDirection(StrEnum):
    """What the autoscaler decided."""

    UP = "up"
    DOWN = "down"
    TO_ZERO = "rest"
    """Nobody asks: the model is ended until somebody does."""


_REASONS: Final[tuple[tuple[type[errors.ManagementError], Rejection], ...]] = (
    (errors.QueueFull, Rejection.QUEUE_FULL),
    (errors.ModelBusy, Rejection.BUSY),
    (errors.InsufficientResources, Rejection.NO_ROOM),
    (errors.ModelNotReady, Rejection.NOT_READY),
    (errors.InferenceTimeout, Rejection.TIMEOUT),
    (errors.BackendUnavailable, Rejection.BACKEND),
    (errors.StoreUnavailable, Rejection.STORE),
)


class Durations:
    """How often something took how long: a histogram over ``BOUNDS``."""

    __slots__ = ("_counts", "sum")

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS) + 1)
        self.sum = 0.0
        """Seconds."""

    def add(self, seconds: float) -> None:
        """One more."""
        self._counts[bisect_left(BOUNDS, seconds)] += 1
        self.sum += seconds

    def buckets(self) -> list[tuple[str, int]]:
        """By upper end, how many took at most as long; the last one has them all."""
        ends = (*map(str, BOUNDS), "+Inf")
        return list(zip(ends, accumulate(self._counts), strict=True))


class ModelCounters:
    """The requests for one model."""

    def __init__(self) -> None:
        self.outcomes = dict.fromkeys(Outcome, 0)
        self.rejections = dict.fromkeys(Rejection, 0)
        self.answered = Durations()
        """Of those that were answered, from when they were asked."""
        self.queued = Durations()
        """Until a replica had a place for them; a model's start is waited for, too."""

    def end(self, error: BaseException | None, seconds: float) -> None:
        """A request is over."""
        outcome = Outcome.ANSWERED if error is None else _outcome(error)
        self.outcomes[outcome] += 1
        if outcome is Outcome.ANSWERED:
            self.answered.add(seconds)
        elif outcome is Outcome.REJECTED and (reason := _reason(error)) is not None:
            self.rejections[reason] += 1


@dataclass
class ReplicaCounters:
    """What the supervisor did for one deployment."""

    starts: int = 0
    failures: int = 0
    scalings: dict[ScalingDirection, int] = field(default_factory=lambda: dict.fromkeys(ScalingDirection, 0))


Labels = tuple[str, str, str]
"""Method, route, class of the status."""


class RequestCounters:
    """The requests to the API, by the route that they came to."""

    def __init__(self) -> None:
        self.answered: dict[Labels, int] = {}
        self.seconds: dict[tuple[str, str], Durations] = {}
        """By method and route."""
        self._templates: list[tuple[Pattern[str], str]] = []

    def know(self, routes: Iterable[BaseRoute]) -> None:
        """The routes that there are, for requests that are refused before one is looked for."""
        self._templates = [(one.path_regex, one.path) for one in routes if isinstance(one, Route)]

    def count(self, scope: Scope, status: int, seconds: float) -> None:
        """One more that was answered; ``scope`` is the application's, which knows the route."""
        route = self._route(scope)
        method = scope["method"] if route != OTHER and scope["method"] in METHODS else OTHER
        labels = (method, route, f"{status // 100}xx")
        self.answered[labels] = self.answered.get(labels, 0) + 1
        self.seconds.setdefault((method, route), Durations()).add(seconds)

    def _route(self, scope: Scope) -> str:
        found = getattr(scope.get("route"), "path", None)
        if isinstance(found, str):
            return found
        return next((path for regex, path in self._templates if regex.match(scope["path"])), OTHER)


@contextmanager
def counting(tally: Callable[[], ModelCounters | None]) -> Iterator[None]:
    """Counts a request for the model whose tally this is when the block ends; none has a model that is unknown."""
    began, failed = time.perf_counter(), None
    try:
        yield
    except BaseException as error:
        failed = error
        raise
    finally:
        if (found := tally()) is not None:
            found.end(failed, time.perf_counter() - began)


def _outcome(error: BaseException) -> Outcome:
    if isinstance(error, errors.ItemRefused):
        return Outcome.ANSWERED
    if isinstance(error, asyncio.CancelledError):
        return Outcome.LEFT
    return Outcome.FAILED if _reason(error) is None else Outcome.REJECTED


def _reason(error: BaseException | None) -> Rejection | None:
    return next((reason for kind, reason in _REASONS if isinstance(error, kind)), None)
