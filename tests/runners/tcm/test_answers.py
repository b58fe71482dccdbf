"""What the two models of Chinese medicine answer to a request: to each field, then to whatever JSON can hold."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runners.contract import InferenceRequest, InferenceResult
from runners.tcm.diagnosis import DiagnosisModel
from runners.tcm.treatment import TreatmentModel
from tests.support.running import cpu_time
from web.json import strict_json

MODELS: dict[str, Any] = {"diagnosis": cache(DiagnosisModel), "treatment": cache(TreatmentModel)}


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest, store: Path) -> Any:
    return MODELS[request.param]()


def answer(model: Any, input_data: dict[str, Any], **parameters: Any) -> InferenceResult:
    """The one result for one item."""
    results: list[InferenceResult] = model.infer([InferenceRequest(input_data=input_data, parameters=parameters)])
    (result,) = results
    return result


def output(model: Any, input_data: dict[str, Any], **parameters: Any) -> dict[str, Any]:
    """What is answered to one item, which must be a good one."""
    result = answer(model, input_data, **parameters)
    assert result.error is None
    assert result.output_data is not None
    return result.output_data


LANGUAGES: dict[str, tuple[list[str], str]] = {
    "Chinese": (["头痛", "乏力"], "zh"),
    "traditional characters": (["頭痛"], "zh"),
    "Chinese among English": (["fatigue", "头痛"], "zh"),
    "English": (["headache", "poor appetite"], "en"),
    "French by its accents": (["céphalée", "fatigue"], "fr"),
    "French by its accents in capitals": (["FIÈVRE"], "fr"),
    "French by its words": (["mal de gorge", "toux"], "fr"),
    "French by one word": (["toux"], "fr"),
    "French by a word among others": (["toux", "fatigue"], "fr"),
    "English with a French word inside another": (["delayed menstruation", "headache"], "en"),
}


@pytest.mark.parametrize(("symptoms", "language"), LANGUAGES.values(), ids=LANGUAGES)
def test_the_answer_is_in_the_language_that_was_written(model: Any, symptoms: list[str], language: str) -> None:
    assert output(model, {"symptoms": symptoms})["language"] == language


def test_the_wanted_language_comes_before_the_written_one(model: Any) -> None:
    said = {lang: output(model, {"symptoms": ["头痛"]}, lang=lang) for lang in ("zh", "en", "fr")}
    assert {lang: answer["language"] for lang, answer in said.items()} == {"zh": "zh", "en": "en", "fr": "fr"}
    assert len({answer["disclaimer"] for answer in said.values()}) == 3


def test_what_is_ignored_is_named_and_changes_nothing(model: Any) -> None:
    item = {"symptoms": ["头痛", "乏力"]}
    plain = output(model, item)
    told = output(model, item, temperature=1.9, max_tokens=3)
    assert told.pop("ignored_parameters") == ["temperature", "max_tokens"]
    assert told == plain


@pytest.mark.parametrize(
    "given", [{"symptoms": ["头痛", "乏力"]}, {"symptoms": "头痛，乏力"}, {"text": "头痛，乏力。"}]
)
def test_a_list_and_a_text_are_answered_alike(model: Any, given: dict[str, Any]) -> None:
    assert output(model, given) == output(model, {"symptoms": ["头痛", "乏力"]})


def test_as_many_are_named_as_are_wanted() -> None:
    diagnosis, treatment = MODELS["diagnosis"](), MODELS["treatment"]()
    item = {"symptoms": ["头痛", "乏力", "食欲不振"]}
    for count in (1, 7, 50):
        assert len(output(diagnosis, item, top_k=count)["syndromes"]) == count
        assert len(output(treatment, item, top_k=count)["herbs"]) == count
    few, many = output(diagnosis, item, top_k=2), output(diagnosis, item, top_k=9)
    assert few["syndromes"] == many["syndromes"][:2]


def test_a_threshold_leaves_out_what_is_less_likely() -> None:
    item = {"symptoms": ["头痛", "乏力", "食欲不振"]}
    every = output(MODELS["diagnosis"](), item, threshold=0)["elements"]
    likely = sorted(element["probability"] for kind in every.values() for element in kind)
    middle = likely[len(likely) // 2]
    some = output(MODELS["diagnosis"](), item, threshold=middle)["elements"]
    assert 0 < sum(map(len, some.values())) < len(likely)
    assert all(element["probability"] >= middle - 1e-4 for kind in some.values() for element in kind)
    herbs = output(MODELS["treatment"](), item)["herbs"]
    scores = [herb["score"] for herb in herbs]
    limit = (scores[0] + scores[-1]) / 2
    left = output(MODELS["treatment"](), item, threshold=limit)["herbs"]
    assert [herb["score"] for herb in left] == [score for score in scores if score >= limit]
    assert 0 < len(left) < len(herbs)


def test_what_is_denied_is_no_symptom(model: Any) -> None:
    said = output(model, {"symptoms": ["头痛", "无发热"]})
    assert said["symptoms"]["denied"] == ["发热"]
    assert [symptom["text"] for symptom in said["symptoms"]["known"]] == ["头痛"]
    assert {key: value for key, value in said.items() if key != "symptoms"} == {
        key: value for key, value in output(model, {"symptoms": ["头痛"]}).items() if key != "symptoms"
    }


def test_what_is_unknown_is_named(model: Any) -> None:
    assert output(model, {"symptoms": ["头痛", "xyzzy"]})["symptoms"]["unknown"] == ["xyzzy"]
    result = answer(model, {"symptoms": ["xyzzy", "plugh"]})
    assert result.error is not None
    assert (result.error.status, result.error.code) == (422, "UNKNOWN_SYMPTOMS")
    assert result.error.message == "nothing of this is known: xyzzy、plugh"


def test_a_denial_alone_is_said_to_be_one(model: Any) -> None:
    result = answer(model, {"symptoms": ["无头痛"]})
    assert result.error is not None
    assert (result.error.status, result.error.message) == (422, "every symptom is denied")


@pytest.mark.parametrize("data", [{}, {"symptoms": []}, {"symptoms": [" "], "text": ""}, {"patient_info": {"age": 3}}])
def test_a_patient_without_symptoms_is_not_judged(model: Any, data: dict[str, Any]) -> None:
    result = answer(model, data)
    assert result.error is not None
    assert (result.error.status, result.error.code) == (400, "INVALID_INPUT")
    assert result.error.message.startswith("no symptoms")


@pytest.mark.parametrize("field", ["image", "url", "symptom", "parameters"])
def test_an_unknown_field_is_refused(model: Any, field: str) -> None:
    result = answer(model, {"symptoms": ["头痛"], field: "x"})
    assert result.error is not None
    assert (result.error.status, result.error.code) == (400, "INVALID_INPUT")
    assert repr(field) in result.error.message


def test_candidates_alone_are_ranked_when_they_are_given(store: Path) -> None:
    item = {"symptoms": ["头痛", "乏力"], "candidates": ["肾阳虚", " 脾气虚 ", "xyzzy", "脾气虚"]}
    ranked = output(MODELS["diagnosis"](), item)["syndromes"]
    assert sorted(syndrome["name"] for syndrome in ranked) == ["xyzzy", "肾阳虚", "脾气虚"]
    assert next(syndrome for syndrome in ranked if syndrome["name"] == "xyzzy")["elements"] == []


@pytest.mark.parametrize(
    "data",
    [
        {"diagnosis": "xyzzy"},
        {"diagnosis": {"syndromes": [{"name": "xyzzy", "probability": 0.2}]}},
        {"diagnosis": {"syndromes": [{"name": "脾气虚", "probability": 0}]}},
        {"symptoms": ["，。"]},
    ],
    ids=["an unknown name", "an unknown syndrome", "an impossible syndrome", "punctuation"],
)
def test_nobody_is_told_of_a_denial_who_denied_nothing(store: Path, data: dict[str, Any]) -> None:
    result = answer(MODELS["treatment"](), data)
    assert result.error is not None
    assert 400 <= result.error.status < 500
    assert "denied" not in result.error.message


def test_large_probabilities_are_refused_or_weighed(store: Path) -> None:
    syndromes = [{"name": name, "probability": 1e308} for name in ("脾气虚", "肾阳虚")]
    result = answer(MODELS["treatment"](), {"diagnosis": {"syndromes": syndromes}})
    assert result.error is None or result.error.status == 400


def check(result: InferenceResult) -> None:
    """One answer or one error of the caller's, which can be sent as JSON."""
    assert (result.output_data is None) != (result.error is None)
    assert result.error is None or 400 <= result.error.status < 500
    assert result.confidence is None or 0 <= result.confidence <= 1
    strict_json.dumps(result.model_dump())


words = st.text(st.characters(exclude_categories=["Cs"]))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | words,
    lambda inner: st.lists(inner) | st.dictionaries(words, inner),
    max_leaves=10,
)
said = st.text(st.sampled_from("头痛乏力无不咳嗽发热，、。 \0ab")) | st.sampled_from(
    ["头痛", "无汗", "headache", "toux"]
)
names = st.sampled_from(["脾气虚", "肾阳虚证", "xyzzy"]) | words
ranked = st.fixed_dictionaries({"name": names}, optional={"probability": st.floats(0, 1) | json_values})
fields = st.fixed_dictionaries(
    {},
    optional={
        "symptoms": st.lists(said) | said | json_values,
        "text": said | json_values,
        "patient_info": json_values
        | st.fixed_dictionaries(
            {},
            optional={
                "age": st.integers(-1, 151) | json_values,
                "gender": st.sampled_from(["female", "男", "other"]) | json_values,
                "medical_history": st.lists(words) | json_values,
            },
        ),
    },
)
only_some = {
    "diagnosis": st.fixed_dictionaries({}, optional={"candidates": st.lists(names) | json_values}),
    "treatment": st.fixed_dictionaries(
        {},
        optional={
            "diagnosis": names
            | st.lists(names)
            | st.fixed_dictionaries({"syndromes": st.lists(ranked) | json_values})
            | json_values
        },
    ),
}
parameters = st.dictionaries(words, json_values, max_size=3) | st.fixed_dictionaries(
    {},
    optional={
        "top_k": st.integers(0, 51) | json_values,
        "threshold": st.floats(-0.1, 1.1) | json_values,
        "lang": st.sampled_from(["zh", "en", "fr"]) | json_values,
        "temperature": st.floats(0, 2) | json_values,
        "max_tokens": st.integers() | json_values,
    },
)


@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_json_holds_gets_one_answer_or_one_error(store: Path, name: str, data: st.DataObject) -> None:
    more = only_some[name]
    items = data.draw(
        st.lists(
            st.builds(
                InferenceRequest,
                input_data=st.builds(lambda one, other: one | other, fields, more)
                | st.dictionaries(words, json_values, max_size=3),
                parameters=parameters | st.just({}),
            ),
            max_size=4,
        )
    )
    results = MODELS[name]().infer(items)
    assert len(results) == len(items)
    for item, result in zip(items, results, strict=True):
        check(result)
        (alone,) = MODELS[name]().infer([item])
        assert (alone.error, alone.output_data is None) == (result.error, result.output_data is None)


EXTREMES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "an age of 400 digits": ({"symptoms": ["头痛"], "patient_info": {"age": 10**400}}, {}),
    "a threshold of 400 digits": ({"symptoms": ["头痛"]}, {"threshold": 10**400}),
    "a temperature of 400 digits": ({"symptoms": ["头痛"]}, {"temperature": 10**400}),
    "half a surrogate pair as a symptom": ({"symptoms": ["\ud83d"]}, {}),
    "half a surrogate pair as a gender": ({"symptoms": ["头痛"], "patient_info": {"gender": "\ud83d"}}, {}),
    "half a surrogate pair as a language": ({"symptoms": ["头痛"]}, {"lang": "\ud83d"}),
    "a NUL": ({"symptoms": ["头痛\0乏力"]}, {}),
    "one character of many": ({"text": "ﷺ" * 5_000}, {}),
    "nesting": ({"symptoms": [[[[[[[[]]]]]]]]}, {"top_k": {"a": {"a": {"a": []}}}}),
}


@pytest.mark.parametrize(("data", "given"), EXTREMES.values(), ids=EXTREMES)
def test_extremes_harm_no_neighbour(model: Any, data: dict[str, Any], given: dict[str, Any]) -> None:
    good = InferenceRequest(input_data={"symptoms": ["头痛"]})
    first, result, last = model.infer([good, InferenceRequest(input_data=data, parameters=given), good])
    check(result)
    assert (first.error, last.error) == (None, None)


def test_long_texts_do_not_hold_up_their_neighbours(model: Any) -> None:
    characters = "头痛乏力食欲不振咳嗽胸闷腹胀口干舌红苔黄脉细数弦滑腰膝酸软失眠多梦心悸气短自汗盗汗畏寒"
    pairs = [first + other for first in characters for other in characters]
    text = "，".join(pairs + [pair + last for pair in pairs for last in characters[:3]])[:5_000]
    requests = [InferenceRequest(input_data={"text": text})] * 8
    results = cpu_time.at_most(4, lambda: model.infer(requests))  # a full batch is four times this, and everybody waits
    assert all(result.error is None for result in results)
