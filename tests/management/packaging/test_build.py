"""Building Bentos: what makes one outdated, and that it is put into the store whole or not at all."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

from management.backends.process.images import (
    BentoStore,
)
from management.domain.bento_tag import (
    Tag,
)
from management.packaging.build import (
    DIGEST,
    LEFT_SECONDS,
    ROOT,
    WORKPLACE,
    BentoHome,
    BuildError,
    Recipe,
    build,
    digest,
    recipes,
)
from runners.registry import MODELS
from tests.support.management_servers import ECHO

RECIPE = """
service: "{service}"
name: {name}
labels:
  versions: "1.0.0 1.1.0"
include: ["*.py", "parts/*.txt"]
exclude: ["parts/left_out.txt"]
models: [{models}]
python:
  requirements_txt: "./requirements.lock"
  lock_packages: false
docker:
  base_image: "python:3.11-slim"
  dockerfile_template: "Dockerfile.j2"
"""
ONE = Tag("echo", "1.0.0")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "runners" / "echo").mkdir(parents=True)
    (folder / "parts").mkdir()
    (folder / ".hidden").mkdir()
    shutil.copy(ECHO / "echo_service.py", folder)
    for name in (
        "requirements.lock",
        "Dockerfile.j2",
        "parts/taken.txt",
        "parts/left_out.txt",
        "other.md",
        ".hidden/a.py",
    ):
        (folder / name).write_text("")
    write(folder)
    return folder


@pytest.fixture
def store(tmp_path: Path) -> BentoHome:
    return BentoHome(tmp_path / "home")


def write(root: Path, models: str = "", service: str = "echo_service:Echo", name: str = "echo") -> None:
    (root / "runners" / "echo" / f"{name}.bento.yaml").write_text(
        RECIPE.format(models=models, service=service, name=name)
    )


def recipe(root: Path) -> Recipe:
    (found,) = recipes(root)
    return found


def put_model(store: BentoHome, version: str = "1") -> None:
    folder = store.home / "models" / "weights"
    (folder / version).mkdir(parents=True)
    (folder / version / "model.yaml").write_text("")
    (folder / "latest").write_text(version)


def test_every_build_file_of_the_project_is_read() -> None:
    found = {recipe.name: recipe.versions for recipe in recipes()}
    assert found["tcm-diagnosis"] == ("2.0.0", "2.1.0")
    assert found.keys() == {"atelier", *(row.bento for row in MODELS)}


@pytest.mark.server
def test_nothing_of_bentos_that_lie_below_the_project_goes_into_another(root: Path) -> None:
    """BentoML looks for names without a slash everywhere, also in the store, where it is just putting them."""
    for each in recipes():
        assert all("/" in pattern.rstrip("/") for pattern in each.include), each.file
    file = root / "runners" / "echo" / "echo.bento.yaml"
    file.write_text(file.read_text().replace('"*.py"', '"/*.py"'))
    store = BentoHome(root / ".atelier")
    for line in ("# once\n", "# and again\n"):
        with (root / "echo_service.py").open("a") as code:
            code.write(line)
        assert build(recipe(root), ONE, store)
    assert sorted(path.name for path in (store.folder(ONE) / "src").rglob("*.py")) == ["echo_service.py"]


def test_a_bento_without_versions_of_its_own_has_the_projects(root: Path) -> None:
    shutil.copy(ROOT / "bentofile.yaml", root)
    (root / "pyproject.toml").write_text('[project]\nversion = "3.2.1"')
    (front,) = (recipe for recipe in recipes(root) if recipe.name == "atelier")
    assert front.tags() == [Tag("atelier", "3.2.1")]


@pytest.mark.parametrize("text", ["", "name: a", "[]", "{", "name: a\nlabels: {versions: 1}\ninclude: 3"])
def test_a_build_file_that_is_none_is_named(root: Path, text: str) -> None:
    (root / "runners" / "echo" / "wrong.bento.yaml").write_text(text)
    with pytest.raises(BuildError, match=r"wrong\.bento\.yaml"):
        recipes(root)


@pytest.mark.parametrize(
    "file", ["echo_service.py", "parts/taken.txt", "requirements.lock", "Dockerfile.j2", "runners/echo/echo.bento.yaml"]
)
def test_a_change_of_what_a_bento_is_made_from_changes_its_digest(root: Path, store: BentoHome, file: str) -> None:
    before = digest(recipe(root), ONE, store)
    with (root / file).open("a") as changed:
        changed.write("\n# changed\n")
    assert digest(recipe(root), ONE, store) != before


@pytest.mark.parametrize("file", ["parts/left_out.txt", "other.md", ".hidden/a.py", "parts/deep/taken.txt"])
def test_a_change_of_anything_else_does_not(root: Path, store: BentoHome, file: str) -> None:
    before = digest(recipe(root), ONE, store)
    (root / file).parent.mkdir(exist_ok=True)
    (root / file).write_text("changed")
    assert digest(recipe(root), ONE, store) == before


def test_the_version_and_the_chosen_model_change_it_too(root: Path, store: BentoHome) -> None:
    write(root, '"weights:latest"')
    put_model(store, "1")
    first = digest(recipe(root), ONE, store)
    put_model(store, "2")
    assert len({first, digest(recipe(root), ONE, store), digest(recipe(root), Tag("echo", "1.1.0"), store)}) == 3


@pytest.mark.parametrize("model", ["weights:1", "weights:latest", "weights"])
def test_a_model_that_the_store_lacks_is_said(root: Path, store: BentoHome, model: str) -> None:
    write(root, f'"{model}"')
    with pytest.raises(BuildError, match=f"needs {model}.*make models"):
        build(recipe(root), ONE, store)


@pytest.mark.server
def test_a_bento_is_built_once_replaced_when_outdated_and_never_half_there(root: Path, store: BentoHome) -> None:
    made = recipe(root)
    left = store.home / f"{WORKPLACE}left"
    left.mkdir(parents=True)
    os.utime(left, (time.time() - 2 * LEFT_SECONDS,) * 2)
    assert build(made, ONE, store) is True
    assert BentoStore(store.home).all() == [ONE]
    assert not list(store.home.glob(f"{WORKPLACE}*"))
    held = {path.name for path in (store.folder(ONE) / "src").rglob("*") if path.is_file()}
    assert {"echo_service.py", "taken.txt"} <= held
    assert not {"left_out.txt", DIGEST} & held
    assert str(store.home) not in (store.folder(ONE) / "bento.yaml").read_text()
    assert labels(store) == {"versions": "1.0.0 1.1.0", "version": "1.0.0"}
    before = (store.folder(ONE) / "bento.yaml").stat()
    assert build(made, ONE, store) is False
    assert (store.folder(ONE) / "bento.yaml").stat() == before
    (root / "parts" / "taken.txt").write_text("other")
    with store.locked():  # somebody else puts a Bento into place: ours waits, and the old one stays
        thread = threading.Thread(target=build, args=(made, ONE, store))
        thread.start()
        wait_for_workplace(store, ONE)
        assert (store.folder(ONE) / "src" / "parts" / "taken.txt").read_text() == ""
    thread.join(30)
    assert (store.folder(ONE) / "src" / "parts" / "taken.txt").read_text() == "other"
    assert build(made, ONE, store) is False


def labels(store: BentoHome) -> dict[str, str]:
    found: dict[str, str] = yaml.safe_load((store.folder(ONE) / "bento.yaml").read_text())["labels"]
    return found


@pytest.mark.server
def test_a_bento_is_labelled_with_the_commit_and_another_commit_of_the_same_files_makes_no_other(
    root: Path, store: BentoHome
) -> None:
    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=Tester", "-c", "user.email=tester@example.com"]
        command = ["git", *identity, *arguments]
        return subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "one")
    assert build(recipe(root), ONE, store) is True
    assert labels(store)["revision"] == git("rev-parse", "HEAD")
    git("commit", "--quiet", "--allow-empty", "--message", "two")
    assert build(recipe(root), ONE, store) is False
    (root / "parts" / "taken.txt").write_text("other")
    assert build(recipe(root), ONE, store) is True
    assert labels(store)["revision"] == git("rev-parse", "HEAD") + "-dirty"


def wait_for_workplace(store: BentoHome, tag: Tag) -> None:
    deadline = time.monotonic() + 60
    while not list(store.home.glob(f"{WORKPLACE}*/bentos/{tag.name}/{tag.version}/{DIGEST}")):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.server
def test_a_build_that_fails_leaves_what_was_there(root: Path, store: BentoHome) -> None:
    old = store.folder(ONE)
    old.mkdir(parents=True)
    (old / "bento.yaml").write_text("old")
    (root / "echo_service.py").write_text("raise RuntimeError('this file is broken')")
    with pytest.raises(BuildError, match="this file is broken"):
        build(recipe(root), ONE, store)
    assert (old / "bento.yaml").read_text() == "old"
    assert not list(store.home.glob(f"{WORKPLACE}*"))
