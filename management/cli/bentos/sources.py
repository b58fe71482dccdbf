"""Where a Bento comes from: the folder of its service, an archive, or the caller's own Bento store."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from management.cli._terminal import COMMAND, clean
from management.cli.errors import Failed

BUILD_FILES: Final = ("bentofile.yaml", "bentofile.yml", "pyproject.toml", "service.py")
"""Files of which a folder that BentoML builds has any."""
SHOWN_LINES: Final = 15
"""Last lines of a failed command's output in its error."""
_TAG: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}(:[A-Za-z0-9][A-Za-z0-9._-]{0,62})?\Z", re.ASCII)
_BUILT: Final = re.compile(r"^__tag__:([a-z0-9._-]+:[a-z0-9._-]+)$", re.MULTILINE)
_CONFIGURATIONS: Final = (".json", ".yaml", ".yml")


class Kind(Enum):
    """What a Bento is given as."""

    FOLDER = auto()
    ARCHIVE = auto()
    TAG = auto()


@dataclass(frozen=True)
class Source:
    """What a Bento is given as, and which."""

    kind: Kind
    text: str


def source_of(text: str) -> Source | None:
    """Return what the text names: a folder, an archive or a tag; None for anything else, such as a configuration."""
    path = Path(text)
    if path.is_dir():
        return Source(Kind.FOLDER, text)
    if path.is_file():
        return Source(Kind.ARCHIVE, text) if _is_archive(path) else None
    return Source(Kind.TAG, text) if _TAG.match(text) and not text.endswith(_CONFIGURATIONS) else None


def built(folder: str, version: str | None) -> str:
    """Build the folder's Bento into the caller's store, and return its tag. Raises Failed."""
    if not any((Path(folder) / name).is_file() for name in BUILD_FILES):
        raise Failed(f"{clean(folder)} has none of {', '.join(BUILD_FILES)}: nothing to build a Bento from")
    output = _bentoml("build", ".", "-o", "tag", *(["--version", version] if version else []), at=folder)
    if (tag := _BUILT.search(output)) is None:
        raise Failed("bentoml build did not say which Bento it built; push it by its tag")
    return tag[1]


def exact(tag: str) -> str:
    """Return the tag with its version: the latest in the caller's store where it names none. Raises Failed."""
    name, _, version = tag.lower().partition(":")
    if version in ("", "latest"):
        try:
            version = (own_home() / "bentos" / name / "latest").read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            raise Failed(f"{clean(name)} is not in the Bento store {own_home()}; bentoml list shows what is") from None
    if not (folder_of(f"{name}:{version}") / "bento.yaml").is_file():
        raise Failed(f"{clean(name)}:{clean(version)} is not in the Bento store {own_home()}; bentoml list shows all")
    return f"{name}:{version}"


def own_tags() -> list[str]:
    """Return the tags in the caller's store, sorted."""
    files = (own_home() / "bentos").glob("*/*/bento.yaml")
    return sorted(f"{file.parent.parent.name}:{file.parent.name}" for file in files)


def own_home() -> Path:
    """Return the BentoML home of the caller: BENTOML_HOME, or BentoML's default."""
    return Path(os.environ.get("BENTOML_HOME") or Path.home() / "bentoml")


def folder_of(tag: str) -> Path:
    """Return the folder of a Bento in the caller's store."""
    name, _, version = tag.partition(":")
    return own_home() / "bentos" / name / version


@contextmanager
def exported(tag: str) -> Iterator[Path]:
    """Export a Bento with its models into a temporary archive. Raises Failed."""
    with TemporaryDirectory(prefix="atelier-push-") as folder:
        # Without compression, which takes longer than most networks: weights hardly shrink.
        archive = Path(folder) / "bento.tar"
        _bentoml("export", tag, str(archive))
        yield archive


def _is_archive(path: Path) -> bool:
    try:
        return tarfile.is_tarfile(path) or zipfile.is_zipfile(path)
    except OSError:
        return False


def _bentoml(*arguments: str, at: str = ".") -> str:
    """Run the caller's own bentoml in a folder, and return its output. Raises Failed.

    bentoml builds from no file outside the folder that it runs in.
    """
    command = [_executable(), *arguments]
    environment = {**os.environ, "BENTOML_DO_NOT_TRACK": "True", "BENTOML_HOME": str(own_home().absolute())}
    try:
        done = subprocess.run(  # noqa: S603
            command, cwd=at, env=environment, capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise Failed(f"{command[0]} cannot be run: {error.strerror}") from None
    if done.returncode != 0:
        lines = (done.stdout + done.stderr).strip().splitlines()[-SHOWN_LINES:]
        raise Failed("\n".join([f"bentoml {arguments[0]} failed:", *map(clean, lines)]))
    return done.stdout


def _executable() -> str:
    """Return the bentoml on PATH, or the one beside this interpreter. Raises Failed."""
    found = shutil.which("bentoml") or shutil.which("bentoml", path=str(Path(sys.executable).parent))
    if found is None:
        raise Failed(f"bentoml is not installed here: pip install bentoml, or give {COMMAND} push an archive")
    return str(Path(found).absolute())
