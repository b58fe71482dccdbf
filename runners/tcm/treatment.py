"""Treatment in Chinese medicine: symptoms or a diagnosis to herbs, formulae and a principle, with ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import bentoml
from fastapi import APIRouter

from runners.artifacts.store import DIAGNOSIS, TREATMENT
from runners.contract import MAX_ITEMS, InferenceRequest, InferenceResult, ItemError, ModelProxy, answer_each
from runners.errors import InvalidInput, RunnerError, UnknownSymptoms
from runners.http.item_route import item_router
from runners.serving import metrics
from runners.serving.batching import Batcher
from runners.serving.mounted import MountedModel
from runners.serving.proxies import model_under
from runners.serving.service import model_configuration
from runners.tcm.answers import ending, nothing_known, rounded
from runners.tcm.requests import (
    MAX_NAME_CHARACTERS,
    MAX_NAMES,
    PatientOptions,
    check_fields,
    is_number,
    names_of,
    options_of,
    patient_of,
    tells_pregnancy,
    texts_of,
)
from web.download.client import Downloader

if TYPE_CHECKING:
    from runners.models.tcm import treatment
    from runners.models.tcm.treatment import Formula, MatchedSymptom

FIELDS: Final = frozenset({"symptoms", "text", "patient_info", "diagnosis"})
DEFAULT_TOP_K: Final = 10
"""Herbs of a response without ``top_k``."""
CONFIDENCE_HERBS: Final = 5
"""Number of top herbs whose mean score is the confidence: the share of them expected in a prescription."""
EXAMPLE_INPUT: Final = {"symptoms": ["恶寒", "发热", "咳嗽"], "patient_info": {"age": 35, "gender": "female"}}
EXAMPLES: Final = {
    "Chinese": EXAMPLE_INPUT,
    "English": {
        "symptoms": ["chills", "fever", "cough"],
        "patient_info": {"age": 35, "gender": "female"},
        "parameters": {"lang": "en"},
    },
}
EXAMPLE: Final = {
    "herbs": [
        {
            "name": "甘草",
            "name_en": "licorice root",
            "name_fr": "réglisse",
            "pinyin": "gān cǎo",
            "latin": "Glycyrrhizae Radix et Rhizoma",
            "score": 0.55,
        }
    ],
    "herbs_by": "symptoms",
    "incompatible": [],
    "principle": "疏风解表",
    "formulae": [
        {
            "name": "葱豉汤",
            "syndrome": "风寒",
            "disease": "感冒",
            "principle": "辛温解表",
            "herbs": ["葱白", "豆豉"],
            "likeness": 0.67,
            "incompatible": [],
        }
    ],
    "symptoms": {"known": [{"text": "恶寒", "terms": ["恶寒"]}], "unknown": [], "denied": []},
    "disclaimer": "仅供辅助决策参考，不能替代医师诊断，不构成医疗建议。",
    "language": "zh",
    "model": TREATMENT,
}


@dataclass(frozen=True)
class TreatmentTask:
    """One checked item: a patient, whether she is pregnant, and the options of the response."""

    patient: treatment.TreatedPatient
    pregnant: bool
    options: PatientOptions


class TreatmentModel:
    """The treatment model of the store: a batch of requests in, herbs and formulae out."""

    def __init__(self) -> None:
        from runners.artifacts import store
        from runners.models.tcm.treatment import Prescriber

        self._prescribe = Prescriber(store.path(TREATMENT), store.path(DIAGNOSIS))

    def infer(self, requests: list[InferenceRequest]) -> list[InferenceResult]:
        """Return results in the order of the requests; a request without a treatment gets an error."""
        return answer_each([_prepared(request) for request in requests], self._answers)

    def _answers(self, tasks: list[TreatmentTask]) -> list[InferenceResult]:
        treatments = self._prescribe([task.patient for task in tasks])
        return [_answer(task, treated) for task, treated in zip(tasks, treatments, strict=True)]


def _answer(task: TreatmentTask, treated: treatment.Treated) -> InferenceResult:
    from runners.models.tcm.phrases import Phrase

    if not treated.herbs and not (task.patient.syndromes and treated.principle):
        syndromes = [Phrase(name) for name, _ in task.patient.syndromes]
        phrases = [*(symptom.phrase for symptom in treated.used), *syndromes]
        return InferenceResult(error=ItemError.of(nothing_known(_texts(task.patient), phrases)))
    threshold = task.options.threshold or 0.0
    herbs = [(name, score) for name, score in treated.herbs[: task.options.top_k] if score >= threshold]
    output = {
        "herbs": [_herb(name, score) for name, score in herbs],
        "herbs_by": treated.by,
        "incompatible": _incompatible([name for name, _ in herbs]),
        **({"pregnancy": _unfit([name for name, _ in herbs])} if task.pregnant else {}),
        "principle": treated.principle,
        "formulae": [_formula(formula, likeness, pregnant=task.pregnant) for formula, likeness in treated.formulae],
        "symptoms": _symptoms(treated.used),
        **ending(task.options, TREATMENT),
    }
    likeliest = [score for _, score in treated.herbs[:CONFIDENCE_HERBS]]
    # Scores by formulae are no estimate of how often a prescription contains a herb.
    confidence = rounded(sum(likeliest) / CONFIDENCE_HERBS) if treated.by == "symptoms" else None
    return InferenceResult(output_data=output, confidence=confidence)


def _texts(patient: treatment.TreatedPatient) -> tuple[str, ...]:
    return (*patient.texts, *(name for name, _ in patient.syndromes))


def _prepared(request: InferenceRequest) -> TreatmentTask | RunnerError:
    from runners.models.tcm.treatment import TreatedPatient

    try:
        data = request.input_data
        check_fields(data, FIELDS, "input_data")
        texts, info = texts_of(data), patient_of(data.get("patient_info"))
        patient = TreatedPatient(texts, syndromes_of(data.get("diagnosis")), info.gender)
        pregnant = tells_pregnancy((*info.history, *texts))
        return TreatmentTask(patient, pregnant, options_of(request.parameters, _texts(patient), DEFAULT_TOP_K))
    except RunnerError as error:
        return error


def syndromes_of(value: object) -> tuple[tuple[str, float], ...]:
    """Read a diagnosis: a syndrome's name, a list of names, or the diagnosis model's output. Raises InvalidInput."""
    if value is None:
        return ()
    if isinstance(value, dict):
        return _ranked(value.get("syndromes"))
    return tuple((name, 1.0) for name in names_of([value] if isinstance(value, str) else value, "diagnosis"))


def _ranked(value: object) -> tuple[tuple[str, float], ...]:
    if not isinstance(value, list) or not value or len(value) > MAX_NAMES:
        raise InvalidInput("diagnosis must be a name, a list of names, or have a list of syndromes")
    # The diagnosis model rounds the least likely syndromes to a probability of 0.
    return tuple((name, probability) for name, probability in map(_ranked_syndrome, value) if probability > 0)


def _ranked_syndrome(item: object) -> tuple[str, float]:
    name, probability = (item.get("name"), item.get("probability", 1.0)) if isinstance(item, dict) else (None, None)
    if not isinstance(name, str) or not 0 < len(name.strip()) <= MAX_NAME_CHARACTERS:
        raise InvalidInput(f"each of the diagnosis's syndromes has a name of up to {MAX_NAME_CHARACTERS} characters")
    if not is_number(probability) or not 0 <= probability <= 1:
        raise InvalidInput("a syndrome's probability must be a number from 0 to 1")
    return name.strip(), float(probability)


def _herb(name: str, score: float) -> dict[str, Any]:
    from runners.models.tcm import materia

    herb = materia.herb_of(name)
    if herb is None:
        return {"name": name, "score": rounded(score)}
    optional = {"pinyin": herb.pinyin, "latin": herb.latin, "cautions": list(herb.cautions)}
    return {
        **herb.names.as_dict(),
        **{key: value for key, value in optional.items() if value},
        "score": rounded(score),
    }


def _formula(formula: Formula, likeness: float, *, pregnant: bool) -> dict[str, Any]:
    return {
        "name": formula.name,
        "syndrome": formula.syndrome,
        "disease": formula.disease,
        "principle": formula.principle,
        "herbs": list(formula.herbs),
        "likeness": rounded(likeness),
        "incompatible": _incompatible(formula.herbs),
        **({"pregnancy": _unfit(formula.herbs)} if pregnant else {}),
    }


def _incompatible(names: Sequence[str]) -> list[dict[str, str]]:
    """Return the pairs among these drugs that tradition forbids."""
    from runners.models.tcm import materia

    return [
        {
            "first": pair.first,
            "second": pair.second,
            "rule": pair.rule,
            "rule_en": pair.translations.en,
            "rule_fr": pair.translations.fr,
        }
        for pair in materia.incompatible(names)
    ]


def _unfit(names: Sequence[str]) -> list[str]:
    """Return the drugs that a pregnant patient must avoid or take only with care."""
    from runners.models.tcm import materia

    herbs = [materia.herb_of(name) for name in names]
    return [herb.names.zh for herb in herbs if herb and "pregnancy" in herb.cautions]


def _symptoms(used: tuple[MatchedSymptom, ...]) -> dict[str, Any]:
    """Group the symptoms: those that the herbs are based on, the unknown ones, and the denied ones."""
    present = [symptom for symptom in used if not symptom.phrase.denied]
    return {
        "known": [
            {"text": symptom.phrase.text, "terms": list(symptom.symptoms)} for symptom in present if symptom.symptoms
        ],
        "unknown": [symptom.phrase.text for symptom in present if not symptom.symptoms],
        "denied": [symptom.phrase.text for symptom in used if symptom.phrase.denied],
    }


def router(model: ModelProxy, _: Downloader) -> APIRouter:
    """Return the route of a treatment model in any process."""
    return item_router(
        model, "/treat", "Symptoms or a diagnosis to herbs and formulae", EXAMPLES, EXAMPLE, UnknownSymptoms
    )


def mounted(attribute: str | None = None) -> MountedModel:
    """Return the model of this process, or of the dependency ``attribute`` of this process's service."""
    return MountedModel(model_under(attribute), router, EXAMPLE, EXAMPLE_INPUT)


@bentoml.service(**model_configuration("treatment"))
class Treatment:
    """The BentoML service of treatment in Chinese medicine."""

    def __init__(self) -> None:
        self._model = TreatmentModel()
        self._model.infer([InferenceRequest(input_data=EXAMPLE_INPUT)] * MAX_ITEMS)  # warm up before it is ready
        self._batches = Batcher(self._model.infer, MAX_ITEMS, partial(metrics.batch, "Treatment"))

    async def ask(self, requests: list[InferenceRequest]) -> list[InferenceResult]:
        """Return a result for each request, batched with concurrent requests."""
        return await self._batches(requests)

    @bentoml.api(batchable=True, max_batch_size=MAX_ITEMS, max_latency_ms=60_000)  # type: ignore[untyped-decorator]
    def infer(self, requests: list[InferenceRequest]) -> list[InferenceResult]:
        """Treat a batch: each item's input_data has "symptoms", a "text" or a "diagnosis"."""
        return self._model.infer(requests)
