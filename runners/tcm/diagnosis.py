"""Diagnosis in Chinese medicine: symptoms to syndrome elements and ranked syndromes, with ONNX Runtime, not torch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import bentoml
from fastapi import APIRouter

from runners.artifacts.store import DIAGNOSIS
from runners.contract import MAX_ITEMS, InferenceRequest, InferenceResult, ItemError, ModelProxy, answer_each
from runners.errors import RunnerError, UnknownSymptoms
from runners.http.item_route import item_router
from runners.serving import metrics
from runners.serving.batching import Batcher
from runners.serving.mounted import MountedModel
from runners.serving.proxies import model_under
from runners.serving.service import model_configuration
from runners.tcm.answers import ending, nothing_known, rounded
from runners.tcm.requests import PatientOptions, check_fields, names_of, options_of, patient_of, texts_of
from web.download.client import Downloader

if TYPE_CHECKING:
    from runners.models.tcm import diagnosis
    from runners.models.tcm.diagnosis import Ranked, ReadPhrase
    from runners.models.tcm.phrases import Phrase

FIELDS: Final = frozenset({"symptoms", "text", "patient_info", "candidates"})
DEFAULT_TOP_K: Final = 5
"""Syndromes of a response without ``top_k``."""
EXAMPLE_INPUT: Final = {
    "symptoms": ["头痛", "乏力", "食欲不振"],
    "patient_info": {"age": 35, "gender": "female", "medical_history": []},
}
EXAMPLES: Final = {
    "Chinese": EXAMPLE_INPUT,
    "English": {
        "symptoms": ["headache", "fatigue", "poor appetite"],
        "patient_info": {"age": 35, "gender": "female", "medical_history": []},
        "parameters": {"lang": "en"},
    },
}
EXAMPLE: Final = {
    "syndromes": [
        {
            "name": "脾气虚",
            "name_en": "spleen qi deficiency",
            "name_fr": "vide de qi de la rate",
            "probability": 0.05,
            "elements": ["脾", "气虚"],
            "for": ["食欲不振", "乏力"],
            "against": ["头痛"],
            "principle": "健脾益气",
        }
    ],
    "elements": {
        "locations": [{"name": "脾", "name_en": "spleen", "name_fr": "rate", "probability": 0.45}],
        "natures": [{"name": "气虚", "name_en": "qi deficiency", "name_fr": "vide de qi", "probability": 0.34}],
    },
    "symptoms": {"known": [{"text": "头痛", "terms": ["头痛"]}], "guessed": [], "unknown": [], "denied": []},
    "disclaimer": "仅供辅助决策参考，不能替代医师诊断，不构成医疗建议。",
    "language": "zh",
    "model": DIAGNOSIS,
}


@dataclass(frozen=True)
class DiagnosisTask:
    """One checked item: a patient, and the options of the response."""

    patient: diagnosis.Patient
    options: PatientOptions


class DiagnosisModel:
    """The diagnosis model of the store: a batch of requests in, elements and ranked syndromes out."""

    def __init__(self) -> None:
        from runners.artifacts import store
        from runners.models.tcm.diagnosis import Diagnostician

        self._diagnose = Diagnostician(store.path(DIAGNOSIS))
        self._threshold = float(self._diagnose.facts["threshold"])

    def infer(self, requests: list[InferenceRequest]) -> list[InferenceResult]:
        """Return results in the order of the requests; a request without a diagnosis gets an error."""
        return answer_each([_prepared(request) for request in requests], self._answers)

    def _answers(self, tasks: list[DiagnosisTask]) -> list[InferenceResult]:
        diagnoses = self._diagnose([task.patient for task in tasks])
        return [self._answer(task, diagnosed) for task, diagnosed in zip(tasks, diagnoses, strict=True)]

    def _answer(self, task: DiagnosisTask, diagnosed: diagnosis.Diagnosed) -> InferenceResult:
        if not diagnosed.known:
            return InferenceResult(error=ItemError.of(nothing_known(task.patient.texts, _phrases(diagnosed))))
        threshold = self._threshold if task.options.threshold is None else task.options.threshold
        output = {
            "syndromes": [_syndrome(ranked) for ranked in diagnosed.syndromes[: task.options.top_k]],
            "elements": {
                f"{kind}s": [
                    {**element.names.as_dict(), "probability": rounded(probability)}
                    for element, probability in diagnosed.elements
                    if element.kind == kind and probability >= threshold
                ]
                for kind in ("location", "nature")
            },
            "symptoms": _symptoms(diagnosed.readings),
            **ending(task.options, DIAGNOSIS),
        }
        return InferenceResult(output_data=output, confidence=rounded(diagnosed.syndromes[0].probability))


def _phrases(diagnosed: diagnosis.Diagnosed) -> list[Phrase]:
    return [reading.phrase for reading in diagnosed.readings]


def _prepared(request: InferenceRequest) -> DiagnosisTask | RunnerError:
    from runners.models.tcm.diagnosis import Patient

    try:
        data = request.input_data
        check_fields(data, FIELDS, "input_data")
        texts = texts_of(data)
        candidates = names_of(data["candidates"], "candidates") if "candidates" in data else ()
        info = patient_of(data.get("patient_info"))
        return DiagnosisTask(
            Patient(texts, info.gender, candidates), options_of(request.parameters, texts, DEFAULT_TOP_K)
        )
    except RunnerError as error:
        return error


def _syndrome(ranked: Ranked) -> dict[str, Any]:
    return {
        **(ranked.entry.names.as_dict() if ranked.entry else {}),
        "name": ranked.name,
        "probability": rounded(ranked.probability),
        "elements": [element.names.zh for element in ranked.elements],
        "for": list(ranked.speaks_for),
        "against": list(ranked.speaks_against),
        **({"principle": ranked.entry.principle} if ranked.entry else {}),
    }


def _symptoms(readings: tuple[ReadPhrase, ...]) -> dict[str, Any]:
    """Group the phrases: matched by known terms, guessed from their characters, unknown, or denied."""
    present = [reading for reading in readings if not reading.phrase.denied]
    return {
        "known": [
            {"text": reading.phrase.text, "terms": [term.names.zh for term in reading.terms]}
            for reading in present
            if reading.terms
        ],
        "guessed": [reading.phrase.text for reading in present if reading.known and not reading.terms],
        "unknown": [reading.phrase.text for reading in present if not reading.known],
        "denied": [reading.phrase.text for reading in readings if reading.phrase.denied],
    }


def router(model: ModelProxy, _: Downloader) -> APIRouter:
    """Return the route of a diagnosis model in any process."""
    return item_router(model, "/diagnose", "Symptoms to syndromes, ranked", EXAMPLES, EXAMPLE, UnknownSymptoms)


def mounted(attribute: str | None = None) -> MountedModel:
    """Return the model of this process, or of the dependency ``attribute`` of this process's service."""
    return MountedModel(model_under(attribute), router, EXAMPLE, EXAMPLE_INPUT)


@bentoml.service(**model_configuration("diagnosis"))
class Diagnosis:
    """The BentoML service of diagnosis in Chinese medicine."""

    def __init__(self) -> None:
        self._model = DiagnosisModel()
        self._model.infer([InferenceRequest(input_data=EXAMPLE_INPUT)] * MAX_ITEMS)  # warm up before it is ready
        self._batches = Batcher(self._model.infer, MAX_ITEMS, partial(metrics.batch, "Diagnosis"))

    async def ask(self, requests: list[InferenceRequest]) -> list[InferenceResult]:
        """Return a result for each request, batched with concurrent requests."""
        return await self._batches(requests)

    @bentoml.api(batchable=True, max_batch_size=MAX_ITEMS, max_latency_ms=60_000)  # type: ignore[untyped-decorator]
    def infer(self, requests: list[InferenceRequest]) -> list[InferenceResult]:
        """Diagnose a batch: each item's input_data has "symptoms" or a "text", and may have "patient_info"."""
        return self._model.infer(requests)
