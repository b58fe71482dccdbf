"""Treatment of Chinese medicine: symptoms or a diagnosis to herbs, formulae and a principle. ONNX Runtime, no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import bentoml
from fastapi import APIRouter

from runners.artifacts.store import DIAGNOSIS, TREATMENT
from runners.contract import MAX_ITEMS, InferenceRequest, InferenceResult, ItemError, ModelProxy, answer_each
from runners.download.client import Downloader
from runners.errors import InvalidInput, RunnerError, UnknownSymptoms
from runners.http.item_route import item_router
from runners.serving import metrics
from runners.serving.batching import Batcher
from runners.serving.mounted import MountedModel
from runners.serving.proxies import model_under
from runners.serving.service import model_configuration
from runners.tcm.answers import ending, nothing_known, rounded
from runners.tcm.requests import (
    MAX_NAME,
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

if TYPE_CHECKING:
    from runners.models.tcm import treatment
    from runners.models.tcm.treatment import Formula, MatchedSymptom

FIELDS: Final = frozenset({"symptoms", "text", "patient_info", "diagnosis"})
TOP: Final = 10
LIKELY: Final = 5
"""Herbs whose mean score is the confidence: the share of them that a prescription is expected to have."""
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
    """One item, checked."""

    sick: treatment.TreatedPatient
    pregnant: bool
    options: PatientOptions


class TreatmentModel:
    """The treatment model of the store: a batch of requests in, herbs and formulae out."""

    def __init__(self) -> None:
        from runners.artifacts import store
        from runners.models.tcm.treatment import Prescriber

        self._prescribe = Prescriber(store.path(TREATMENT), store.path(DIAGNOSIS))

    def infer(self, requests: list[InferenceRequest]) -> list[InferenceResult]:
        """Answers in the order of the requests; a request that cannot be answered gets an error."""
        return answer_each([_prepared(request) for request in requests], self._answers)

    def _answers(self, asked: list[TreatmentTask]) -> list[InferenceResult]:
        treatments = self._prescribe([one.sick for one in asked])
        return [_answer(*each) for each in zip(asked, treatments, strict=True)]


def _answer(asked: TreatmentTask, found: treatment.Treated) -> InferenceResult:
    from runners.models.tcm.phrases import Phrase

    if not found.herbs and not (asked.sick.syndromes and found.principle):
        syndromes = [Phrase(name) for name, _ in asked.sick.syndromes]
        phrases = [*(one.phrase for one in found.used), *syndromes]
        return InferenceResult(error=ItemError.of(nothing_known(_said(asked.sick), phrases)))
    threshold = asked.options.threshold or 0.0
    herbs = [one for one in found.herbs[: asked.options.top_k] if one[1] >= threshold]
    output = {
        "herbs": [_herb(name, score) for name, score in herbs],
        "herbs_by": found.by,
        "incompatible": _incompatible([name for name, _ in herbs]),
        **({"pregnancy": _unfit([name for name, _ in herbs])} if asked.pregnant else {}),
        "principle": found.principle,
        "formulae": [_formula(one, likeness, pregnant=asked.pregnant) for one, likeness in found.formulae],
        "symptoms": _symptoms(found.used),
        **ending(asked.options, TREATMENT),
    }
    likeliest = [score for _, score in found.herbs[:LIKELY]]
    # Shares of formulae say nothing of how often a prescription has a herb.
    confidence = rounded(sum(likeliest) / LIKELY) if found.by == "symptoms" else None
    return InferenceResult(output_data=output, confidence=confidence)


def _said(sick: treatment.TreatedPatient) -> tuple[str, ...]:
    return (*sick.texts, *(name for name, _ in sick.syndromes))


def _prepared(request: InferenceRequest) -> TreatmentTask | RunnerError:
    from runners.models.tcm.treatment import TreatedPatient

    try:
        data = request.input_data
        check_fields(data, FIELDS, "input_data")
        texts, info = texts_of(data), patient_of(data.get("patient_info"))
        sick = TreatedPatient(texts, syndromes_of(data.get("diagnosis")), info.gender)
        pregnant = tells_pregnancy((*info.history, *texts))
        return TreatmentTask(sick, pregnant, options_of(request.parameters, _said(sick), TOP))
    except RunnerError as error:
        return error


def syndromes_of(value: object) -> tuple[tuple[str, float], ...]:
    """A diagnosis: a syndrome's name, a list of names, or what the diagnosis model answered. Raises InvalidInput."""
    if value is None:
        return ()
    if isinstance(value, dict):
        return _ranked(value.get("syndromes"))
    return tuple((name, 1.0) for name in names_of([value] if isinstance(value, str) else value, "diagnosis"))


def _ranked(value: object) -> tuple[tuple[str, float], ...]:
    if not isinstance(value, list) or not value or len(value) > MAX_NAMES:
        raise InvalidInput("diagnosis must be a name, a list of names, or have a list of syndromes")
    # The last of a long answer of the diagnosis model are so unlikely that they are told as 0.
    return tuple(one for one in map(_one_ranked, value) if one[1] > 0)


def _one_ranked(one: object) -> tuple[str, float]:
    name, likely = (one.get("name"), one.get("probability", 1.0)) if isinstance(one, dict) else (None, None)
    if not isinstance(name, str) or not 0 < len(name.strip()) <= MAX_NAME:
        raise InvalidInput(f"each of the diagnosis's syndromes has a name of up to {MAX_NAME} characters")
    if not is_number(likely) or not 0 <= likely <= 1:
        raise InvalidInput("a syndrome's probability must be a number from 0 to 1")
    return name.strip(), float(likely)


def _herb(name: str, score: float) -> dict[str, Any]:
    from runners.models.tcm import materia

    known = materia.herb_of(name)
    if known is None:
        return {"name": name, "score": rounded(score)}
    said = {"pinyin": known.pinyin, "latin": known.latin, "cautions": list(known.cautions)}
    return {
        **known.names.as_dict(),
        **{key: value for key, value in said.items() if value},
        "score": rounded(score),
    }


def _formula(one: Formula, likeness: float, *, pregnant: bool) -> dict[str, Any]:
    return {
        "name": one.name,
        "syndrome": one.syndrome,
        "disease": one.disease,
        "principle": one.principle,
        "herbs": list(one.herbs),
        "likeness": rounded(likeness),
        "incompatible": _incompatible(one.herbs),
        **({"pregnancy": _unfit(one.herbs)} if pregnant else {}),
    }


def _incompatible(names: Sequence[str]) -> list[dict[str, str]]:
    """The pairs that tradition forbids among these drugs."""
    from runners.models.tcm import materia

    return [
        {
            "first": pair.first,
            "second": pair.second,
            "rule": pair.rule,
            "rule_en": pair.said.en,
            "rule_fr": pair.said.fr,
        }
        for pair in materia.incompatible(names)
    ]


def _unfit(names: Sequence[str]) -> list[str]:
    """Which of these drugs a pregnant patient must not have, or only with care."""
    from runners.models.tcm import materia

    known = [materia.herb_of(name) for name in names]
    return [herb.names.zh for herb in known if herb and "pregnancy" in herb.cautions]


def _symptoms(used: tuple[MatchedSymptom, ...]) -> dict[str, Any]:
    """Which symptoms the herbs follow from; every other one is named."""
    present = [one for one in used if not one.phrase.denied]
    return {
        "known": [{"text": one.phrase.text, "terms": list(one.symptoms)} for one in present if one.symptoms],
        "unknown": [one.phrase.text for one in present if not one.symptoms],
        "denied": [one.phrase.text for one in used if one.phrase.denied],
    }


def router(model: ModelProxy, _: Downloader) -> APIRouter:
    """The route over a treatment model, wherever it runs."""
    return item_router(
        model, "/treat", "Symptoms or a diagnosis to herbs and formulae", EXAMPLES, EXAMPLE, UnknownSymptoms
    )


def mounted(attribute: str | None = None) -> MountedModel:
    """The model of this process, or the one that this process's service depends on under ``attribute``."""
    return MountedModel(model_under(attribute), router, EXAMPLE, EXAMPLE_INPUT)


@bentoml.service(**model_configuration("treatment"))
class Treatment:
    """Treatment of Chinese medicine on its own."""

    def __init__(self) -> None:
        self._model = TreatmentModel()
        self._model.infer([InferenceRequest(input_data=EXAMPLE_INPUT)] * MAX_ITEMS)  # warm before ready
        self._batches = Batcher(self._model.infer, MAX_ITEMS, partial(metrics.batch, "Treatment"))

    async def ask(self, requests: list[InferenceRequest]) -> list[InferenceResult]:
        """Answers in batches with what others ask at the same time."""
        return await self._batches(requests)

    @bentoml.api(batchable=True, max_batch_size=MAX_ITEMS, max_latency_ms=60_000)  # type: ignore[untyped-decorator]
    def infer(self, requests: list[InferenceRequest]) -> list[InferenceResult]:
        """Answers a batch: each item's input_data has "symptoms", a "text" or a "diagnosis"."""
        return self._model.infer(requests)
