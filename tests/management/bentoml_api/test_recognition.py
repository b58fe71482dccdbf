"""Which requests are those of BentoML's client, and who may send them."""

from __future__ import annotations

from typing import Any

import pytest

from management.bentoml_api.recognition import base_of, role_for_client
from management.domain.keys import Role

TOKEN = [(b"x-yatai-api-token", b"k")]


def scope(path: str, headers: list[tuple[bytes, bytes]] = TOKEN) -> dict[str, Any]:
    return {"type": "http", "path": path, "headers": headers}


@pytest.mark.parametrize("path", ["/api/v1/models", "/api/v2/deployments", "/ws/v2/deployments/hello/pods", "/api/x"])
def test_a_request_with_the_clients_header_is_put_into_the_section(path: str) -> None:
    assert base_of(scope(path)) == "/bentoml"


@pytest.mark.parametrize(
    "path", ["/api/v1/models", "/ws/v2/deployments/hello/pods", "/api/v1/bentos", "/api/v1/deployments"]
)
def test_the_same_path_without_the_header_is_not(path: str) -> None:
    assert base_of(scope(path, [(b"x-api-key", b"k")])) is None


@pytest.mark.parametrize("path", ["/models/hello/readyz", "/bentoml/api/v1/models", "/health", "/classify"])
def test_the_clients_header_changes_no_other_path(path: str) -> None:
    assert base_of(scope(path)) is None


@pytest.mark.parametrize("path", ["/api/v1/auth/code", "/api/v1/auth/token", "/api_tokens", "/deployments/hello"])
def test_a_login_needs_no_header(path: str) -> None:
    assert base_of(scope(path, [])) == "/bentoml"


@pytest.mark.parametrize(
    ("method", "path", "role"),
    [
        ("GET", "/api_tokens", None),
        ("POST", "/api_tokens", None),
        ("GET", "/api/v1/auth/token", None),
        ("PUT", "/uploads", None),
        ("GET", "/downloads", None),
        ("GET", "/deployments/hello", None),
        ("GET", "/api/v1/auth/current", Role.VIEWER),
        ("GET", "/api/v2/deployments", Role.VIEWER),
        ("WEBSOCKET", "/ws/v2/deployments/hello/pods", Role.VIEWER),
        ("PATCH", "/api/v1/bento_repositories/a/bentos/1/presign_download_url", Role.VIEWER),
        ("PATCH", "/api/v1/bento_repositories/a/bentos/1/presign_upload_url", Role.ADMIN),
        ("PUT", "/api/v1/bento_repositories/a/bentos/1/upload", Role.ADMIN),
        ("POST", "/api/v2/deployments", Role.ADMIN),
        ("DELETE", "/api/v2/deployments/hello", Role.ADMIN),
        ("GET", "/api/v1/clusters/default/deployments", Role.VIEWER),
        ("POST", "/api/v1/clusters/default/deployments", Role.ADMIN),
        ("PATCH", "/api/v1/clusters/default/namespaces/atelier/deployments/hello", Role.ADMIN),
        ("PATCH", "/api/v1/clusters/default/namespaces/atelier/deployments/presign_download_url", Role.ADMIN),
        ("GET", "/api/v1/org_secrets", Role.ADMIN),
        ("GET", "/api/v1/api_tokens/x", Role.ADMIN),
        ("GET", "/uploads/x", Role.VIEWER),
        ("GET", "/nothing", Role.VIEWER),
    ],
)
def test_the_role_that_a_request_requires(method: str, path: str, role: Role | None) -> None:
    assert role_for_client(method, f"/bentoml{path}") is role
