"""The two models of Chinese medicine on real servers: alone, behind the front door, and one's answer to the other."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import bentoml
import httpx
import pytest

from client import AtelierClient
from tests.support.servers import ROOT, Server, serving

pytestmark = [pytest.mark.server, pytest.mark.xdist_group("atelier")]

PATIENT: dict[str, Any] = {
    "symptoms": ["头痛", "乏力", "食欲不振"],
    "patient_info": {"age": 35, "gender": "female", "medical_history": []},
}
PARAMETERS = {"temperature": 0.7, "max_tokens": 1024}
PATHS = {"diagnosis": "/diagnose", "treatment": "/treat"}
FIELDS = {
    "diagnosis": {"syndromes", "elements", "symptoms"},
    "treatment": {"herbs", "herbs_by", "incompatible", "principle", "formulae", "symptoms"},
}
COMMON = {"disclaimer", "language", "model", "confidence", "timestamp"}
DISCLAIMERS = {"zh": "不能替代医师诊断", "en": "no medical advice", "fr": "ni avis médical"}


@pytest.fixture(scope="module")
def diagnosis(store: Path) -> Iterator[Server]:
    """The diagnosis model alone."""
    with serving("runners.tcm.diagnosis:Diagnosis", store) as server:
        yield server


@pytest.fixture(scope="module")
def treatment(store: Path) -> Iterator[Server]:
    """The treatment model alone."""
    with serving("runners.tcm.treatment:Treatment", store) as server:
        yield server


@pytest.fixture(params=PATHS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def path(name: str) -> str:
    return PATHS[name]


@pytest.fixture
def alone(name: str, request: pytest.FixtureRequest) -> Server:
    server: Server = request.getfixturevalue(name)
    return server


def posted(server: Server, path: str, body: Any) -> dict[str, Any]:
    """The answer to a good call."""
    with server.client() as client:
        answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    said: dict[str, Any] = answer.json()
    return said


def without_time(answer: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in answer.items() if key != "timestamp"}


def test_the_documents_patient_is_answered_with_every_field(alone: Server, name: str, path: str) -> None:
    answer = posted(alone, path, {**PATIENT, "parameters": PARAMETERS})
    assert answer.keys() == FIELDS[name] | COMMON | {"ignored_parameters"}
    assert answer["ignored_parameters"] == ["temperature", "max_tokens"]
    assert (answer["language"], answer["model"]) == ("zh", f"tcm-{name}:1.0.0")
    assert 0 <= answer["confidence"] <= 1
    offset = datetime.fromisoformat(answer["timestamp"]).utcoffset()
    assert offset is not None
    assert offset.total_seconds() == 0
    known = answer["symptoms"]["known"]
    assert [symptom["text"] for symptom in known] == PATIENT["symptoms"]


def test_syndromes_stand_in_order_with_what_speaks_for_them(diagnosis: Server) -> None:
    answer = posted(diagnosis, "/diagnose", PATIENT)
    syndromes = answer["syndromes"]
    likely = [syndrome["probability"] for syndrome in syndromes]
    assert len(syndromes) == 5
    assert likely == sorted(likely, reverse=True)
    assert answer["confidence"] == likely[0]
    for syndrome in syndromes:
        assert syndrome.keys() >= {"name", "probability", "elements", "for", "against", "principle"}
        assert 0 <= syndrome["probability"] <= 1
        assert set(syndrome["for"]) | set(syndrome["against"]) <= set(PATIENT["symptoms"])
        assert not set(syndrome["for"]) & set(syndrome["against"])
    for kind in ("locations", "natures"):
        found = [element["probability"] for element in answer["elements"][kind]]
        assert found == sorted(found, reverse=True)


def test_a_man_has_no_womb(diagnosis: Server) -> None:
    def womb(gender: str) -> float:
        body = {
            "symptoms": ["月经不调", "痛经"],
            "patient_info": {"gender": gender},
            "parameters": {"threshold": 0, "lang": "en"},
        }
        found = posted(diagnosis, "/diagnose", body)["elements"]["locations"]
        return next(float(element["probability"]) for element in found if element["name"] == "胞宫")

    assert womb("male") < 0.001 < womb("female")


def test_herbs_stand_in_order_and_formulae_beside_them(treatment: Server) -> None:
    answer = posted(treatment, "/treat", {"symptoms": ["恶寒", "发热", "咳嗽"]})
    scores = [herb["score"] for herb in answer["herbs"]]
    assert len(scores) == len({herb["name"] for herb in answer["herbs"]}) == 10
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
    assert answer["herbs_by"] == "symptoms"
    for formula in answer["formulae"]:
        assert formula.keys() == {"name", "syndrome", "disease", "principle", "herbs", "likeness", "incompatible"}
        assert formula["herbs"]


def test_forbidden_pairs_are_those_of_the_herbs_shown(treatment: Server) -> None:
    answer = posted(treatment, "/treat", {**PATIENT, "parameters": {"top_k": 50}})
    shown = {herb["name"] for herb in answer["herbs"]}
    for pair in answer["incompatible"]:
        assert {pair["first"], pair["second"]} <= shown | {"川乌", "草乌"}
        assert pair["rule"] in {"十八反", "十九畏"}
        assert pair["rule_en"]
        assert pair["rule_fr"]


def test_a_pregnant_patient_is_told_which_herbs_are_unfit(treatment: Server) -> None:
    body: dict[str, Any] = {"symptoms": ["腹痛", "月经不调", "瘀血"], "parameters": {"top_k": 50}}
    pregnant = {**body, "patient_info": {"gender": "女", "medical_history": ["怀孕三个月"]}}
    answer = posted(treatment, "/treat", pregnant)
    unfit = {herb["name"] for herb in answer["herbs"] if "pregnancy" in herb.get("cautions", [])}
    assert set(answer["pregnancy"]) == unfit
    assert "pregnancy" not in posted(treatment, "/treat", body)


@pytest.mark.parametrize(("lang", "symptom"), [("zh", "头痛"), ("en", "headache"), ("fr", "mal de tête")])
def test_the_disclaimer_is_in_the_callers_language(alone: Server, path: str, lang: str, symptom: str) -> None:
    written = posted(alone, path, {"symptoms": [symptom]})
    wanted = posted(alone, path, {"symptoms": ["头痛"], "parameters": {"lang": lang}})
    for answer in (written, wanted):
        assert answer["language"] == lang
        assert DISCLAIMERS[lang] in answer["disclaimer"]


def test_a_symptom_is_known_in_three_languages(alone: Server, path: str) -> None:
    terms = []
    for word in ("头痛", "頭痛", "Headache", "mal de tête"):
        (known,) = posted(alone, path, {"symptoms": [word]})["symptoms"]["known"]
        terms.append(known["terms"])
    assert terms == [["头痛"]] * 4


def test_it_says_the_same_alone_and_behind_the_front_door(alone: Server, atelier: Server, name: str, path: str) -> None:
    body = {**PATIENT, "parameters": {"lang": "fr"}}
    first, second = (without_time(posted(server, path, body)) for server in (alone, atelier))
    assert first.keys() == second.keys()
    assert first.pop("confidence") == pytest.approx(second.pop("confidence"), abs=0.001)
    key = "syndromes" if name == "diagnosis" else "herbs"
    assert [item["name"] for item in first[key]] == [item["name"] for item in second[key]]
    assert (first["disclaimer"], first["model"]) == (second["disclaimer"], second["model"])


MIXED: list[tuple[dict[str, Any], dict[str, Any], int | None]] = [
    (PATIENT, PARAMETERS, None),
    ({"symptoms": "咳嗽，恶寒"}, {}, None),
    ({"text": "headache, poor appetite"}, {"lang": "en"}, None),
    ({}, {}, 400),
    ({"symptoms": 7}, {}, 400),
    ({"symptoms": ["头痛"], "patient_info": {"age": 200}}, {}, 400),
    ({"symptoms": ["头痛"]}, {"top_k": 0}, 400),
    ({"text": "痛" * 20_001}, {}, 413),
    ({"symptoms": ["xyzzy"]}, {}, 422),
    ({"symptoms": ["无头痛"]}, {}, 422),
]


def test_a_mixed_batch_of_32_gives_32_results_in_order(alone: Server, atelier: Server, name: str) -> None:
    items = [MIXED[number % len(MIXED)] for number in range(32)]
    requests = [{"input_data": data, "parameters": parameters} for data, parameters, _ in items]
    for server, model in ((alone, {}), (atelier, {"model": name})):
        with server.client() as client:
            answer = client.post("/infer", json={**model, "requests": requests})
        assert answer.status_code == 200
        results = answer.json()
        assert [result["error"] and result["error"]["status"] for result in results] == [status for *_, status in items]
        assert all((result["output_data"] is None) != (result["error"] is None) for result in results)
        languages = [result["output_data"]["language"] for result in results[:3]]
        assert languages == ["zh", "zh", "en"]


def test_a_batch_beyond_32_is_refused(alone: Server) -> None:
    with alone.client() as client:
        answer = client.post("/infer", json={"requests": [{"input_data": PATIENT}] * 33})
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_INPUT")


def test_the_front_door_wants_to_know_which_model(atelier: Server) -> None:
    item = {"input_data": PATIENT, "parameters": PARAMETERS}
    with atelier.client() as client:
        for model in PATHS:
            (result,) = client.post("/infer", json={"model": model, "requests": [item]}).json()
            assert result["error"] is None
            assert result["output_data"].keys() >= FIELDS[model]
        assert client.post("/infer", json={"requests": [item]}).status_code == 400
        (mistaken,) = client.post("/infer", json={"model": "satellite", "requests": [item]}).json()
        assert mistaken["error"]["status"] == 400


def test_bentomls_client_calls_infer(alone: Server, name: str) -> None:
    requests: list[dict[str, Any]] = [
        {"input_data": PATIENT, "parameters": PARAMETERS},
        {"input_data": {"symptoms": ["xyzzy"]}},
        {"input_data": {"text": "恶寒发热"}},
    ]
    with bentoml.SyncHTTPClient(alone.url) as client:
        results = client.infer(requests=requests)
        client._temp_dir.cleanup()  # its close() forgets it, and the warning would fail another test
    assert [result["error"] is None for result in results] == [True, False, True]
    assert results[0]["output_data"].keys() >= FIELDS[name]


REFUSED: dict[str, tuple[bytes, str, int, str]] = {
    "nothing": (b"", "application/json", 400, "INVALID_INPUT"),
    "half an object": (b'{"symptoms": [', "application/json", 400, "INVALID_INPUT"),
    "no UTF-8": (b'{"symptoms": ["\xff"]}', "application/json", 400, "INVALID_INPUT"),
    "half a surrogate pair": (b'{"symptoms": ["\\ud83d"]}', "application/json", 400, "INVALID_INPUT"),
    "an age of NaN": (b'{"text": "a", "patient_info": {"age": NaN}}', "application/json", 400, "INVALID_INPUT"),
    "an age of 400 digits": (
        b'{"text": "a", "patient_info": {"age": 1%s}}' % (b"0" * 399), "application/json", 400, "INVALID_INPUT",
    ),
    "a list": (b"[]", "application/json", 400, "INVALID_INPUT"),
    "null": (b"null", "application/json", 400, "INVALID_INPUT"),
    "no symptoms": (b"{}", "application/json", 400, "INVALID_INPUT"),
    "parameters of text": (b'{"text": "a", "parameters": "b"}', "application/json", 400, "INVALID_INPUT"),
    "parameters of null": (b'{"text": "a", "parameters": null}', "application/json", 400, "INVALID_INPUT"),
    "an unknown parameter": (b'{"text": "a", "parameters": {"top_p": 1}}', "application/json", 400, "INVALID_INPUT"),
    "a parameter in the wrong place": (b'{"text": "a", "top_k": 1}', "application/json", 400, "INVALID_INPUT"),
    "a picture": (b'{"text": "a", "image": "AAAA"}', "application/json", 400, "INVALID_INPUT"),
    "a long text": (b'{"text": "%s"}' % (b"a" * 20_001), "application/json", 413, "PAYLOAD_TOO_LARGE"),
    "a body of 25 MiB": (b" " * (25 * 1024 * 1024), "application/json", 413, "PAYLOAD_TOO_LARGE"),
    "a form": (b"text=a", "application/x-www-form-urlencoded", 415, "UNSUPPORTED_MEDIA_TYPE"),
    "plain text": ("头痛".encode(), "text/plain", 415, "UNSUPPORTED_MEDIA_TYPE"),
    "pickle": (b"cos\nsystem\n(S'true'\ntR.", "application/vnd.bentoml+pickle", 415, "UNSUPPORTED_MEDIA_TYPE"),
    "an unknown symptom": (b'{"symptoms": ["xyzzy"]}', "application/json", 422, "UNKNOWN_SYMPTOMS"),
    "a denied symptom": ('{"symptoms": ["无头痛"]}'.encode(), "application/json", 422, "UNKNOWN_SYMPTOMS"),
}  # fmt: skip


@pytest.mark.parametrize("refused", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_answered_is_refused_with_its_reason(
    alone: Server, path: str, refused: tuple[bytes, str, int, str]
) -> None:
    body, kind, status, code = refused
    with alone.client() as client:
        answer = client.post(path, content=body, headers={"content-type": kind})
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json().keys() == {"error", "code"}
    assert answer.json()["error"]
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]


def test_the_front_door_refuses_in_the_same_words(alone: Server, atelier: Server, path: str) -> None:
    for body, kind, status, _ in REFUSED.values():
        if len(body) < 1_000_000:
            answers = []
            for server in (alone, atelier):
                with server.client() as client:
                    answers.append(client.post(path, content=body, headers={"content-type": kind}))
            assert [answer.status_code for answer in answers] == [status, status]
            assert answers[0].json() == answers[1].json()


def test_other_paths_and_methods_are_json(alone: Server, path: str) -> None:
    with alone.client() as client:
        wrong = client.get(path)
        assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
        assert wrong.json()["code"] == "METHOD_NOT_ALLOWED"
        for other in ("/classify", "/checked/infer", f"{path}/", "/diagnoses"):
            answer = client.post(other, json=PATIENT)
            assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND"), other


def test_health_says_that_the_model_is_loaded(alone: Server, atelier: Server, name: str) -> None:
    with alone.client() as client:
        body = client.get("/health").json()
    assert (body["status"], body["model_loaded"]) == ("healthy", True)
    with atelier.client() as client:
        models = client.get("/health").json()["models"]
    assert models[name] is True
    assert models.keys() == {"satellite", "embedding", "summarization", "diagnosis", "treatment"}


def test_the_documentation_describes_the_routes(alone: Server, atelier: Server, path: str) -> None:
    with alone.client() as client:
        assert "/openapi.json" in client.get("/docs").text
        assert client.get("/openapi.json").json()["paths"].keys() == {path, "/infer", "/health"}
    with atelier.client() as client:
        assert client.get("/openapi.json").json()["paths"].keys() >= set(PATHS.values())


def test_the_documented_examples_can_be_sent_as_they_stand(alone: Server, path: str) -> None:
    with alone.client() as client:
        paths = client.get("/openapi.json").json()["paths"]
        for route in (path, "/infer"):
            call = paths[route]["post"]
            content = call["requestBody"]["content"]["application/json"]
            named = [example["value"] for example in content.get("examples", {}).values()]
            documented = call["responses"]["200"]["content"]["application/json"]["example"]
            for example in named or [content["example"]]:
                answer = client.post(route, json=example)
                assert answer.status_code == 200
                if route == path:
                    assert documented.keys() == answer.json().keys()
                    assert all(type(answer.json()[key]) is type(documented[key]) for key in documented)
                else:
                    assert documented[0].keys() <= answer.json()[0].keys()  # an example shows no null


def test_the_documented_422_is_the_one_that_is_answered(alone: Server, path: str) -> None:
    with alone.client() as client:
        documented = client.get("/openapi.json").json()["paths"][path]["post"]["responses"]["422"]
        answered = client.post(path, json={"symptoms": ["xyzzy"]}).json()
    assert documented["content"]["application/json"]["example"]["code"] == answered["code"]


def test_a_whole_diagnosis_can_be_treated(diagnosis: Server, treatment: Server, atelier: Server) -> None:
    for doctor, pharmacist in ((diagnosis, treatment), (atelier, atelier)):
        found = posted(doctor, "/diagnose", {**PATIENT, "parameters": PARAMETERS})
        both = posted(pharmacist, "/treat", {**PATIENT, "diagnosis": found})
        assert both["herbs_by"] == "symptoms"
        certain = posted(doctor, "/diagnose", {**PATIENT, "candidates": ["脾气虚"]})
        treated = posted(pharmacist, "/treat", {"diagnosis": certain})
        named = posted(pharmacist, "/treat", {"diagnosis": "脾气虚"})
        assert treated["herbs_by"] == named["herbs_by"] == "formulae"
        assert treated["formulae"] == named["formulae"]
        assert treated["herbs"] == named["herbs"]
        assert treated["principle"] == named["principle"] == certain["syndromes"][0]["principle"]
        assert treated["symptoms"] == {"known": [], "unknown": [], "denied": []}


def test_the_diagnosis_chooses_the_formulae_and_the_symptoms_the_herbs(treatment: Server) -> None:
    plain = posted(treatment, "/treat", PATIENT)
    told = posted(treatment, "/treat", {**PATIENT, "diagnosis": ["肾阳虚"]})
    named = posted(treatment, "/treat", {"diagnosis": ["肾阳虚"], "patient_info": PATIENT["patient_info"]})
    assert told["herbs"] == plain["herbs"]
    assert told["formulae"] == named["formulae"] != plain["formulae"]


def test_200_parallel_requests_get_200_answers(atelier: Server) -> None:
    async def all_at_once() -> Counter[tuple[int, str]]:
        limits = httpx.Limits(max_connections=200)
        async with httpx.AsyncClient(base_url=atelier.url, limits=limits, timeout=120, trust_env=False) as client:

            async def one(number: int) -> tuple[int, str]:
                symptom = ("头痛", "headache")[number // 2 % 2]
                answer = await client.post(("/diagnose", "/treat")[number % 2], json={"symptoms": [symptom]})
                return answer.status_code, answer.json()["symptoms"]["known"][0]["text"]

            return Counter(await asyncio.gather(*map(one, range(200))))

    assert asyncio.run(all_at_once()) == {(200, "头痛"): 100, (200, "headache"): 100}


def test_no_error_leaves_a_traceback_in_the_log(alone: Server, atelier: Server, path: str) -> None:
    for server in (alone, atelier):
        with server.client() as client:
            for body in (b"", b"{", b"\0", b'{"symptoms": [[]]}', b'{"symptoms": {"a": 1e308}}'):
                assert client.post(path, content=body, headers={"content-type": "application/json"}).status_code == 400
        assert "Traceback" not in server.log.read_text()


def test_the_models_run_without_torch(store: Path) -> None:
    check = (
        "import json, sys\n"
        "from runners.contract import InferenceRequest\n"
        "from runners.tcm.diagnosis import DiagnosisModel\n"
        "from runners.tcm.treatment import TreatmentModel\n"
        "item = InferenceRequest(input_data={'symptoms': ['头痛', '乏力']})\n"
        "good = [model.infer([item])[0].error is None for model in (DiagnosisModel(), TreatmentModel())]\n"
        "heavy = sorted({'torch', 'torchvision', 'PIL', 'transformers'} & sys.modules.keys())\n"
        "print(json.dumps([good, heavy]))\n"
    )
    environment = {**os.environ, "BENTOML_HOME": str(store)}
    done = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=True, cwd=ROOT, env=environment
    )
    assert json.loads(done.stdout.splitlines()[-1]) == [[True, True], []]


def test_the_client_asks_for_diagnoses_and_treatments(atelier: Server) -> None:
    with AtelierClient(atelier.url) as client:
        diagnosed = client.diagnose(
            ["headache", "fatigue"], patient={"age": 35, "gender": "female"}, top_k=2, lang="en"
        )
        treated = client.treat("恶寒，发热，咳嗽")
    assert (len(diagnosed["syndromes"]), diagnosed["language"]) == (2, "en")
    assert treated["herbs"]
    assert treated["language"] == "zh"
