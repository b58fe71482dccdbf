"""The key of a service without the management, at a real server and at the guard alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from runners.serving.key_guard import key_guard
from runners.settings import Settings
from tests.support.servers import serving

KEY = "a-key-of-32-characters-or-more-x"
SYMPTOMS = {"symptoms": ["头痛", "乏力"]}


@pytest.mark.server
def test_a_single_service_asks_for_its_key_and_leaves_probes_open(store: Path) -> None:
    with serving("service:Diagnosis", store, ATELIER_MODEL_KEY=KEY) as server, server.client() as client:
        refused = client.post("/diagnose", json=SYMPTOMS)
        assert (refused.status_code, refused.json()["code"]) == (401, "UNAUTHORIZED")
        assert refused.headers["www-authenticate"]
        assert client.post("/infer", json={"requests": []}).status_code == 401
        assert client.get("/nothing").status_code == 404
        for path in ("/health", "/livez", "/readyz", "/metrics", "/docs", "/openapi.json"):
            assert client.get(path).status_code == 200
        for headers in ({"X-API-Key": KEY}, {"Authorization": f"Bearer {KEY}"}):
            assert client.post("/diagnose", json=SYMPTOMS, headers=headers).status_code == 200
        assert KEY not in server.log.read_text()


@pytest.mark.parametrize(
    "headers", [[], [(b"x-api-key", b"")], [(b"x-api-key", KEY[:-1].encode())], [(b"cookie", b"a")]]
)
async def test_a_request_without_the_key_is_refused(headers: list[tuple[bytes, bytes]]) -> None:
    refused = await key_guard(SecretStr(KEY))({"edge.path": "/classify", "headers": headers})
    assert refused is not None
    assert refused.status == 401


def test_an_empty_key_is_none() -> None:
    assert Settings.model_validate({"model_key": ""}).model_key is None


@pytest.mark.parametrize("key", ["12345678", "a key\nof two lines and more", "clé-de-plus-de-16-caractères"])
def test_a_key_that_is_short_or_no_header_is_refused_and_never_shown(key: str) -> None:
    with pytest.raises(ValidationError, match="at least 16") as refused:
        Settings.model_validate({"model_key": key})
    assert key not in str(refused.value)
