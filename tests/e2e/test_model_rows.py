"""What every row of the registry promises of its model, called as other services call it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from runners.contract import InferenceRequest, InferenceResult
from runners.registry import MODELS, Model
from tests.conftest import encoded

UNSURE = 0.03
"""Most that a number of an item may differ from that of the same item in another batch."""

Infer = Callable[[list[InferenceRequest]], list[InferenceResult]]


@pytest.fixture(scope="module", params=MODELS, ids=lambda row: row.name)
def row(request: pytest.FixtureRequest) -> Model:
    model: Model = request.param
    return model


@pytest.fixture(scope="module")
def infer(row: Model, store: Path) -> Iterator[Infer]:
    with instance(row) as service:
        yield service.infer


@contextmanager
def instance(row: Model) -> Iterator[Any]:
    service = row.load().inner()
    yield service
    getattr(service, "close", int)()


@pytest.fixture
def example(row: Model) -> Callable[..., InferenceRequest]:
    """Makes an item that the model's documentation shows."""
    return partial(InferenceRequest, input_data=row.mounted().example or {"image": encoded()})


def numbers(value: object) -> Iterator[float]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from numbers(part)
    elif isinstance(value, float):
        yield value


def test_as_many_results_as_items_and_the_same_for_the_same(
    infer: Infer, example: Callable[..., InferenceRequest]
) -> None:
    results = infer([example()] * 3)
    assert [result.error for result in results] == [None] * 3
    (alone,) = infer([example()])
    for result in results:
        assert list(numbers(result.output_data)) == pytest.approx(list(numbers(alone.output_data)), abs=UNSURE)


def test_the_documented_answer_has_the_fields_of_a_real_one(
    row: Model, infer: Infer, example: Callable[..., InferenceRequest]
) -> None:
    (result,) = infer([example()])
    documented = row.mounted().output.keys() - {"ignored_parameters"}  # which only an answer to such has
    assert documented <= (result.output_data or {}).keys()


def test_a_bad_item_harms_no_neighbour(infer: Infer, example: Callable[..., InferenceRequest]) -> None:
    bad = [InferenceRequest(input_data=data) for data in ({}, {"no_such": 1})]
    first, *errors, last = infer([example(), *bad, example()])
    assert first.error is None
    assert last.error is None
    assert [result.error and result.error.status for result in errors] == [400, 400]
    assert [result.output_data for result in errors] == [None, None]


def test_an_unknown_parameter_is_refused(infer: Infer, example: Callable[..., InferenceRequest]) -> None:
    refused, served = infer([example(parameters={"no_such": 1}), example()])
    assert refused.error is not None
    assert refused.error.status == 400
    assert "no_such" in refused.error.message
    assert served.error is None


def test_an_empty_list_gives_an_empty_list(infer: Infer) -> None:
    assert infer([]) == []
