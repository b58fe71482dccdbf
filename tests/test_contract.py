"""What every model promises, walked over all of them."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import pytest

from runners import embedding, satellite
from runners.contract import MAX_ITEMS, InferenceRequest, InferenceResult, answer_each, ask
from runners.embedding import EmbeddingModel
from runners.errors import InvalidInput, RunnerError
from runners.satellite import SatelliteModel
from tests.conftest import encoded


class Model(Protocol):
    def infer(self, requests: list[InferenceRequest]) -> list[InferenceResult]: ...


MODELS: dict[str, Callable[[], Model]] = {"satellite": cache(SatelliteModel), "embedding": cache(EmbeddingModel)}
SERVICES: dict[str, tuple[Any, Any]] = {
    "satellite": (satellite.Satellite, SatelliteModel),
    "embedding": (embedding.Embedding, EmbeddingModel),
}


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest, store: Path) -> Model:
    return MODELS[request.param]()


def item(seed: int) -> InferenceRequest:
    return InferenceRequest(input_data={"image": encoded(seed)})


def numbers(result: InferenceResult) -> list[float]:
    """Whatever a model said, as numbers that can be compared."""
    output = result.output_data or {}
    return [float(value) for value in output.get("embedding") or output["probabilities"].values()]


def test_as_many_results_as_requests_in_the_same_order(model: Model) -> None:
    together = model.infer([item(seed) for seed in range(7)])
    alone = [model.infer([item(seed)])[0] for seed in range(7)]
    assert len(together) == 7
    for one, other in zip(together, alone, strict=True):
        assert numbers(one) == pytest.approx(numbers(other), abs=0.03)
    assert numbers(alone[0]) != pytest.approx(numbers(alone[3]), abs=0.001)


def test_a_bad_item_harms_no_neighbour(model: Model) -> None:
    bad: list[dict[str, Any]] = [
        {"image": b"no picture"},
        {"image": encoded()[:200]},
        {"image": 7},
        {"image": "%%%"},
        {},
        {"picture": "x"},
    ]
    requests = [item(1), *(InferenceRequest(input_data=data) for data in bad), item(2)]
    first, *errors, last = model.infer(requests)
    assert first.error is None
    assert last.error is None
    assert numbers(first) == pytest.approx(numbers(model.infer([item(1)])[0]), abs=0.03)
    assert all(result.error is not None and result.output_data is None for result in errors)
    assert [result.error.status for result in errors if result.error] == [415, 400, 400, 400, 400, 400]


def test_an_empty_list_gives_an_empty_list(model: Model) -> None:
    assert model.infer([]) == []


def test_bytes_and_their_base64_mean_the_same(model: Model) -> None:
    text = InferenceRequest(input_data={"image": b64encode(encoded(3)).decode()})
    assert numbers(model.infer([text])[0]) == numbers(model.infer([item(3)])[0])


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_run_a_full_batch_before_it_is_ready(
    name: str, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, model_class = SERVICES[name]
    batches: list[int] = []
    infer = model_class.infer

    def counting(self: Any, requests: list[InferenceRequest]) -> list[InferenceResult]:
        batches.append(len(requests))
        results: list[InferenceResult] = infer(self, requests)
        assert all(result.error is None for result in results)
        return results

    monkeypatch.setattr(model_class, "infer", counting)
    service.inner()
    assert batches == [MAX_ITEMS]


def test_errors_stand_where_their_items_stood() -> None:
    prepared: list[str | RunnerError] = ["a", InvalidInput("no"), "b"]
    results = answer_each(prepared, lambda good: [InferenceResult(output_data={"said": word}) for word in good])
    assert [result.output_data for result in results] == [{"said": "a"}, None, {"said": "b"}]
    assert results[1].error is not None
    assert results[1].error.code == "INVALID_INPUT"


async def test_a_model_is_not_asked_when_no_item_is_good() -> None:
    async def unasked(requests: object) -> list[InferenceResult]:
        raise AssertionError(requests)

    (result,) = await ask(unasked, [InvalidInput("no")])
    assert result.error is not None


def test_a_model_that_answers_too_much_is_found_out() -> None:
    with pytest.raises(AssertionError, match="2 answers for 1 items"):
        answer_each(["a"], lambda _: [InferenceResult(), InferenceResult()])


def test_bytes_become_base64_in_json_alone() -> None:
    request = InferenceRequest(input_data={"image": b"\xff\x00"})
    assert request.model_dump(mode="json")["input_data"] == {"image": "/wA="}
    assert request.model_dump()["input_data"] == {"image": b"\xff\x00"}
