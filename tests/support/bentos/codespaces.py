"""A service that is edited while it runs, as BentoML's client does it."""

from __future__ import annotations

import base64
from typing import Any

import httpx
from bentoml._internal.cloud.client import RestApiClient
from bentoml._internal.cloud.schemas.schemasv2 import (
    DeleteDeploymentFilesSchema,
    UploadDeploymentFileSchema,
    UploadDeploymentFilesSchema,
)

READY = ".project_ready"

SERVICE = """
import bentoml


@bentoml.service
class Hello:
    @bentoml.api
    def greet(self, name: str) -> str:
        return "WORD, " + name
"""


def source(word: str = "Hello") -> bytes:
    """Return the source of a service that greets with this word."""
    return SERVICE.replace("WORD", word).encode()


def manifest(**changes: Any) -> dict[str, Any]:
    """Return the manifest of that service, with other fields."""
    return {
        "service": "service:Hello",
        "bentoml_version": "1.4.39",
        "size_bytes": 0,
        "entry_service": "Hello",
        "name": "hello",
        "apis": {},
        "models": [],
        "runners": [],
        "services": [{"name": "Hello", "service": "", "models": [], "dependencies": [], "config": {}}],
        "envs": [],
        "schema": {
            "name": "Hello",
            "type": "service",
            "routes": [
                {
                    "name": "greet",
                    "route": "/greet",
                    "batchable": False,
                    "input": {"properties": {"name": {"type": "string"}}, "required": ["name"], "type": "object"},
                    "output": {"type": "string"},
                    "is_task": False,
                }
            ],
            "paths": {"/greet": {"mounted": False}},
        },
        "version": "announced",
        "dev": True,
        "image": {
            "base_image": "python:3.11-slim",
            "python_version": "3.11",
            "commands": [],
            "python_requirements": "bentoml\n",
            "post_commands": [],
            "build_include": [],
        },
        "spec": 2,
        **changes,
    }


class Space:
    """A codespace, as its client uses it."""

    def __init__(self, client: RestApiClient, name: str) -> None:
        self.client, self.name = client, name

    def announce(self, version: str, **changes: Any) -> str:
        """Announce a Bento that is never sent, and return its tag."""
        path = f"{self.client.endpoint}/api/v1/bento_repositories/hello/bentos"
        body = {"version": version, "description": "", "manifest": manifest(version=version, **changes), "labels": []}
        assert self.client.session.post(path, json=body).status_code == 200
        done = {"status": "success", "reason": "bento for development"}
        assert self.client.session.patch(f"{path}/{version}/finish_upload", json=done).status_code == 200
        return f"hello:{version}"

    def change(self, method: str, bento: str, path: str = "", **more: Any) -> httpx.Response:
        """Create the deployment, or change it."""
        body = {"bento": bento, "name": self.name, "dev": True, "services": {}, **more}
        return self.client.session.request(method, f"{self.client.endpoint}/api/v2/deployments{path}", json=body)

    def send(self, **files: bytes) -> None:
        """Send files; underscores in names stand for dots."""
        given = [
            UploadDeploymentFileSchema(name.replace("_", "."), base64.b64encode(content).decode())
            for name, content in files.items()
        ]
        self.client.v2.upload_files(self.name, UploadDeploymentFilesSchema(given), cluster="default")

    def complete(self) -> None:
        """Say that all files have arrived."""
        given = UploadDeploymentFilesSchema([UploadDeploymentFileSchema(READY, "")])
        self.client.v2.upload_files(self.name, given, cluster="default")

    def remove(self, *paths: str) -> None:
        """Remove files."""
        self.client.v2.delete_files(self.name, DeleteDeploymentFilesSchema(list(paths)), cluster="default")

    @property
    def status(self) -> str:
        """Its status in the client's words."""
        return str(self.client.v2.get_deployment(self.name, cluster="default").status)

    def greets(self, path: str = "/greet") -> str:
        """Return what it answers at its own address, or the status of an error."""
        url = f"{self.client.endpoint}/models/{self.name}{path}"
        answer = self.client.session.post(url, json={"name": "Ann"})
        return answer.text if answer.status_code == 200 else str(answer.status_code)
