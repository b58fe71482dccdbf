"""This project's Bentos, from the build files beside their code into the store that replicas are started from.

Each file's label ``versions`` says under which exact versions it is built; without one, it is the project's own. A
Bento is built again only when a digest of all that it is made from has changed, and is renamed into the store whole:
nobody ever finds half of one there.
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

from management.domain.bento_tag import (
    Tag,
)

ROOT: Final = Path(__file__).parents[2]
BUILD_FILES: Final = ("bentofile.yaml", "runners/*/*bento.yaml")
"""Where the build files stand: that of every model, and one of each model in its folder."""
DIGEST: Final = "atelier.digest"
LOCK: Final = ".atelier.lock"
WORKPLACE: Final = ".build-"
LEFT_SECONDS: Final = 24 * 3600.0  # after which a workplace is that of a build which died
MOST_SECONDS: Final = 600  # that the build of one Bento may take
LINES_TOLD: Final = 15  # of what a failing build wrote
_WILD: Final = frozenset("*?[")
# By its function: the command line prints the ":satellite:" of a tag as a picture of one.
_BUILD: Final = """
import json, sys, bentoml
file, version, labels = sys.argv[1:]
bentoml.bentos.build_bentofile(file, version=version, labels=json.loads(labels), build_ctx='.')
"""


class BuildError(Exception):
    """A Bento cannot be built; the message says why, and what to do."""


@dataclass(frozen=True)
class Recipe:
    """A build file: what a Bento is made from, and the project's folder that its paths begin in."""

    root: Path
    file: Path
    name: str
    versions: tuple[str, ...]
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    models: tuple[str, ...]
    aside: tuple[Path, ...]
    """Files that decide as much, and are not included: what is installed, and how an image is made."""

    def tags(self, version: str | None = None) -> list[Tag]:
        """The Bentos that it makes: of its own versions, or of another one."""
        return [Tag(self.name, one) for one in ((version,) if version else self.versions)]


@dataclass(frozen=True)
class BentoHome:
    """A BentoML home."""

    home: Path

    def folder(self, tag: Tag) -> Path:
        """Where a Bento lies, or would lie."""
        return self.home / "bentos" / tag.name / tag.version

    def digest(self, tag: Tag) -> str | None:
        """Of what a Bento was made from; None where there is none of ours."""
        try:
            (self.folder(tag) / "bento.yaml").stat()
            return (self.folder(tag) / DIGEST).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            return None

    def model(self, name: str) -> str | None:
        """The exact tag of a model that a recipe names; None where the store has it not."""
        title, _, version = name.partition(":")
        folder = self.home / "models" / title
        try:
            exact = (folder / "latest").read_text().strip() if version in ("", "latest") else version
        except OSError:
            return None
        return f"{title}:{exact}" if (folder / exact / "model.yaml").is_file() else None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Alone among those that put Bentos into place."""
        with (self.home / LOCK).open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def recipes(root: Path = ROOT) -> list[Recipe]:
    """Those of the project, by name. Raises BuildError for a file that is none."""
    files = [file for pattern in BUILD_FILES for file in root.glob(pattern)]
    return sorted((_recipe(file, root) for file in files), key=lambda one: one.name)


def digest(recipe: Recipe, tag: Tag, store: BentoHome) -> str:
    """Of all that decides what is built: build file, its files, requirements, exact models, and the version.

    The commit is not among it: the same content is the same Bento.
    """
    files = [recipe.file, *_selected(recipe), *recipe.aside]
    told = hashlib.sha256(f"{tag}\n".encode())
    for model in recipe.models:
        told.update(f"{store.model(model)}\n".encode())
    for file in files:
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        told.update(f"{file.relative_to(recipe.root).as_posix()}\0{content}\n".encode())
    return told.hexdigest()


def build(recipe: Recipe, tag: Tag, store: BentoHome) -> bool:
    """Builds a Bento unless it is up to date, and says whether it did. Raises BuildError."""
    missing = [one for one in recipe.models if store.model(one) is None]
    if missing:
        raise BuildError(f"{tag} needs {', '.join(missing)}, which the model store has not: make models")
    wanted = digest(recipe, tag, store)
    if store.digest(tag) == wanted:
        return False
    with _workplace(store) as place:
        _run(recipe, tag, place)
        (place.folder(tag) / DIGEST).write_text(wanted + "\n", encoding="ascii")
        place.folder(tag).chmod(0o755)  # from its owner's alone: in a container that it is mounted in, that is another
        with store.locked():
            _put(place.folder(tag), store.folder(tag), place.home / "old")
    return True


def _recipe(file: Path, root: Path) -> Recipe:
    try:
        told: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
        aside = told.get("python", {}).get("requirements_txt"), told.get("docker", {}).get("dockerfile_template")
        return Recipe(
            root,
            file,
            told["name"],
            tuple(str(told["labels"].get("versions") or _own_version(root)).split()),
            tuple(told["include"]),
            tuple(told.get("exclude", ())),
            tuple(told.get("models", ())),
            tuple(root / one for one in aside if one),
        )
    except (KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise BuildError(f"{file} does not say what a Bento needs: {error}") from error


def _own_version(root: Path) -> str:
    with (root / "pyproject.toml").open("rb") as file:
        return str(tomllib.load(file)["project"]["version"])


def _selected(recipe: Recipe) -> list[Path]:
    """The files that BentoML would take, found without a walk through everything that lies beside them."""
    included, excluded = (PathSpec.from_lines("gitwildmatch", one) for one in (recipe.include, recipe.exclude))
    found = {
        file
        for start in {_start(pattern) for pattern in recipe.include}
        for file in _files(recipe.root / start)
        if included.match_file(name := file.relative_to(recipe.root).as_posix()) and not excluded.match_file(name)
    }
    return sorted(found)


def _start(pattern: str) -> str:
    """The folder that a pattern's matches lie in: its parts before the first wildcard, if it has any in a folder."""
    parts = pattern.strip("/").split("/")
    plain = next((number for number, part in enumerate(parts) if _WILD & set(part)), len(parts) - 1)
    return "/".join(parts[:plain])


def _files(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = [one for one in folders if one != "__pycache__" and not one.startswith(".")]
        yield from (Path(place) / name for name in names)


@contextmanager
def _workplace(store: BentoHome) -> Iterator[BentoHome]:
    """A BentoML home with the same models, on the same file system, for as long as the block runs."""
    (store.home / "models").mkdir(parents=True, exist_ok=True)
    _remove(one for one in store.home.glob(f"{WORKPLACE}*") if _is_left(one))
    home = Path(tempfile.mkdtemp(prefix=WORKPLACE, dir=store.home))
    try:
        (home / "models").symlink_to(store.home / "models")
        yield BentoHome(home)
    finally:
        _remove([home])


def _is_left(workplace: Path) -> bool:
    try:
        return workplace.stat().st_mtime < time.time() - LEFT_SECONDS
    except FileNotFoundError:  # its build ends just now
        return False


def _run(recipe: Recipe, tag: Tag, place: BentoHome) -> None:
    """In a process of its own: BentoML reads its home once, and the services' modules are many."""
    labels = {"version": tag.version, **_revision(recipe.root)}
    command = [sys.executable, "-c", _BUILD, str(recipe.file), tag.version, json.dumps(labels)]
    # Our settings are for running: what is built must not depend on them.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ATELIER_")}
    environment = {**inherited, "BENTOML_HOME": str(place.home), "BENTOML_DO_NOT_TRACK": "True"}
    try:
        done = subprocess.run(  # noqa: S603 - what it runs is ours
            command, cwd=recipe.root, env=environment, capture_output=True, text=True, check=False, timeout=MOST_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise BuildError(f"{tag} was not built within {MOST_SECONDS} seconds") from None
    if done.returncode != 0 or not (place.folder(tag) / "bento.yaml").is_file():
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-LINES_TOLD:])
        raise BuildError(f"{tag} cannot be built:\n{said}")


def _revision(root: Path) -> dict[str, str]:
    """The label that says which commit's files these are, and whether they were changed since; none without git."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    if not (root / ".git").exists():  # a copy of the files; a repository further up is not theirs
        return {}
    try:
        told = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return {}
    return {"revision": told.stdout.strip()}


def _put(new: Path, target: Path, aside: Path) -> None:
    """By renaming, so that it is there whole or not at all; what was there before goes with the workplace."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        target.rename(aside)
    new.rename(target)


def _remove(folders: Iterable[Path]) -> None:
    for one in folders:
        shutil.rmtree(one, ignore_errors=True)  # the models are a link, which stays what it points to
