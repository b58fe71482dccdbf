"""What the two models of Chinese medicine take and refuse: every field by itself, then whatever JSON can hold."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runners.contract import InferenceRequest, InferenceResult
from runners.errors import InvalidInput, PayloadTooLarge, RunnerError
from runners.models.text.normalized import normalized
from runners.tcm.diagnosis import DiagnosisModel
from runners.tcm.requests import PatientInfo, names_of, options_of, patient_of, tells_pregnancy, texts_of
from runners.tcm.treatment import TreatmentModel, syndromes_of
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


TEXTS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "a list": ({"symptoms": ["头痛", "乏力"]}, ("头痛", "乏力")),
    "one text for a list": ({"symptoms": "头痛，乏力"}, ("头痛，乏力",)),
    "running text": ({"text": "头痛，乏力"}, ("头痛，乏力",)),
    "both": ({"symptoms": ["头痛"], "text": "乏力"}, ("头痛", "乏力")),
    "white space around": ({"symptoms": [" 头痛\n"], "text": "\t乏力 "}, ("头痛", "乏力")),
    "white space alone": ({"symptoms": [" ", "", "头痛"], "text": "\u3000"}, ("头痛",)),
    "an empty list": ({"symptoms": []}, ()),
    "nothing": ({}, ()),
    "a hundred": ({"symptoms": ["头痛"] * 100}, ("头痛",) * 100),
    "5,000 characters": ({"symptoms": ["痛" * 2_500], "text": "头" * 2_500}, ("痛" * 2_500, "头" * 2_500)),
    "5,000 characters and white space": ({"text": " " * 9 + "痛" * 5_000}, ("痛" * 5_000,)),
}


@pytest.mark.parametrize(("data", "texts"), TEXTS.values(), ids=TEXTS)
def test_symptoms_are_taken_as_a_list_or_as_text(data: dict[str, Any], texts: tuple[str, ...]) -> None:
    assert texts_of(data) == texts


NO_LIST = "symptoms must be a list of strings, or one text"
WRONG_TEXTS: dict[str, tuple[dict[str, Any], type[RunnerError], str]] = {
    "a number": ({"symptoms": 7}, InvalidInput, NO_LIST),
    "null": ({"symptoms": None}, InvalidInput, NO_LIST),
    "an object": ({"symptoms": {"头痛": True}}, InvalidInput, NO_LIST),
    "bytes": ({"symptoms": b"x"}, InvalidInput, NO_LIST),
    "a list with a number": ({"symptoms": ["头痛", 7]}, InvalidInput, NO_LIST),
    "a list with null": ({"symptoms": ["头痛", None]}, InvalidInput, NO_LIST),
    "a list of lists": ({"symptoms": [["头痛"]]}, InvalidInput, NO_LIST),
    "a hundred and one": ({"symptoms": ["头痛"] * 101}, InvalidInput, "symptoms: at most 100"),
    "text of a list": ({"text": ["头痛"]}, InvalidInput, "text must be a string"),
    "text of a number": ({"text": 7}, InvalidInput, "text must be a string"),
    "text of null": ({"text": None}, InvalidInput, "text must be a string"),
    "a long symptom": (
        {"symptoms": ["痛" * 5_001]}, PayloadTooLarge, "symptoms: at most 5000 characters together",
    ),
    "a long text": ({"text": "痛" * 5_001}, PayloadTooLarge, "symptoms: at most 5000 characters together"),
    "both together too long": (
        {"symptoms": ["痛" * 50] * 50, "text": "头" * 2_501},
        PayloadTooLarge,
        "symptoms: at most 5000 characters together",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("data", "kind", "message"), WRONG_TEXTS.values(), ids=WRONG_TEXTS)
def test_what_is_wrong_with_symptoms_is_said(data: dict[str, Any], kind: type[RunnerError], message: str) -> None:
    with pytest.raises(RunnerError) as caught:
        texts_of(data)
    assert (type(caught.value), caught.value.message) == (kind, message)


GENDERS = {
    **dict.fromkeys(("male", "m", "M", "Male", " male ", "男"), "male"),
    **dict.fromkeys(("female", "f", "F", "FEMALE", "女"), "female"),
    **dict.fromkeys(("other", "unknown", "Other", "其他", "未知"), None),
}


@pytest.mark.parametrize(("word", "gender"), GENDERS.items())
def test_a_gender_is_known_by_its_word(word: str, gender: str | None) -> None:
    assert patient_of({"gender": word}).gender == gender


@pytest.mark.parametrize(
    ("word", "gender"),
    [("féminin", "female"), ("femme", "female"), ("masculin", "male"), ("homme", "male"), ("autre", None)],
)
def test_a_gender_is_known_by_its_french_word(word: str, gender: str | None) -> None:
    assert patient_of({"gender": word}).gender == gender


@pytest.mark.parametrize("age", [0, 35, 35.5, 150, 1e-9])
def test_an_age_is_years_from_0_to_150(age: float) -> None:
    assert patient_of({"age": age}).age == age


@pytest.mark.parametrize(
    ("history", "pregnant"),
    [
        ([], False),
        (None, False),
        ("怀孕三个月", True),
        (["高血压", "妊娠"], True),
        (["孕妇"], True),
        (["Pregnancy, 12 weeks"], True),
        (["Enceinte de 3 mois"], True),
        (["Grossesse"], True),
        (["高血压"], False),
        (["孕3月"], True),
        (["否认妊娠"], False),
        (["未怀孕"], False),
        (["not pregnant"], False),
    ],
)
def test_a_pregnancy_is_read_from_the_history(history: object, pregnant: bool) -> None:
    assert tells_pregnancy(patient_of({"medical_history": history}).history) is pregnant


@pytest.mark.parametrize(
    "value", [None, {}, {"age": None, "gender": None, "medical_history": None}, {"medical_history": []}]
)
def test_nothing_need_be_known_of_a_patient(value: object) -> None:
    assert patient_of(value) == PatientInfo()


AGE = "age must be a number of years from 0 to 150"
GENDER = "gender must be one of: female, male, other, unknown"
HISTORY = "medical_history must be a list of strings"
WRONG_PATIENTS: dict[str, tuple[object, str]] = {
    "a list": ([], "patient_info must be an object"),
    "a text": ("female, 35", "patient_info must be an object"),
    "a number": (35, "patient_info must be an object"),
    "false": (False, "patient_info must be an object"),
    "an unknown field": ({"name": "Li"}, "patient_info has age, gender, medical_history, not 'name'"),
    "an age under 0": ({"age": -1}, AGE),
    "an age just under 0": ({"age": -0.001}, AGE),
    "an age over 150": ({"age": 151}, AGE),
    "an age just over 150": ({"age": 150.01}, AGE),
    "an age of true": ({"age": True}, AGE),
    "an age of NaN": ({"age": math.nan}, AGE),
    "an infinite age": ({"age": math.inf}, AGE),
    "an age as text": ({"age": "35"}, AGE),
    "an age in a list": ({"age": [35]}, AGE),
    "another gender word": ({"gender": "woman-ish"}, GENDER),
    "no gender word": ({"gender": ""}, GENDER),
    "a gender of true": ({"gender": True}, GENDER),
    "a gender of 1": ({"gender": 1}, GENDER),
    "a gender in a list": ({"gender": ["female"]}, GENDER),
    "a history of a number": ({"medical_history": 7}, HISTORY),
    "a history of false": ({"medical_history": False}, HISTORY),
    "a history of an object": ({"medical_history": {}}, HISTORY),
    "a history with a number": ({"medical_history": ["高血压", 7]}, HISTORY),
    "a history of 101": ({"medical_history": ["a"] * 101}, "medical_history: at most 100 entries"),
}


@pytest.mark.parametrize(("value", "message"), WRONG_PATIENTS.values(), ids=WRONG_PATIENTS)
def test_what_is_wrong_with_a_patient_is_said(value: object, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        patient_of(value)
    assert caught.value.message == message


def test_marks_stacked_on_a_letter_cost_no_more_than_other_characters() -> None:
    stacked = "a" + "\u0301\u0316" * 100_000  # sorting them by insertion takes a minute
    with cpu_time.at_most(10):
        with pytest.raises(PayloadTooLarge):
            texts_of({"text": stacked})
        assert len(normalized(stacked)) < 40
        assert normalized("e\u0301 ﬁ") == "é fi"


def test_a_history_has_a_hundred_entries_and_5000_characters_at_most() -> None:
    assert len(patient_of({"medical_history": ["a" * 50] * 100}).history) == 100
    with pytest.raises(RunnerError) as caught:
        patient_of({"medical_history": ["a" * 50] * 99 + ["a" * 51]})
    assert 400 <= caught.value.status < 500


def test_parameters_that_are_not_given_have_their_defaults() -> None:
    options = options_of({}, "头痛", 5)
    assert (options.top_k, options.threshold, options.language, options.ignored) == (5, None, "zh", ())


@pytest.mark.parametrize(
    ("parameters", "ignored"),
    [
        ({"temperature": 0.7, "max_tokens": 1024}, ("temperature", "max_tokens")),
        ({"max_tokens": 1}, ("max_tokens",)),
        ({"temperature": 0}, ("temperature",)),
        ({"top_k": 1, "threshold": 0, "lang": "fr"}, ()),
        ({"top_k": 50, "threshold": 1}, ()),
        ({"threshold": None}, ()),
    ],
)
def test_parameters_are_taken_to_their_limits(parameters: dict[str, Any], ignored: tuple[str, ...]) -> None:
    options = options_of(parameters, "", 5)
    assert options.ignored == ignored
    assert (options.top_k, options.threshold) == (parameters.get("top_k", 5), parameters.get("threshold"))


TOP_K = "top_k must be a whole number from 1 to 50"
THRESHOLD = "threshold must be a number from 0 to 1"
LANG = '"lang" must be one of: zh, en, fr'
WRONG_PARAMETERS: dict[str, tuple[dict[str, Any], str]] = {
    "a top_k of 0": ({"top_k": 0}, TOP_K),
    "a top_k of 51": ({"top_k": 51}, TOP_K),
    "a top_k of -1": ({"top_k": -1}, TOP_K),
    "a top_k of 3.0": ({"top_k": 3.0}, TOP_K),
    "a top_k of true": ({"top_k": True}, TOP_K),
    "a top_k of text": ({"top_k": "3"}, TOP_K),
    "a top_k of null": ({"top_k": None}, TOP_K),
    "a threshold under 0": ({"threshold": -0.01}, THRESHOLD),
    "a threshold over 1": ({"threshold": 1.01}, THRESHOLD),
    "a threshold of true": ({"threshold": True}, THRESHOLD),
    "a threshold of NaN": ({"threshold": math.nan}, THRESHOLD),
    "a threshold of text": ({"threshold": "0.5"}, THRESHOLD),
    "another language": ({"lang": "de"}, LANG),
    "a language in capitals": ({"lang": "EN"}, LANG),
    "a language of null": ({"lang": None}, LANG),
    "a language in a list": ({"lang": ["en"]}, LANG),
    "a temperature of text": ({"temperature": "hot"}, "temperature must be numbers"),
    "a temperature of true": ({"temperature": True}, "temperature must be numbers"),
    "max_tokens of null": ({"max_tokens": None}, "max_tokens must be numbers"),
    "max_tokens of infinity": ({"max_tokens": math.inf}, "max_tokens must be numbers"),
    "both of text": ({"temperature": "a", "max_tokens": "b"}, "temperature and max_tokens must be numbers"),
    "an unknown one": ({"top_p": 0.9}, "unknown parameter: 'top_p'"),
    "unknown ones": ({"top_k": 1, "b": 1, "a": 1}, "unknown parameter: 'a, b'"),
}


@pytest.mark.parametrize(("parameters", "message"), WRONG_PARAMETERS.values(), ids=WRONG_PARAMETERS)
def test_what_is_wrong_with_a_parameter_is_said(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        options_of(parameters, "头痛", 5)
    assert caught.value.message == message


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
    likely = sorted(one["probability"] for kind in every.values() for one in kind)
    middle = likely[len(likely) // 2]
    some = output(MODELS["diagnosis"](), item, threshold=middle)["elements"]
    assert 0 < sum(map(len, some.values())) < len(likely)
    assert all(one["probability"] >= middle - 1e-4 for kind in some.values() for one in kind)
    herbs = output(MODELS["treatment"](), item)["herbs"]
    scores = [one["score"] for one in herbs]
    limit = (scores[0] + scores[-1]) / 2
    left = output(MODELS["treatment"](), item, threshold=limit)["herbs"]
    assert [one["score"] for one in left] == [score for score in scores if score >= limit]
    assert 0 < len(left) < len(herbs)


def test_what_is_denied_is_no_symptom(model: Any) -> None:
    said = output(model, {"symptoms": ["头痛", "无发热"]})
    assert said["symptoms"]["denied"] == ["发热"]
    assert [one["text"] for one in said["symptoms"]["known"]] == ["头痛"]
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
    assert sorted(one["name"] for one in ranked) == ["xyzzy", "肾阳虚", "脾气虚"]
    assert next(one for one in ranked if one["name"] == "xyzzy")["elements"] == []


WRONG_NAMES: dict[str, object] = {
    "text": "脾气虚",
    "null": None,
    "a number": 7,
    "a list with a number": ["脾气虚", 7],
    "a list with white space": ["脾气虚", " "],
    "51 names": ["脾气虚"] * 51,
    "a name of 61 characters": ["虚" * 61],
}


@pytest.mark.parametrize("value", WRONG_NAMES.values(), ids=WRONG_NAMES)
def test_candidates_that_are_no_names_are_refused(value: object) -> None:
    with pytest.raises(InvalidInput, match="candidates"):
        names_of(value, "candidates")
    assert names_of(["虚" * 60] * 50, "candidates") == ("虚" * 60,)


DIAGNOSES: dict[str, tuple[object, tuple[tuple[str, float], ...]]] = {
    "nothing": (None, ()),
    "a name": ("脾气虚", (("脾气虚", 1.0),)),
    "names": (["脾气虚", " 肾阳虚 "], (("脾气虚", 1.0), ("肾阳虚", 1.0))),
    "what the model answered": (
        {"syndromes": [{"name": "脾气虚", "probability": 0.5, "elements": []}], "model": "a"},
        (("脾气虚", 0.5),),
    ),
    "a syndrome that is told as 0": (
        {"syndromes": [{"name": "脾气虚", "probability": 0.1}, {"name": "气虚", "probability": 0.0}]},
        (("脾气虚", 0.1),),
    ),
    "a syndrome without a probability": ({"syndromes": [{"name": "脾气虚"}]}, (("脾气虚", 1.0),)),
}


@pytest.mark.parametrize(("value", "syndromes"), DIAGNOSES.values(), ids=DIAGNOSES)
def test_a_diagnosis_is_a_name_or_names_or_an_answer(value: object, syndromes: tuple[tuple[str, float], ...]) -> None:
    assert syndromes_of(value) == syndromes


WRONG_DIAGNOSES: dict[str, object] = {
    "a number": 7,
    "false": False,
    "no name": "",
    "white space": " ",
    "a list with null": [None],
    "a list of lists": [["脾气虚"]],
    "51 names": ["虚"] * 51,
    "an object without syndromes": {},
    "syndromes of text": {"syndromes": "脾气虚"},
    "no syndromes": {"syndromes": []},
    "51 syndromes": {"syndromes": [{"name": "虚"}] * 51},
    "a syndrome of text": {"syndromes": ["脾气虚"]},
    "a syndrome without a name": {"syndromes": [{"probability": 1}]},
    "a syndrome with white space": {"syndromes": [{"name": " "}]},
    "a syndrome with a long name": {"syndromes": [{"name": "虚" * 61}]},
    "a probability of text": {"syndromes": [{"name": "脾气虚", "probability": "1"}]},
    "a probability of true": {"syndromes": [{"name": "脾气虚", "probability": True}]},
    "a probability of null": {"syndromes": [{"name": "脾气虚", "probability": None}]},
    "a probability of NaN": {"syndromes": [{"name": "脾气虚", "probability": math.nan}]},
    "a probability under 0": {"syndromes": [{"name": "脾气虚", "probability": -0.1}]},
}


@pytest.mark.parametrize("value", WRONG_DIAGNOSES.values(), ids=WRONG_DIAGNOSES)
def test_what_is_no_diagnosis_is_refused(value: object) -> None:
    with pytest.raises(InvalidInput):
        syndromes_of(value)


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
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
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
    pairs = [one + other for one in characters for other in characters]
    text = "，".join(pairs + [pair + last for pair in pairs for last in characters[:3]])[:5_000]
    with cpu_time.at_most(4):  # a full batch is four times this, and everybody waits for it
        results = model.infer([InferenceRequest(input_data={"text": text})] * 8)
    assert all(result.error is None for result in results)
