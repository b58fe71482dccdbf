"""Diagnosis of Chinese medicine: symptoms to syndrome elements and ranked syndromes. ONNX Runtime, no torch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import bentoml
from fastapi import APIRouter

from runners.artifacts.store import DIAGNOSIS
from runners.contract import MAX_ITEMS, InferenceRequest, InferenceResult, ItemError, ModelProxy, answer_each
from runners.download.client import Downloader
from runners.errors import RunnerError, UnknownSymptoms
from runners.http.item_route import item_router
from runners.serving import metrics
from runners.serving.batching import Batcher
from runners.serving.mounted import MountedModel
from runners.serving.proxies import model_under
from runners.serving.service import model_configuration
from runners.tcm.answers import ending, nothing_known, rounded
from runners.tcm.requests import PatientOptions, check_fields, names_of, options_of, patient_of, texts_of

if TYPE_CHECKING:
    from runners.models.tcm import diagnosis
    from runners.models.tcm.diagnosis import Ranked, ReadPhrase
    from runners.models.tcm.phrases import Phrase

FIELDS: Final = frozenset({"symptoms", "text", "patient_info", "candidates"})
TOP: Final = 5
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
    """One item, checked."""

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
        """Answers in the order of the requests; a request that cannot be judged gets an error."""
        return answer_each([_prepared(request) for request in requests], self._answers)

    def _answers(self, asked: list[DiagnosisTask]) -> list[InferenceResult]:
        diagnoses = self._diagnose([one.patient for one in asked])
        return [self._answer(*each) for each in zip(asked, diagnoses, strict=True)]

    def _answer(self, asked: DiagnosisTask, found: diagnosis.Diagnosed) -> InferenceResult:
        if not found.known:
            return InferenceResult(error=ItemError.of(nothing_known(asked.patient.texts, _phrases(found))))
        threshold = self._threshold if asked.options.threshold is None else asked.options.threshold
        output = {
            "syndromes": [_syndrome(one) for one in found.syndromes[: asked.options.top_k]],
            "elements": {
                f"{kind}s": [
                    {**element.names.as_dict(), "probability": rounded(probability)}
                    for element, probability in found.elements
                    if element.kind == kind and probability >= threshold
                ]
                for kind in ("location", "nature")
            },
            "symptoms": _symptoms(found.readings),
            **ending(asked.options, DIAGNOSIS),
        }
        return InferenceResult(output_data=output, confidence=rounded(found.syndromes[0].probability))


def _phrases(found: diagnosis.Diagnosed) -> list[Phrase]:
    return [one.phrase for one in found.readings]


def _prepared(request: InferenceRequest) -> DiagnosisTask | RunnerError:
    from runners.models.tcm.diagnosis import Patient

    try:
        data = request.input_data
        check_fields(data, FIELDS, "input_data")
        texts = texts_of(data)
        candidates = names_of(data["candidates"], "candidates") if "candidates" in data else ()
        info = patient_of(data.get("patient_info"))
        return DiagnosisTask(Patient(texts, info.gender, candidates), options_of(request.parameters, texts, TOP))
    except RunnerError as error:
        return error


def _syndrome(one: Ranked) -> dict[str, Any]:
    return {
        **(one.entry.names.as_dict() if one.entry else {}),
        "name": one.name,
        "probability": rounded(one.probability),
        "elements": [element.names.zh for element in one.elements],
        "for": list(one.speaks_for),
        "against": list(one.speaks_against),
        **({"principle": one.entry.principle} if one.entry else {}),
    }


def _symptoms(readings: tuple[ReadPhrase, ...]) -> dict[str, Any]:
    """How each phrase was read: by known terms, by its characters alone, or not at all."""
    present = [one for one in readings if not one.phrase.denied]
    return {
        "known": [
            {"text": one.phrase.text, "terms": [term.names.zh for term in one.terms]} for one in present if one.terms
        ],
        "guessed": [one.phrase.text for one in present if one.known and not one.terms],
        "unknown": [one.phrase.text for one in present if not one.known],
        "denied": [one.phrase.text for one in readings if one.phrase.denied],
    }


def router(model: ModelProxy, _: Downloader) -> APIRouter:
    """The route over a diagnosis model, wherever it runs."""
    return item_router(model, "/diagnose", "Symptoms to syndromes, ranked", EXAMPLES, EXAMPLE, UnknownSymptoms)


def mounted(attribute: str | None = None) -> MountedModel:
    """The model of this process, or the one that this process's service depends on under ``attribute``."""
    return MountedModel(model_under(attribute), router, EXAMPLE, EXAMPLE_INPUT)


@bentoml.service(**model_configuration("diagnosis"))
class Diagnosis:
    """Diagnosis of Chinese medicine on its own."""

    def __init__(self) -> None:
        self._model = DiagnosisModel()
        self._model.infer([InferenceRequest(input_data=EXAMPLE_INPUT)] * MAX_ITEMS)  # warm before ready
        self._batches = Batcher(self._model.infer, MAX_ITEMS, partial(metrics.batch, "Diagnosis"))

    async def ask(self, requests: list[InferenceRequest]) -> list[InferenceResult]:
        """Answers in batches with what others ask at the same time."""
        return await self._batches(requests)

    @bentoml.api(batchable=True, max_batch_size=MAX_ITEMS, max_latency_ms=60_000)  # type: ignore[untyped-decorator]
    def infer(self, requests: list[InferenceRequest]) -> list[InferenceResult]:
        """Judges a batch: each item's input_data has "symptoms" or a "text", and may have "patient_info"."""
        return self._model.infer(requests)
