"""The answers about Bentos as models with examples, for the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field

from management.api.documentation.responses import INSTANT, Answer, Count, Instant, ModelId
from management.api.documentation.status import ShownApi
from management.forms.bodies import example

_LISTED: Final[dict[str, Any]] = {
    "tag": "hello:1.0.0",
    "name": "hello",
    "version": "1.0.0",
    "docker_image": "bentos/hello:1.0.0",
    "service": "Hello",
    "bentoml_version": "1.4.39",
    "created_at": INSTANT,
    "size_bytes": 24576,
    "labels": {"owner": "vision"},
    "models": [],
    "deployments": [{"model_id": "hello", "live": True}],
}


class ShownUse(Answer):
    """A model that runs the Bento, or did so last, or is to run it."""

    model_id: ModelId
    live: Annotated[bool, Field(description="Whether a replica of the Bento runs.")]


class ListedBento(Answer):
    """A Bento in the list."""

    model_config = example(_LISTED)
    tag: str
    name: str
    version: str
    docker_image: Annotated[str, Field(description="A name to deploy it by.")]
    service: Annotated[str, Field(description="Its entry service; empty where its files cannot be read.")]
    bentoml_version: str
    created_at: Instant | None
    size_bytes: Count
    labels: dict[str, str]
    models: Annotated[list[str], Field(description="Tags of the models that it takes from the model store.")]
    deployments: list[ShownUse]


class ShownPython(Answer):
    """What the Bento needs to be installed."""

    version: str | None
    requirements: list[str]
    system_packages: list[str]
    conda: bool
    base_image: str | None


class ShownTraffic(Answer):
    """The `traffic` settings of the entry service."""

    timeout: Annotated[float | None, Field(description="Seconds.")]
    concurrency: int | None


class BentoAnswer(ListedBento):
    """Everything known about a Bento by its files."""

    model_config = example(
        {
            **_LISTED,
            "services": ["Hello"],
            "apis": [
                {
                    "name": "greet",
                    "route": "/greet",
                    "description": "",
                    "input": {
                        "type": "object",
                        "properties": {"name": {"type": "string", "default": "you", "title": "Name"}},
                        "required": [],
                    },
                    "output": {"type": "string"},
                    "batchable": False,
                    "streams": False,
                    "task": False,
                }
            ],
            "mounted_paths": [],
            "python": {
                "version": "3.11",
                "requirements": ["pillow"],
                "system_packages": [],
                "conda": False,
                "base_image": "python:3.11-slim",
            },
            "resources": {"cpu": "2"},
            "traffic": {"timeout": 10, "concurrency": 4},
            "digest": f"sha256:{'0' * 64}",
        }
    )
    services: list[str]
    apis: list[ShownApi]
    mounted_paths: list[str]
    python: ShownPython
    resources: dict[str, str]
    traffic: ShownTraffic
    digest: Annotated[str, Field(pattern="^sha256:[0-9a-f]{64}$", description="Digest of its content.")]
