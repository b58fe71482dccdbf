"""The images, in a real Docker Engine."""

from __future__ import annotations

import pytest

from tests import docker_engine

pytestmark = pytest.mark.docker


def test_the_images_of_a_bento_run_and_answer_in_each_version(echo_images: list[str]) -> None:
    assert echo_images == ["tests/echo:1.0.0", "tests/echo:2.0.0"]
    with docker_engine.container(echo_images[1], 3000) as one, one.client() as client:
        (answer,) = client.post("/infer", json={"requests": [{"input_data": {"a": 1}}]}).json()
    assert answer["output_data"]["echo"] == {"a": 1}
