"""A real server with Bentos that know nothing of it."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.support.management_servers import Management, copied_many, echo_config, managing

IDLE_SECONDS = 2.0
"""Seconds after which a model that may sleep does."""


@pytest.fixture(scope="session")
def own_addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Management]:
    """A server whose streams soon end when they are silent, and whose replicas drain for a short time."""
    bentos = copied_many(tmp_path_factory.mktemp("many"))
    waits = {"STREAM_SECONDS": "20", "DRAIN_SECONDS": "3", "RETRY_SECONDS": "0.1", "IDLE_SECONDS": str(IDLE_SECONDS)}
    with managing(
        bentos, home=None, workers=1, **{f"ATELIER_{name}": value for name, value in waits.items()}
    ) as server:
        yield server


@pytest.fixture(scope="session")
def models(own_addresses: Management) -> Management:
    """The server with the models ``many`` and ``duo``."""
    with own_addresses.client() as api:
        for name in ("many", "duo"):
            deployed(api, name)
    return own_addresses


@pytest.fixture
def many(models: Management) -> Iterator[httpx.Client]:
    """A client of the model ``many`` at its own address."""
    with models.client() as client:
        client.base_url = httpx.URL(f"{models.url}/models/many")
        yield client


def deployed(api: httpx.Client, bento: str, model_id: str = "", image: str = "", **scaling: int) -> None:
    """Deploy a Bento as a model, and wait until it is ready."""
    config = echo_config(
        model_id or bento,
        docker_image=image or f"any/{bento}:1.0.0",
        scaling_config={"min_replicas": 1, "max_replicas": 4} | scaling,
        resource_requirements={"cpu": "1" if image else "100m", "memory": "512Mi" if image else "256Mi"},
    )
    answer = api.post("/models/deploy", params={"wait": 90}, json={"config": config})
    assert answer.status_code == 200, answer.text
