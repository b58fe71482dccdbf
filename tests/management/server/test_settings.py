"""The groups of settings are read together, and what is wrong in them is said in one line."""

from __future__ import annotations

from importlib import import_module

import pytest
from pydantic import ValidationError

from management.backends.registry import Backends
from management.configuration import Settings
from management.preflight import wrong_settings


def test_one_line_names_every_wrong_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"API_KEY": "short", "DOCKER_PIDS": "0", "CLOUD_ENDPOINT": "ftp://a", "GPUS": "65"}.items():
        monkeypatch.setenv(f"ATELIER_{name}", value)
    with pytest.raises(ValidationError) as raised:
        Settings()
    assert wrong_settings(raised.value) == (
        "a setting is wrong: ATELIER_API_KEY: a key has 8 to 512 printable ASCII characters, and no space around them; "
        "ATELIER_DOCKER_PIDS: Input should be greater than 0; ATELIER_CLOUD_ENDPOINT: must begin with https://; "
        "ATELIER_GPUS: Input should be less than or equal to 64"
    )


def test_an_unknown_backend_is_refused_with_the_names_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATELIER_BACKEND", "slurm")
    with pytest.raises(ValidationError) as raised:
        Settings()
    assert wrong_settings(raised.value) == (
        "a setting is wrong: ATELIER_BACKEND: "
        "Input should be 'process', 'docker', 'swarm', 'kubernetes' or 'bentocloud'"
    )


@pytest.mark.parametrize("name", Backends.model_fields)
def test_each_line_of_the_registry_has_a_folder(name: str) -> None:
    assert callable(import_module(f"management.backends.{name}.backend").make)
