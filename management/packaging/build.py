"""Builds this project's Bentos from the build files beside their code into the store that replicas start from.

Each file's label ``versions`` has the exact versions to build; without it, the version is the project's. A Bento is
built again only when a digest of all its inputs has changed. It is renamed into the store, so that no process ever
reads half of one.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml  # type: ignore[import-untyped]
from pathspec import PathSpec

from management.domain.bento_tag import StoredKind, Tag

ROOT: Final = Path(__file__).parents[2]
"""Folder of the project."""
BUILD_FILES: Final = ("bentofile.yaml", "runners/*/*bento.yaml")
"""Patterns of the build files: one with every model, and one for each model in its folder."""
DIGEST: Final = "atelier.digest"
"""File in a Bento with the digest of its inputs."""
LOCK: Final = ".atelier.lock"
"""File in a BentoML home that is locked by whatever changes its store."""
WORKPLACE: Final = ".build-"
"""Prefix of the folders in which Bentos are built."""
LEFT_SECONDS: Final = 24 * 3600.0
"""Age in seconds from which a workplace belongs to a build that died."""
BUILD_TIMEOUT_SECONDS: Final = 600
"""Seconds that the build of one Bento may take."""
OUTPUT_LINES: Final = 15
"""Last lines of a failed build's output in its error."""
_WILDCARDS: Final = frozenset("*?[")
# By function, because the command line prints the ":satellite:" of a tag as an emoji.
_BUILD: Final = """
import json, sys, bentoml
file, version, labels = sys.argv[1:]
bentoml.bentos.build_bentofile(file, version=version, labels=json.loads(labels), build_ctx='.')
"""


class BuildError(Exception):
    """A Bento cannot be built; the message says why, and what to do."""


@dataclass(frozen=True)
class Recipe:
    """A build file: the inputs of a Bento, and the project's folder that its paths are relative to."""

    root: Path
    file: Path
    name: str
    versions: tuple[str, ...]
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    models: tuple[str, ...]
    other_inputs: tuple[Path, ...]
    """Files outside the Bento that also determine it: its requirements, and the template of its image."""

    def tags(self, version: str | None = None) -> list[Tag]:
        """Return the tags to build: of the given version, or of the recipe's own."""
        versions = (version,) if version else self.versions
        return [Tag(self.name, each) for each in versions]


@dataclass(frozen=True)
class BentoHome:
    """A BentoML home, with its stores of Bentos and models."""

    home: Path

    def folder(self, tag: Tag, kind: StoredKind = StoredKind.BENTO) -> Path:
        """Return the folder of a Bento or a stored model, whether it exists or not."""
        return self.home / kind / tag.name / tag.version

    def digest(self, tag: Tag) -> str | None:
        """Return the digest of a Bento's inputs; None when this project did not build such a Bento."""
        try:
            (self.folder(tag) / "bento.yaml").stat()
            return (self.folder(tag) / DIGEST).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            return None

    def model(self, name: str) -> str | None:
        """Return the exact tag of a model in a recipe; None when the store does not have the model."""
        title, _, version = name.partition(":")
        folder = self.home / "models" / title
        try:
            exact = (folder / "latest").read_text().strip() if version in ("", "latest") else version
        except OSError:
            return None
        return f"{title}:{exact}" if (folder / exact / "model.yaml").is_file() else None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock of this store."""
        with (self.home / LOCK).open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def recipes(root: Path = ROOT) -> list[Recipe]:
    """Return the project's recipes, sorted by name. Raises BuildError for an invalid file."""
    files = [file for pattern in BUILD_FILES for file in root.glob(pattern)]
    return sorted((_recipe(file, root) for file in files), key=lambda recipe: recipe.name)


def digest(recipe: Recipe, tag: Tag, store: BentoHome) -> str:
    """Return the digest of all inputs: build file, included files, requirements, exact models, and the version.

    The commit is no input: the same content makes the same Bento.
    """
    files = [recipe.file, *_selected(recipe), *recipe.other_inputs]
    total = hashlib.sha256(f"{tag}\n".encode())
    for model in recipe.models:
        total.update(f"{store.model(model)}\n".encode())
    for file in files:
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        total.update(f"{file.relative_to(recipe.root).as_posix()}\0{content}\n".encode())
    return total.hexdigest()


def build(recipe: Recipe, tag: Tag, store: BentoHome) -> bool:
    """Build a Bento unless it is up to date. Return whether it was built. Raises BuildError."""
    missing = [model for model in recipe.models if store.model(model) is None]
    if missing:
        raise BuildError(f"{tag} needs {', '.join(missing)}, which the model store does not have: run make models")
    expected = digest(recipe, tag, store)
    if store.digest(tag) == expected:
        return False
    with _workplace(store) as workplace:
        _run(recipe, tag, workplace)
        (workplace.folder(tag) / DIGEST).write_text(expected + "\n", encoding="ascii")
        workplace.folder(tag).chmod(0o755)  # not 0700: in a container that mounts it, its user is another one
        with store.locked():
            _put(workplace.folder(tag), store.folder(tag), workplace.home / "old")
    return True


def _recipe(file: Path, root: Path) -> Recipe:
    try:
        content: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
        other_inputs = (
            content.get("python", {}).get("requirements_txt"),
            content.get("docker", {}).get("dockerfile_template"),
        )
        return Recipe(
            root,
            file,
            content["name"],
            tuple(str(content["labels"].get("versions") or _project_version(root)).split()),
            tuple(content["include"]),
            tuple(content.get("exclude", ())),
            tuple(content.get("models", ())),
            tuple(root / file_name for file_name in other_inputs if file_name),
        )
    except (KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise BuildError(f"{file} does not say what a Bento needs: {error}") from error


def _project_version(root: Path) -> str:
    with (root / "pyproject.toml").open("rb") as file:
        return str(tomllib.load(file)["project"]["version"])


def _selected(recipe: Recipe) -> list[Path]:
    """Return the files that BentoML would include, without a walk through the rest of the project."""
    included, excluded = (
        PathSpec.from_lines("gitwildmatch", patterns) for patterns in (recipe.include, recipe.exclude)
    )
    files = {
        file
        for start in {_start(pattern) for pattern in recipe.include}
        for file in _files(recipe.root / start)
        if included.match_file(name := file.relative_to(recipe.root).as_posix()) and not excluded.match_file(name)
    }
    return sorted(files)


def _start(pattern: str) -> str:
    """Return the folder of a pattern's matches: its parts before the first wildcard, without the last part."""
    parts = pattern.strip("/").split("/")
    plain = next((number for number, part in enumerate(parts) if _WILDCARDS & set(part)), len(parts) - 1)
    return "/".join(parts[:plain])


def _files(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != "__pycache__" and not name.startswith(".")]
        yield from (Path(place) / name for name in names)


@contextmanager
def _workplace(store: BentoHome) -> Iterator[BentoHome]:
    """Make a temporary BentoML home with the same models, on the same file system."""
    (store.home / "models").mkdir(parents=True, exist_ok=True)
    _remove(folder for folder in store.home.glob(f"{WORKPLACE}*") if _is_left(folder))
    home = Path(tempfile.mkdtemp(prefix=WORKPLACE, dir=store.home))
    try:
        (home / "models").symlink_to(store.home / "models")
        yield BentoHome(home)
    finally:
        _remove([home])


def _is_left(workplace: Path) -> bool:
    try:
        return workplace.stat().st_mtime < time.time() - LEFT_SECONDS
    except FileNotFoundError:  # its build has just ended
        return False


def _run(recipe: Recipe, tag: Tag, workplace: BentoHome) -> None:
    """Build in a process of its own: BentoML reads its home only once, and imports many modules of the services."""
    labels = {"version": tag.version, **_revision(recipe.root)}
    command = [sys.executable, "-c", _BUILD, str(recipe.file), tag.version, json.dumps(labels)]
    # Atelier's settings are for running: a Bento must not depend on them.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ATELIER_")}
    environment = {**inherited, "BENTOML_HOME": str(workplace.home), "BENTOML_DO_NOT_TRACK": "True"}
    try:
        done = subprocess.run(  # noqa: S603 - the command is this project's
            command,
            cwd=recipe.root,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=BUILD_TIMEOUT_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise BuildError(f"{tag} was not built within {BUILD_TIMEOUT_SECONDS} seconds") from None
    if done.returncode != 0 or not (workplace.folder(tag) / "bento.yaml").is_file():
        output = "\n".join((done.stdout + done.stderr).strip().splitlines()[-OUTPUT_LINES:])
        raise BuildError(f"{tag} cannot be built:\n{output}")


def _revision(root: Path) -> dict[str, str]:
    """Return the label with the commit of the files, and whether they have changed since; empty without git."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    if not (root / ".git").exists():  # a copy of the files: a repository further up is another one
        return {}
    try:
        description = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return {}
    return {"revision": description.stdout.strip()}


def _put(new: Path, target: Path, aside: Path) -> None:
    """Rename the Bento into the store, atomically; the previous one is removed with the workplace."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        target.rename(aside)
    new.rename(target)


def _remove(folders: Iterable[Path]) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)  # the models are a link, whose target stays
