"""What ``make serve`` does before the server starts, and what it leaves out on a second start."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import serve
from management.domain.bento_tag import Tag
from management.packaging import build
from runners.artifacts import presence
from tests.support.servers import ROOT

PREPARE = "import serve, sys; serve.prepare(False); sys.exit('bentoml' in sys.modules or 'management' in sys.modules)"
LOADED = """
import service, sys
service.Atelier.find_dependent_by_name("Diagnosis")
others = "management.platform", "runners.satellite.service", "runners.summarization.service"
sys.exit(any(name in sys.modules for name in others))
"""


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.server
def test_second_start_of_a_model_alone_says_starting_and_imports_no_bentoml(store: Path) -> None:
    assert presence.complete()
    done = python(PREPARE)
    assert (done.returncode, done.stdout) == (0, "starting\n"), done.stderr


@pytest.mark.parametrize("file", ["satellite/1.2.0/model.onnx", "summarization/1.1.0/model.yaml"])
def test_store_without_a_file_is_not_complete(
    file: str, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(store / "models", tmp_path / "models")
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path))
    assert presence.complete()
    (tmp_path / "models" / file).unlink()
    assert not presence.complete()


def test_store_with_two_embedding_networks_is_not_complete(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(store / "models", tmp_path / "models")
    shutil.copytree(tmp_path / "models/embedding/satellite-1.0.0", tmp_path / "models/embedding/imagenet1k-v1")
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path))
    assert not presence.complete()


def fake_recipes(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    recipes = [SimpleNamespace(name=name, tags=lambda name=name: [Tag(name, "1.0.0")]) for name in names]
    monkeypatch.setattr(build, "recipes", lambda: recipes)
    monkeypatch.setattr(build, "digest", lambda _, tag, __: f"digest of {tag}")


def test_front_door_builds_the_bentos_that_changed(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_recipes(monkeypatch, "same", "changed")
    monkeypatch.setattr(build.BentoHome, "digest", lambda _, tag: "digest of same:1.0.0")
    built: list[str] = []
    monkeypatch.setattr(build, "build", lambda _, tag, __: built.append(str(tag)))
    serve.prepare(front_door=True)
    assert built == ["changed:1.0.0"]
    assert capsys.readouterr().out == "building the Bento changed:1.0.0\nstarting\n"


def test_every_bento_that_cannot_be_built_is_named(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_recipes(monkeypatch, "first", "second")
    monkeypatch.setattr(build.BentoHome, "digest", lambda *_: None)

    def fail(_: object, tag: Tag, __: object) -> bool:
        raise build.BuildError(f"{tag} cannot be built")

    monkeypatch.setattr(build, "build", fail)
    with pytest.raises(SystemExit) as ended:
        serve.prepare(front_door=True)
    assert ended.value.code == "first:1.0.0 cannot be built\nsecond:1.0.0 cannot be built"


@pytest.mark.server
def test_unfit_management_ends_the_start_with_status_2() -> None:
    done = python("import serve; serve.prepare(True)", ATELIER_DATABASE_URL="oracle://here/there")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "ATELIER_DATABASE_URL" in done.stderr


@pytest.mark.server
def test_process_of_a_model_loads_no_management_and_no_other_model() -> None:
    assert python(LOADED, ATELIER_WORKER_SERVICE="Diagnosis").returncode == 0
