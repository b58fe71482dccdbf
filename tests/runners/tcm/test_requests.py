"""What requests to the models of Chinese medicine may hold: every field by itself, as it is parsed."""

from __future__ import annotations

import math
from typing import Any

import pytest

from runners.errors import InvalidInput, PayloadTooLarge, RunnerError
from runners.models.text.normalized import normalized
from runners.tcm.requests import PatientInfo, names_of, options_of, patient_of, tells_pregnancy, texts_of
from runners.tcm.treatment import syndromes_of
from tests.support.running import cpu_time

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
    with pytest.raises(PayloadTooLarge):
        cpu_time.at_most(10, lambda: texts_of({"text": stacked}))
    assert len(cpu_time.at_most(10, lambda: normalized(stacked))) < 40
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
