"""What every model promises, walked over all of them."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest
from numpy.typing import NDArray

from machine.devices import cores
from runners.contract import MAX_ITEMS, InferenceRequest, InferenceResult, answer_each, infer_each
from runners.embedding import service as embedding
from runners.embedding.service import EmbeddingModel
from runners.engines.openvino_cpu import OpenVinoEngine
from runners.errors import InvalidInput, RunnerError
from runners.satellite import service as satellite
from runners.satellite.service import SatelliteModel
from runners.tcm import diagnosis, treatment
from runners.tcm.diagnosis import DiagnosisModel
from runners.tcm.treatment import TreatmentModel
from tests.conftest import encoded
from tests.support.servers import ROOT


class Model(Protocol):
    def infer(self, requests: list[InferenceRequest]) -> list[InferenceResult]: ...


@dataclass(frozen=True)
class Kind:
    """A model with what it is asked, what it refuses with which status, and what of its answers can be compared."""

    service: Any
    model_class: Any
    item: Callable[[int], dict[str, Any]]
    bad: list[tuple[dict[str, Any], int]]
    numbers: Callable[[Mapping[str, Any]], dict[str, float]]
    within: float
    """How far an item's numbers may lie from those of the same item in another batch."""
    parameters: dict[str, Any] = field(default_factory=dict)

    def request(self, seed: int) -> InferenceRequest:
        return InferenceRequest(input_data=self.item(seed), parameters=self.parameters)

    def said(self, result: InferenceResult) -> dict[str, float]:
        assert result.error is None
        assert result.output_data is not None
        return self.numbers(result.output_data)


PATIENTS = (
    ["头痛", "乏力", "食欲不振"],
    ["恶寒", "发热", "咳嗽"],
    ["腰膝酸软", "耳鸣"],
    ["胸闷", "心悸"],
    ["口渴", "便秘"],
    ["腹胀", "泄泻"],
    ["失眠", "多梦"],
)


def picture_of(seed: int) -> dict[str, Any]:
    return {"image": encoded(seed)}


def scene_of(seed: int) -> dict[str, Any]:
    """A scene that is none of the four would have no probabilities to tell apart."""
    name = ("forest", "sea", "desert", "clouds")[seed % 4]
    return {"image": (ROOT / "examples" / f"{name}.jpg").read_bytes()}


def patient_of(seed: int) -> dict[str, Any]:
    return {"symptoms": PATIENTS[seed]}


BAD_PICTURES: list[tuple[dict[str, Any], int]] = [
    ({"image": b"no picture"}, 415),
    ({"image": encoded()[:200]}, 400),
    ({"image": 7}, 400),
    ({"image": "%%%"}, 400),
    ({}, 400),
    ({"picture": "x"}, 400),
]
BAD_PATIENTS: list[tuple[dict[str, Any], int]] = [
    ({}, 400),
    ({"symptoms": []}, 400),
    ({"symptoms": 7}, 400),
    ({"symptoms": ["头痛"], "image": b"x"}, 400),
    ({"symptoms": ["头痛"], "patient_info": {"age": -1}}, 400),
    ({"text": "痛" * 20_001}, 413),
    ({"symptoms": ["xyzzy"]}, 422),
    ({"symptoms": ["无头痛"]}, 422),
]
KINDS = {
    "satellite": Kind(
        satellite.Satellite, SatelliteModel, scene_of, BAD_PICTURES, lambda said: dict(said["probabilities"]), 0.03
    ),
    "embedding": Kind(
        embedding.Embedding,
        EmbeddingModel,
        picture_of,
        BAD_PICTURES,
        lambda said: {str(place): value for place, value in enumerate(said["embedding"])},
        0.03,
    ),
    "diagnosis": Kind(
        diagnosis.Diagnosis,
        DiagnosisModel,
        patient_of,
        BAD_PATIENTS,
        lambda said: {
            element["name"]: element["probability"] for kind in said["elements"].values() for element in kind
        },
        0.001,
        {"threshold": 0},
    ),
    "treatment": Kind(
        treatment.Treatment,
        TreatmentModel,
        patient_of,
        [*BAD_PATIENTS, ({"diagnosis": ["xyzzy"]}, 422), ({"diagnosis": [7]}, 400)],
        lambda said: {herb["name"]: herb["score"] for herb in said["herbs"]},
        0.001,
    ),
}


@cache
def made(name: str) -> Model:
    model: Model = KINDS[name].model_class()
    return model


@pytest.fixture(params=KINDS)
def name(request: pytest.FixtureRequest, store: Path) -> str:
    return str(request.param)


@pytest.fixture
def kind(name: str) -> Kind:
    return KINDS[name]


@pytest.fixture
def model(name: str) -> Model:
    return made(name)


def test_as_many_results_as_requests_in_the_same_order(model: Model, kind: Kind) -> None:
    together = [kind.said(result) for result in model.infer([kind.request(seed) for seed in range(7)])]
    alone = [kind.said(model.infer([kind.request(seed)])[0]) for seed in range(7)]
    assert len(together) == 7
    for batched, other in zip(together, alone, strict=True):
        assert batched == pytest.approx(other, abs=kind.within)
    assert alone[0] != pytest.approx(alone[3], abs=0.001)


def test_a_bad_item_harms_no_neighbour(model: Model, kind: Kind) -> None:
    bad = [InferenceRequest(input_data=data, parameters=kind.parameters) for data, _ in kind.bad]
    first, *errors, last = model.infer([kind.request(1), *bad, kind.request(2)])
    for seed, result in ((1, first), (2, last)):
        assert kind.said(result) == pytest.approx(kind.said(model.infer([kind.request(seed)])[0]), abs=kind.within)
    assert all(result.output_data is None and result.confidence is None for result in errors)
    assert [result.error and result.error.status for result in errors] == [status for _, status in kind.bad]


def test_nothing_but_bad_items_gives_nothing_but_errors(model: Model, kind: Kind) -> None:
    results = model.infer([InferenceRequest(input_data=data) for data, _ in kind.bad] * 2)
    assert [result.error and result.error.status for result in results] == [status for _, status in kind.bad] * 2


def test_a_parameter_that_nobody_knows_is_refused(model: Model, kind: Kind) -> None:
    unknown = kind.request(0).model_copy(update={"parameters": {"no_such": 1}})
    refused, served = model.infer([unknown, kind.request(1)])
    assert refused.error is not None
    assert (refused.error.status, refused.error.message) == (400, "unknown parameter: 'no_such'")
    assert served.error is None


def test_an_empty_list_gives_an_empty_list(model: Model) -> None:
    assert model.infer([]) == []


@pytest.mark.parametrize("name", ["satellite", "embedding"])
def test_bytes_and_their_base64_mean_the_same(name: str, store: Path) -> None:
    kind, model = KINDS[name], made(name)
    text = InferenceRequest(input_data={"image": b64encode(kind.item(3)["image"]).decode()})
    assert kind.said(model.infer([text])[0]) == kind.said(model.infer([kind.request(3)])[0])


@pytest.mark.parametrize("service", [satellite.Satellite, embedding.Embedding])
def test_a_network_has_run_batches_large_and_small_before_it_is_ready(
    service: Any, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[int] = []
    compute = OpenVinoEngine.__call__

    def counting(self: OpenVinoEngine, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        batches.append(len(pixels))
        return compute(self, pixels)

    monkeypatch.setattr(OpenVinoEngine, "__call__", counting)
    service.inner()
    assert batches[0] == OpenVinoEngine.max_batch_size
    assert batches[-1] == 1
    assert len(batches) >= 2 * len(set(batches)) or cores() == 1  # in every stream


@pytest.mark.parametrize("name", ["diagnosis", "treatment"])
def test_a_service_has_run_a_full_batch_before_it_is_ready(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = KINDS[name]
    batches: list[int] = []
    infer = kind.model_class.infer

    def counting(self: Any, requests: list[InferenceRequest]) -> list[InferenceResult]:
        batches.append(len(requests))
        results: list[InferenceResult] = infer(self, requests)
        assert all(result.error is None for result in results)
        return results

    monkeypatch.setattr(kind.model_class, "infer", counting)
    kind.service.inner()
    assert batches == [MAX_ITEMS]


def test_errors_stand_where_their_items_stood() -> None:
    prepared: list[str | RunnerError] = ["a", InvalidInput("no"), "b"]
    results = answer_each(prepared, lambda good: [InferenceResult(output_data={"said": word}) for word in good])
    assert [result.output_data for result in results] == [{"said": "a"}, None, {"said": "b"}]
    assert results[1].error is not None
    assert results[1].error.code == "INVALID_INPUT"


async def test_a_model_is_not_asked_when_no_item_is_good() -> None:
    class Unasked:
        async def infer(self, requests: object) -> list[InferenceResult]:
            raise AssertionError(requests)

        async def info(self) -> dict[str, Any] | None:
            return {}

    (result,) = await infer_each(Unasked(), [InvalidInput("no")])
    assert result.error is not None


def test_a_model_that_answers_too_much_is_found_out() -> None:
    with pytest.raises(AssertionError, match="2 answers for 1 items"):
        answer_each(["a"], lambda _: [InferenceResult(), InferenceResult()])


def test_bytes_become_base64_in_json_alone() -> None:
    request = InferenceRequest(input_data={"image": b"\xff\x00"})
    assert request.model_dump(mode="json")["input_data"] == {"image": "/wA="}
    assert request.model_dump()["input_data"] == {"image": b"\xff\x00"}
