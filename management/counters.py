"""The counters behind the metrics: plain numbers in the memory of one worker.

Unlike BentoML's metrics they have no files, so that a full disk does not hold up requests.
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
"""Upper ends of a histogram's buckets, in seconds; one more bucket has no end."""
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "WEBSOCKET"})
OTHER: Final = "other"
"""Label of all methods and paths that are not served, each of which would otherwise make a series."""


class Outcome(StrEnum):
    """What became of a request for a model."""

    ANSWERED = "answered"
    """The model answered, perhaps by refusing the input."""
    FAILED = "failed"
    """The model failed on it."""
    REJECTED = "rejected"
    """It was rejected; ``Rejection`` says why."""
    LEFT = "left"
    """The caller disconnected before the answer."""


class Rejection(StrEnum):
    """Why a request for a model was rejected."""

    QUEUE_FULL = "queue_full"
    BUSY = "busy"
    """The replica itself takes no more requests."""
    NO_ROOM = "no_room"
    """The machine has no capacity for the model that had to start."""
    NOT_READY = "not_ready"
    TIMEOUT = "timeout"
    """The caller's deadline passed."""
    BACKEND = "backend_unavailable"
    """No replica could be reached, and the backend did not answer either."""
    STORE = "store_unavailable"
    """The model had to start, and the database could not be written."""


class ScalingDirection(StrEnum):
    """What the autoscaler decided."""

    UP = "up"
    DOWN = "down"
    TO_ZERO = "rest"
    """The model is idle, and is scaled to zero until the next request."""


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
    """A histogram of durations over ``BOUNDS``."""

    __slots__ = ("_counts", "sum")

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS) + 1)
        self.sum = 0.0
        """Sum of all durations in seconds."""

    def add(self, seconds: float) -> None:
        """Counts one duration."""
        self._counts[bisect_left(BOUNDS, seconds)] += 1
        self.sum += seconds

    def buckets(self) -> list[tuple[str, int]]:
        """How many durations were at most as long as each upper end; the last bucket counts all."""
        ends = (*map(str, BOUNDS), "+Inf")
        return list(zip(ends, accumulate(self._counts), strict=True))


class ModelCounters:
    """Counts the requests for one model."""

    def __init__(self) -> None:
        self.outcomes = dict.fromkeys(Outcome, 0)
        self.rejections = dict.fromkeys(Rejection, 0)
        self.answered = Durations()
        """Durations of answered requests, waiting included."""
        self.queued = Durations()
        """Durations until a slot was free, a model's start included."""

    def end(self, error: BaseException | None, seconds: float) -> None:
        """Counts a request that has ended, with its error if it has one."""
        outcome = Outcome.ANSWERED if error is None else _outcome(error)
        self.outcomes[outcome] += 1
        if outcome is Outcome.ANSWERED:
            self.answered.add(seconds)
        elif outcome is Outcome.REJECTED and (reason := _reason(error)) is not None:
            self.rejections[reason] += 1


@dataclass
class ReplicaCounters:
    """Counts what the leader did for one deployment."""

    starts: int = 0
    failures: int = 0
    scalings: dict[ScalingDirection, int] = field(default_factory=lambda: dict.fromkeys(ScalingDirection, 0))


Labels = tuple[str, str, str]
"""Method, route, and class of the status."""


class RequestCounters:
    """Counts the requests to the API by route."""

    def __init__(self) -> None:
        self.answered: dict[Labels, int] = {}
        self.seconds: dict[tuple[str, str], Durations] = {}
        """By method and route."""
        self._templates: list[tuple[Pattern[str], str]] = []

    def know(self, routes: Iterable[BaseRoute]) -> None:
        """Takes the routes of the API, to label requests that are refused before routing."""
        self._templates = [(route.path_regex, route.path) for route in routes if isinstance(route, Route)]

    def count(self, scope: Scope, status: int, seconds: float) -> None:
        """Counts an answered request; ``scope`` is the application's, which holds the route."""
        self.count_as(self._route(scope), scope["method"], status, seconds)

    def count_as(self, route: str, method: str, status: int, seconds: float) -> None:
        """Counts an answered request of that route."""
        method = method if route != OTHER and method in METHODS else OTHER
        labels = (method, route, f"{status // 100}xx")
        self.answered[labels] = self.answered.get(labels, 0) + 1
        self.seconds.setdefault((method, route), Durations()).add(seconds)

    def _route(self, scope: Scope) -> str:
        path = getattr(scope.get("route"), "path", None)
        if isinstance(path, str):
            return path
        return next((path for regex, path in self._templates if regex.match(scope["path"])), OTHER)


class CountedRequest:
    """A request that is being counted."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._seconds: float | None = None
        self.failed = False
        """Whether the model failed on it, although no exception says so."""

    def begin_answer(self) -> None:
        """The answer has begun: what follows does not count towards the duration."""
        self._seconds = time.perf_counter() - self._began

    @property
    def seconds(self) -> float:
        """Seconds until its answer began, or until now."""
        return time.perf_counter() - self._began if self._seconds is None else self._seconds


@contextmanager
def counting(find_counters: Callable[[], ModelCounters | None]) -> Iterator[CountedRequest]:
    """Counts a request when the block ends, in the counters found then; an unknown model has none."""
    request, raised = CountedRequest(), None
    try:
        yield request
    except BaseException as error:
        raised = error
        raise
    finally:
        if (counters := find_counters()) is not None:
            counters.end(errors.ModelFailed() if request.failed else raised, request.seconds)


def _outcome(error: BaseException) -> Outcome:
    if isinstance(error, errors.ItemRefused):
        return Outcome.ANSWERED
    if isinstance(error, asyncio.CancelledError):
        return Outcome.LEFT
    return Outcome.FAILED if _reason(error) is None else Outcome.REJECTED


def _reason(error: BaseException | None) -> Rejection | None:
    return next((reason for kind, reason in _REASONS if isinstance(error, kind)), None)
