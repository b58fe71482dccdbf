"""The one shape every model speaks: a batch of requests in, a batch of results out, same length and order.

A bad item never raises: BentoML fails a whole batch when one item raises, so the item's result carries the error and
its neighbours are served.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field, field_serializer

from runners.errors import InvalidInput, ModelUnavailable, RunnerError, of_code

MAX_ITEMS: Final = 32
"""Most items in one request, and in one batch of the model: a longer list would be split and block its neighbours."""

T = TypeVar("T")


class ItemError(BaseModel):
    """Why one item has no output; ``status`` is what HTTP would say of it alone."""

    model_config = ConfigDict(frozen=True)

    code: str
    message: str
    status: int = Field(ge=400, le=599)

    @classmethod
    def of(cls, error: RunnerError) -> ItemError:
        """The error as data, to travel between processes."""
        return cls(code=error.code, message=error.message, status=error.status)

    def as_exception(self) -> RunnerError:
        """The error that this was made of."""
        return of_code(self.code, self.message)


class InferenceRequest(BaseModel):
    """One item: what the model is to look at, and how.

    An image is ``{"image": bytes}``; as JSON the bytes are base64.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    input_data: dict[str, Any]
    parameters: dict[str, Any] = Field(default_factory=dict)

    @field_serializer("input_data", when_used="json")
    def _as_text(self, input_data: dict[str, Any]) -> dict[str, Any]:
        # Between processes bytes travel as they are; within one, BentoML's proxy of a service to itself speaks JSON.
        return {key: _as_text(value) for key, value in input_data.items()}


def _as_text(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_as_text(one) for one in value]
    return b64encode(value).decode() if isinstance(value, bytes) else value


class InferenceResult(BaseModel):
    """One answer: ``output_data`` or ``error``, never both; ``confidence`` in [0, 1] where the model has one."""

    model_config = ConfigDict(frozen=True)

    output_data: dict[str, Any] | None = None
    error: ItemError | None = None
    confidence: float | None = None

    def output(self) -> dict[str, Any]:
        """The output. Raises the RunnerError that there is instead."""
        if self.error is not None:
            raise self.error.as_exception()
        if self.output_data is None:
            raise ModelUnavailable("the model gave no answer; try again")
        return self.output_data


class ModelProxy(Protocol):
    """A model as its routes call it, in this process or in another one."""

    async def infer(self, requests: Sequence[InferenceRequest]) -> list[InferenceResult]:
        """A result for each request, in order. Raises RunnerError when the model as a whole cannot answer."""

    async def info(self) -> dict[str, Any] | None:
        """What ``/health`` shows of a model that is ready; None where it is not."""


def only(parameters: Mapping[str, Any], known: frozenset[str]) -> None:
    """Raises InvalidInput when an item has a parameter that its model does not know."""
    unknown = parameters.keys() - known
    if unknown:
        raise InvalidInput(f"unknown parameter: {', '.join(sorted(unknown))[:100]!r}")


def answer_each(
    items: Sequence[T | RunnerError], compute: Callable[[list[T]], list[InferenceResult]]
) -> list[InferenceResult]:
    """The results that ``compute`` gives for the good items, and the other items' errors in their places."""
    good = [item for item in items if not isinstance(item, RunnerError)]
    results = compute(good) if good else []
    if len(results) != len(good):
        raise AssertionError(f"{len(results)} answers for {len(good)} items")
    rest = iter(results)
    return [
        InferenceResult(error=ItemError.of(item)) if isinstance(item, RunnerError) else next(rest) for item in items
    ]


async def infer_each(model: ModelProxy, items: Sequence[InferenceRequest | RunnerError]) -> list[InferenceResult]:
    """The model's results for the good items, and the other items' errors in their places."""
    good = [item for item in items if not isinstance(item, RunnerError)]
    results = await model.infer(good) if good else []
    return answer_each(items, lambda _: results)
