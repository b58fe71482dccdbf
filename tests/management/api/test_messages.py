"""The texts: the language that is chosen, and that every text is there in all of them."""

from __future__ import annotations

import string

import pytest

from management import errors
from management.errors import ManagementError
from management.wording import messages
from management.wording.messages import Language, language_of

LANGUAGES: tuple[Language, ...] = ("zh", "fr", "en")


@pytest.mark.parametrize(
    ("accept", "language"),
    [
        (None, "zh"),
        ("", "zh"),
        ("fr", "fr"),
        ("en-GB,en;q=0.9", "en"),
        ("de, fr;q=0.3, en;q=0.4", "en"),
        ("fr;q=0, en;q=0.1", "en"),
        ("zh-Hant-TW", "zh"),
        ("*", "zh"),
        ("en;q=nan, fr;q=0.1", "fr"),
        ("en;q=x, fr;q=0.1", "fr"),
        ("en;q=-1, fr;q=0.1", "fr"),
        ("fr;q=0.9, en;q=7", "en"),
        ("en;level=1", "zh"),
        (";;;,,,=", "zh"),
        ("de," * 20 + "fr", "en"),
        ("de", "en"),
        ("de-CH, it;q=0.9", "en"),
        ("de, zh;q=0.1", "zh"),
        ("zh;q=0.1, de", "zh"),
        ("de;q=0", "zh"),
        ("zh;q=0", "en"),
        ("zh;q=0, *", "en"),
        ("zh;q=0.000, en;q=0", "fr"),
        ("zh;q=0, fr;q=0.1", "fr"),
        ("zh;q=0, fr;q=0, en;q=0", "zh"),
        ("de;q=0.1, *;q=0.9", "zh"),
        ("fr;q=0.2, zh;q=0.3, en;q=0.1", "zh"),
        ("e" * 10_000, "zh"),
    ],
)
def test_the_language_is_the_one_liked_best_of_ours(accept: str | None, language: Language) -> None:
    assert language_of(accept) == language


@pytest.mark.parametrize(
    ("accept", "language"), [(None, "fr"), ("", "fr"), ("*", "fr"), ("de", "en"), ("zh", "zh"), (";;", "fr")]
)
def test_the_default_is_for_who_names_no_language(accept: str | None, language: Language) -> None:
    assert language_of(accept, "fr") == language


def test_every_code_of_an_error_has_a_text() -> None:
    codes = {one.code for one in vars(errors).values() if isinstance(one, type) and issubclass(one, ManagementError)}
    assert codes - {errors.ItemRefused.code} <= messages.ERRORS.keys(), "a refused item's text is the model's own"


def test_texts_have_the_same_placeholders_in_all_languages() -> None:
    for texts in (messages.ERRORS, messages.DONE, messages.STATES, messages.PROBLEMS):
        for key, said in texts.items():
            assert tuple(said) == LANGUAGES, key
            names = [{name for _, name, _, _ in string.Formatter().parse(one) if name} for one in said.values()]
            assert names[0] == names[1] == names[2], key
            assert len(set(said.values())) == len(LANGUAGES), f"{key} is not translated"


VALUES = {"expected": "1", "wanted": "echo:1", "found": "-", "command": "build", "push": "push"}


@pytest.mark.parametrize("kind", messages.PROBLEMS)
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_problem_can_be_said(kind: str, language: Language) -> None:
    told = messages.problem("field", kind, language, **VALUES)
    assert "{" not in told["message"]
    assert (told["field"], told["problem"]) == ("field", kind)
