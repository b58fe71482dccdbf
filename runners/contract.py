"""The one shape every model speaks: a batch of requests in, a batch of results out, same length and order.

A bad item never raises: BentoML fails a whole batch when one item raises, so the item's result carries the error and
its neighbours are served.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, field_serializer

from runners.errors import InvalidInput, RunnerError

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


Infer = Callable[[Sequence[InferenceRequest]], Awaitable[list[InferenceResult]]]
"""How a router asks a model, wherever it runs. Raises RunnerError when the model as a whole cannot answer."""


def only(parameters: Mapping[str, Any], known: frozenset[str]) -> None:
    """Raises InvalidInput when an item has a parameter that its model does not know."""
    unknown = parameters.keys() - known
    if unknown:
        raise InvalidInput(f"unknown parameter: {', '.join(sorted(unknown))[:100]!r}")


def answer_each(
    prepared: Sequence[T | RunnerError], compute: Callable[[list[T]], list[InferenceResult]]
) -> list[InferenceResult]:
    """Runs ``compute`` over the items that could be prepared and puts the errors of the others in their places."""
    good = [item for item in prepared if not isinstance(item, RunnerError)]
    return _in_order(prepared, compute(good) if good else [])


async def ask(infer: Infer, prepared: Sequence[InferenceRequest | RunnerError]) -> list[InferenceResult]:
    """Asks a model about the items that could be prepared and puts the errors of the others in their places."""
    good = [item for item in prepared if not isinstance(item, RunnerError)]
    return _in_order(prepared, await infer(good) if good else [])


def _in_order(prepared: Sequence[object], answers: Sequence[InferenceResult]) -> list[InferenceResult]:
    wanted = sum(not isinstance(item, RunnerError) for item in prepared)
    if len(answers) != wanted:
        raise AssertionError(f"{len(answers)} answers for {wanted} items")
    rest = iter(answers)
    return [
        InferenceResult(error=ItemError.of(item)) if isinstance(item, RunnerError) else next(rest) for item in prepared
    ]
