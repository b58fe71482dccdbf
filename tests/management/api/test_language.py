"""In which language messages come: the caller's, else the server's setting, else Chinese."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from client import AtelierClient, own_language
from management.wording.messages import ERRORS, Language
from tests.e2e.test_client import OK, scripted
from tests.support.chains.fuzz import Fuzzed, fuzzed

LANGUAGES: tuple[Language, ...] = ("zh", "fr", "en")


@pytest.fixture(scope="module", params=["zh", "fr"])
def server(request: pytest.FixtureRequest) -> Iterator[tuple[Language, Fuzzed]]:
    with fuzzed(language=request.param) as running:
        yield request.param, running


@pytest.mark.parametrize(("path", "key"), [("/api/v1/models/absent/status", True), ("/api/v1/models", False)])
def test_the_setting_is_for_callers_that_name_no_language(
    server: tuple[Language, Fuzzed], path: str, key: bool
) -> None:
    default, api = server
    for accept, language in ((None, default), ("*", default), ("de", "en"), ("de, fr;q=0.1", "fr"), ("zh-CN", "zh")):
        headers = {} if accept is None else {"Accept-Language": accept}
        answer = api.ask("GET", path, **({} if key else {"key": None}), **headers)  # type: ignore[arg-type]
        error = json.loads(answer.content)["error"]
        assert error["message"] == ERRORS[error["code"]][language], accept


@pytest.mark.parametrize(
    ("variables", "asked"),
    [
        ({}, "en"),
        ({"LANG": "C"}, "en"),
        ({"LANG": "C.UTF-8"}, "en"),
        ({"LANG": "POSIX"}, "en"),
        ({"LANG": "en_GB.UTF-8"}, "en-GB"),
        ({"LANG": "fr_FR.UTF-8"}, "fr-FR, en;q=0.5"),
        ({"LANG": "zh_CN.GB18030"}, "zh-CN, en;q=0.5"),
        ({"LANG": "de_DE@euro"}, "de-DE, en;q=0.5"),
        ({"LANG": "en_US.UTF-8", "LC_ALL": "fr_CA"}, "fr-CA, en;q=0.5"),
        ({"LANG": "fr_FR", "LC_MESSAGES": "en_US"}, "en-US"),
        ({"LANG": "\r\nX-Evil: 1"}, "en"),
    ],
)
def test_a_client_asks_for_its_users_language(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], asked: str
) -> None:
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert own_language() == asked
    with scripted(OK) as running:
        AtelierClient(running.url).health()
    assert [one["Accept-Language"] for one in running.headers] == [asked]
