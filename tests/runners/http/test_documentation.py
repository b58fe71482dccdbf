"""The pages of interactive documentation: what they load, what they show, and where they lead."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from typing import Any

import httpx
import pytest

from runners.tcm import diagnosis, treatment
from tests.support.servers import Server
from web.documentation import documentation_page

PAGES = ["/docs", "/api/v1/docs"]


@pytest.mark.parametrize("path", PAGES)
def test_a_page_runs_its_own_scripts_alone(atelier: Server, path: str) -> None:
    with atelier.client() as client:
        page = client.get(path)
        allowed = page.headers["content-security-policy"]
        assert "default-src 'none'" in allowed
        assert "script-src 'self' 'sha256-" in allowed
        (inline,) = re.findall(r"<script>(.*?)</script>", page.text, re.DOTALL)
        assert f"'sha256-{b64encode(sha256(inline.encode()).digest()).decode()}'" in allowed
        assert not re.search(r"\son\w+=", page.text), "an attribute with a script is not allowed to run"
        for url in re.findall(r'(?:src|href)="([^"]+)"', page.text):
            assert url.startswith("/"), "another host"
            assert client.get(url).status_code == 200, url


def test_the_pages_lead_to_each_other_and_list_the_deployed_models(atelier: Server) -> None:
    with atelier.client() as client:
        front, management = (client.get(path).text for path in PAGES)
    assert 'href="/api/v1/docs"' in front
    assert 'href="/docs"' in management
    for page in (front, management):
        assert "Deployed models" in page
        assert 'fetch("/api/v1/models"' in page


def test_a_model_alone_has_no_management_to_lead_to(satellite: Server) -> None:
    with satellite.client() as client:
        page = client.get("/docs").text
    assert "Deployed models" not in page
    assert "/api/v1" not in page


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_in_one_language(atelier: Server, path: str) -> None:
    with atelier.client() as client:
        described = client.get(path.replace("docs", "openapi.json")).json()
        page = client.get(path).text
    texts = [page, described["info"]["title"], described["info"]["description"], *_described(described["paths"])]
    assert not [text for text in texts if re.search("[\u4e00-\u9fff]", text)]


def test_what_a_caller_named_cannot_leave_the_page() -> None:
    page = documentation_page("</title><script>", '/"</script>', "/static").body
    assert bytes(page).count(b"<script") == 2


@pytest.mark.parametrize(("path", "module"), [("/diagnose", diagnosis), ("/treat", treatment)])
def test_the_examples_of_chinese_medicine_are_in_two_languages_and_answer(
    atelier: Server, path: str, module: Any
) -> None:
    with atelier.client() as client:
        content = client.get("/openapi.json").json()["paths"][path]["post"]["requestBody"]["content"]
        examples = content["application/json"]["examples"]
        assert list(examples) == ["Chinese", "English"]
        languages = [_language(client, path, examples[name]["value"]) for name in examples]
    assert languages == ["zh", "en"]


def _language(client: httpx.Client, path: str, body: dict[str, Any]) -> str:
    answer = client.post(path, json=body).json()
    assert not answer["symptoms"]["unknown"]
    language: str = answer["language"]
    return language


def _described(value: Any) -> list[str]:
    """Every summary and description in an OpenAPI document's part."""
    if isinstance(value, list):
        return [text for part in value for text in _described(part)]
    if not isinstance(value, dict):
        return []
    own = [value[name] for name in ("summary", "description") if isinstance(value.get(name), str)]
    parts = [part for name, part in value.items() if name not in ("example", "examples")]
    return own + [text for part in parts for text in _described(part)]
