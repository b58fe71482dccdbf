"""The login of a command line by a browser: a code, a page that asks for a key, and a token that is given once."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from management.auth.browser_login import CODE_SECONDS, BrowserLogin
from management.domain import keys
from management.domain.keys import Role
from tests.doubles.management import AT
from tests.support.bentos.program import Program
from tests.support.management_servers import KEY, Management


class HandTime:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> HandTime:
    return HandTime()


@pytest.fixture
def login(tmp_path: Path, time: HandTime) -> BrowserLogin:
    return BrowserLogin(tmp_path / "login.key", time)


def test_a_code_is_valid_for_ten_minutes(login: BrowserLogin, time: HandTime) -> None:
    code = login.new_code()
    assert login.is_valid(code)
    time.now += CODE_SECONDS - 2
    assert login.is_valid(code)
    time.now += 3
    assert not login.is_valid(code)


@pytest.mark.parametrize("change", ["0", ".", "é", "x" * 500])
def test_no_other_code_is_valid(login: BrowserLogin, change: str) -> None:
    code = login.new_code()
    assert not login.is_valid(change + code)
    assert not login.is_valid(code[:-1] + ("1" if code[-1] == "0" else "0"))
    assert not login.is_valid(change)


def test_another_servers_code_is_not_valid(login: BrowserLogin, tmp_path: Path, time: HandTime) -> None:
    assert not login.is_valid(BrowserLogin(tmp_path / "other.key", time).new_code())


def test_the_workers_of_a_server_share_the_secret(login: BrowserLogin, tmp_path: Path, time: HandTime) -> None:
    code, worker = login.new_code(), BrowserLogin(tmp_path / "login.key", time)
    assert worker.is_valid(code)
    assert worker.key_text(code) == login.key_text(code) != login.key_text(login.new_code())
    assert stat.S_IMODE((tmp_path / "login.key").stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["login.key"]


def test_the_key_of_a_code_is_a_key_like_others(login: BrowserLogin) -> None:
    text = login.key_text(login.new_code())
    key = keys.with_text(text, "login", Role.OPERATOR, AT)
    assert keys.find(text, {key.id: key}, AT) == key
    assert (len(key.id), text.startswith(f"atl_{key.id}_")) == (12, True)


@pytest.fixture
def browser(server: Management) -> Iterator[httpx.Client]:
    """A browser without any key."""
    with httpx.Client(base_url=server.url, trust_env=False) as client:
        yield client


@pytest.mark.server
def test_a_person_logs_the_command_line_in(browser: httpx.Client, server: Management, tmp_path: Path) -> None:
    code = browser.get("/api/v1/auth/code").json()["code"]
    query = {"code": code}
    assert browser.get("/api/v1/auth/token", params=query).status_code == 404
    page = browser.get("/api_tokens", params=query)
    assert (page.status_code, 'type="password"' in page.text) == (200, True)
    assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]
    wrong = browser.post("/api_tokens", params=query, data={"key": "wrong-key-of-mine"})
    assert (wrong.status_code, "not known" in wrong.text) == (401, True)
    assert browser.get("/api/v1/auth/token", params=query).status_code == 404

    for _ in range(2):  # a form that is sent twice makes one token
        assert browser.post("/api_tokens", params=query, data={"key": KEY}).status_code == 200
    token = browser.get("/api/v1/auth/token", params=query).json()["token"]
    assert "Logged in as bentoml login of" in Program(tmp_path, server.url, token).run("cloud", "login").text
    assert browser.get("/api/v1/auth/token", params=query).status_code == 404  # it has been used
    assert KEY not in server.log.read_text()
    assert token not in server.log.read_text()


@pytest.mark.server
@pytest.mark.parametrize("code", ["", "1.2.3", "x" * 10_000, "1800000000.é.0"])
def test_no_login_without_a_code_of_this_server(browser: httpx.Client, code: str) -> None:
    query = {"code": code}
    assert browser.get("/api_tokens", params=query).status_code == 404
    assert browser.get("/api/v1/auth/token", params=query).status_code == 404
    assert browser.post("/api_tokens", params=query, data={"key": KEY}).status_code == 404


@pytest.mark.server
@pytest.mark.parametrize("body", [b"", b"key=", b"key=a&key=b", b"\xff\xfe", b"key=" + b"x" * 20_000, b"&" * 5000])
def test_a_form_without_one_key_is_refused(browser: httpx.Client, body: bytes) -> None:
    code = browser.get("/api/v1/auth/code").json()["code"]
    refused = browser.post("/api_tokens", params={"code": code}, content=body)
    assert refused.status_code == 400
