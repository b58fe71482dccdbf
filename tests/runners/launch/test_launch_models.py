"""What the launcher says and refuses of the models that it is asked for."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from runners.launch import launch
from runners.settings import MODELS, Settings
from tests.support.servers import ROOT

pytestmark = pytest.mark.server


def test_the_examples_are_of_the_models_that_are_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "settings", lambda: Settings.model_validate({"models": "embedding"}))
    assert "/embed" in launch._examples()
    assert "/classify" not in launch._examples()


@pytest.mark.parametrize(
    ("service", "variable", "value", "said"),
    [
        ("service:Atelier", "ATELIER_MODELS", "satelite", "ATELIER_MODELS: Input should be 'satellite'"),
        ("service:Satellite", "ATELIER_MODEL_KEY", "short", "ATELIER_MODEL_KEY: must be at least 16"),
        ("service:Satellite", "ATELIER_THREADS", "-1", "ATELIER_THREADS: "),
        ("service:Satellite", "ATELIER_TRUSTED_PROXIES", "foo", "ATELIER_TRUSTED_PROXIES: "),
    ],
)
def test_a_wrong_setting_of_any_service_is_one_line_and_exit_status_2(
    service: str, variable: str, value: str, said: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "runners.launch", service, "--port", "18765"],
        cwd=ROOT,
        env={**os.environ, variable: value},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_the_settings_of_a_model_in_a_container_are_checked_before_it_is_served() -> None:
    command = [sys.executable, "-m", "runners.settings"]
    environment = {**os.environ, "ATELIER_MODEL_KEY": "short"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "ATELIER_MODEL_KEY: must be at least 16" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_misspelt_model_is_named_before_anything_is_installed() -> None:
    command = [sys.executable, str(ROOT / "bin" / "check_serve.py"), "127.0.0.1", "8080", ""]
    done = subprocess.run([*command, "satelite, embedding"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == (f"MODELS=satelite, embedding: there is no model 'satelite'; there are {', '.join(MODELS)}\n")
    assert subprocess.run([*command, ",".join(MODELS)], check=False).returncode == 0
