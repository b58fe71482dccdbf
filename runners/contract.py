"""The contract of every model: a batch of requests in, a batch of results out, with the same length and order.

A bad item never raises, because BentoML fails the whole batch if one item raises. Its result carries the error instead,
and the other items are served.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field, field_serializer

from runners.errors import InvalidInput, ModelUnavailable, RunnerError, of_code

MAX_ITEMS: Final = 32
"""Items of the longest request, and of the largest batch: a longer list would be split and block other requests."""

T = TypeVar("T")


class ItemError(BaseModel):
    """The error of one item; ``status`` is the HTTP status that the item alone would get."""

    model_config = ConfigDict(frozen=True)

    code: str
    message: str
    status: int = Field(ge=400, le=599)

    @classmethod
    def of(cls, error: RunnerError) -> ItemError:
        """Return the error as data, for transport between processes."""
        return cls(code=error.code, message=error.message, status=error.status)

    def as_exception(self) -> RunnerError:
        """Return the exception with this code and message."""
        return of_code(self.code, self.message)


class InferenceRequest(BaseModel):
    """One item: the model's input and its parameters.

    An image is ``{"image": bytes}``; as JSON the bytes are base64.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    input_data: dict[str, Any]
    parameters: dict[str, Any] = Field(default_factory=dict)

    @field_serializer("input_data", when_used="json")
    def _as_text(self, input_data: dict[str, Any]) -> dict[str, Any]:
        # Between processes bytes are sent unchanged; within one, BentoML's proxy of a service to itself uses JSON.
        return {key: _as_text(value) for key, value in input_data.items()}


def _as_text(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_as_text(item) for item in value]
    return b64encode(value).decode() if isinstance(value, bytes) else value


class InferenceResult(BaseModel):
    """One result: ``output_data`` or ``error``, never both; ``confidence`` in [0, 1] if the model has one."""

    model_config = ConfigDict(frozen=True)

    output_data: dict[str, Any] | None = None
    error: ItemError | None = None
    confidence: float | None = None

    def output(self) -> dict[str, Any]:
        """Return the output, or raise the item's error."""
        if self.error is not None:
            raise self.error.as_exception()
        if self.output_data is None:
            raise ModelUnavailable("the model gave no answer; try again")
        return self.output_data


class ModelProxy(Protocol):
    """A model as its routes call it, in this process or in another."""

    async def infer(self, requests: Sequence[InferenceRequest]) -> list[InferenceResult]:
        """Return a result for each request, in order. Raises RunnerError if the model as a whole cannot answer."""

    async def info(self) -> dict[str, Any] | None:
        """Return the ``/health`` fields of the model, or None if it is not ready."""


def only(parameters: Mapping[str, Any], known: frozenset[str]) -> None:
    """Raise InvalidInput if an item has a parameter that its model does not know."""
    unknown = parameters.keys() - known
    if unknown:
        raise InvalidInput(f"unknown parameter: {', '.join(sorted(unknown))[:100]!r}")


def answer_each(
    items: Sequence[T | RunnerError], compute: Callable[[list[T]], list[InferenceResult]]
) -> list[InferenceResult]:
    """Return the results of ``compute`` for the good items, and the errors of the others at their positions."""
    good = [item for item in items if not isinstance(item, RunnerError)]
    results = compute(good) if good else []
    if len(results) != len(good):
        raise AssertionError(f"{len(results)} answers for {len(good)} items")
    rest = iter(results)
    return [
        InferenceResult(error=ItemError.of(item)) if isinstance(item, RunnerError) else next(rest) for item in items
    ]


async def infer_each(model: ModelProxy, items: Sequence[InferenceRequest | RunnerError]) -> list[InferenceResult]:
    """Return the model's results for the good items, and the errors of the others at their positions."""
    good = [item for item in items if not isinstance(item, RunnerError)]
    results = await model.infer(good) if good else []
    return answer_each(items, lambda _: results)
