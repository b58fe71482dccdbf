"""What an environment is made from, and that another environment has another digest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from management.backends.process.environments.decision import Installed, ServerEnvironment
from management.backends.process.environments.recipe import EnvironmentRecipe, recipe
from management.backends.process.environments.uv import environment, hidden_paths
from management.domain.bento import Bento, PythonNeeds
from management.domain.bento_tag import Tag
from tests.support.bentos.wheelhouse import tiny_wheel

SERVER = ServerEnvironment("3.11", {"bentoml": Installed("1.4.39")})


def written(folder: Path, **files: str) -> Path:
    python = folder / "env" / "python"
    python.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (python / name.replace("__", ".").replace("_txt", ".txt").replace("_in", ".in")).write_text(content)
    return folder


def made(folder: Path, *, bentoml: str = "1.4.39", python: str = "3.11") -> EnvironmentRecipe:
    bento = Bento(Tag("b", "1"), "B", bentoml, "", (), python=PythonNeeds(version=python))
    return recipe(bento, folder, SERVER)


def test_pinned_requirements_are_installed_rather_than_those_that_were_written(tmp_path: Path) -> None:
    written(tmp_path, requirements_txt="bentoml==1.4.39\n", requirements_in="bentoml\n")
    found = made(tmp_path).requirements
    assert found is not None
    assert found.name == "requirements.txt"
    written(tmp_path, requirements__lock_txt="bentoml==1.2.20\n")
    found = made(tmp_path, bentoml="1.2.20").requirements
    assert found is not None
    assert found.name == "requirements.lock.txt"
    assert made(tmp_path, bentoml="1.2.20").locked_by_pip


def test_bentoml_is_added_where_the_bento_does_not_name_it(tmp_path: Path) -> None:
    assert made(tmp_path).added == ("bentoml==1.4.39",)
    written(tmp_path, requirements_txt="numpy\n")
    assert made(tmp_path, bentoml="1.3.22").added == ("bentoml==1.3.22",)
    assert made(tmp_path, bentoml="").added == ("bentoml==1.4.39",)
    written(tmp_path, requirements_txt="BentoML[tracing]>=1.3\n")
    assert made(tmp_path).added == ()


@pytest.mark.parametrize(
    ("version", "lock", "overrides"),
    [
        ("1.4.39", "", ()),
        ("1.3.22", "setuptools==70.0\n", ()),
        ("1.3.22", "setuptools==84.2.1\n", ("setuptools<82",)),
        ("1.2.20", "pydantic==2.7.1 ; python_version>'3'\nsetuptools==70\n", ()),
        ("1.2.20", "", ("setuptools<82", "pydantic==2.7.4", "pydantic-core==2.18.4")),
    ],
)
def test_an_old_bentoml_gets_what_it_can_run_with(
    tmp_path: Path, version: str, lock: str, overrides: tuple[str, ...]
) -> None:
    written(tmp_path, requirements_txt=f"bentoml=={version}\n{lock}")
    assert made(tmp_path, bentoml=version).overrides == overrides


CHANGES: list[Callable[[Path], object]] = [
    lambda folder: written(folder, requirements_txt="bentoml\nnumpy<2\n"),
    lambda folder: written(folder, requirements__lock_txt="bentoml\n"),
    lambda folder: tiny_wheel(folder / "env" / "python" / "wheels", "1.0"),
    lambda folder: tiny_wheel(folder / "src" / "wheels", "1.0"),
]


@pytest.mark.parametrize("change", CHANGES)
def test_other_files_are_another_environment(tmp_path: Path, change: Callable[[Path], object]) -> None:
    written(tmp_path, requirements_txt="bentoml\n")
    before = made(tmp_path).digest
    assert made(tmp_path).digest == before
    change(tmp_path)
    assert made(tmp_path).digest != before


def test_another_python_is_another_environment_and_the_same_files_elsewhere_are_not(tmp_path: Path) -> None:
    first = made(written(tmp_path / "a", requirements_txt="bentoml\n"))
    assert first.digest == made(written(tmp_path / "b", requirements_txt="bentoml\n")).digest
    assert first.digest != made(tmp_path / "a", python="3.12").digest


def test_uv_gets_what_is_allowed_and_no_secret_of_the_server(tmp_path: Path) -> None:
    own = {
        "PATH": "/bin",
        "ATELIER_API_KEY": "secret",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "PIP_INDEX_URL": "https://user:pw@mirror/simple",
        "PIP_FIND_LINKS": "/a /b",
        "HTTPS_PROXY": "http://proxy",
        "UV_PYTHON": "3.9",
    }
    given = environment(tmp_path, python_downloads=False, own=own)
    assert "secret" not in given.values()
    assert "UV_PYTHON" not in given
    assert given["UV_DEFAULT_INDEX"] == own["PIP_INDEX_URL"]
    assert given["UV_FIND_LINKS"] == "/a,/b"
    assert given["HTTPS_PROXY"] == "http://proxy"
    assert given["UV_PYTHON_DOWNLOADS"] == "never"
    assert given["HOME"] == str(tmp_path)


def test_the_longest_path_is_hidden_first(tmp_path: Path) -> None:
    paths = list(hidden_paths(tmp_path / "environments", tmp_path))
    assert paths.index(str(tmp_path / "environments")) < paths.index(str(tmp_path))
