"""What an environment is made from: the files of its Bento, what is added to them, and the digest of all of it."""

from __future__ import annotations

import hashlib
import re
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from management.backends.process.environments import decision
from management.backends.process.environments.decision import BENTOML, ServerEnvironment
from management.domain.bento import Bento

PYTHON_FOLDER: Final = Path("env", "python")
LOCKS: Final = ("requirements.lock.txt", "requirements.txt", "requirements.in")
"""Files of requirements, the pinned ones first. BentoML 1.2 writes the first, 1.3 and 1.4 pin in the second."""
DIGEST_LENGTH: Final = 24
"""Hexadecimal digits of a digest."""
FORMAT: Final = "1"
"""Changed when the same files are made into another environment."""
OLD_BENTOML: Final = (
    # Until 1.4.20 it imports pkg_resources, which later setuptools do not have.
    (Version("1.4.20"), ("setuptools<82",)),
    # It imports modules that pydantic has since removed; each pydantic needs one pydantic-core.
    (Version("1.3"), ("pydantic==2.7.4", "pydantic-core==2.18.4")),
)
"""Versions of BentoML, and what all that came before them need instead of the newest, which locks may pin all the same.

The first of the requirements is what must be within its limits; the others go with it.
"""
_TRUSTED: Final = re.compile(r"\s*--trusted-host[= ]\s*(\S+)")


@dataclass(frozen=True)
class EnvironmentRecipe:
    """What one environment is made from."""

    digest: str
    python: str
    """Minor version of Python."""
    folder: Path
    """Folder at which relative paths in the requirements begin."""
    requirements: Path | None
    """File of requirements; None for a Bento without requirements."""
    wheels: tuple[Path, ...] = ()
    """Wheels that are installed beside the requirements."""
    added: tuple[str, ...] = ()
    """Requirements that the Bento does not name."""
    overrides: tuple[str, ...] = ()
    """What is installed in place of versions that the Bento's BentoML cannot run with."""
    locked_by_pip: bool = False
    """Whether pip pinned the requirements, which takes a version from any of several indexes."""
    insecure_hosts: tuple[str, ...] = ()
    """Hosts of package indexes whose certificates the Bento does not want checked."""


def recipe(bento: Bento, folder: Path, server: ServerEnvironment) -> EnvironmentRecipe:
    """Return the recipe for the Bento whose files are in the folder. Raises OSError."""
    files = folder / PYTHON_FOLDER
    requirements = next((files / name for name in LOCKS if (files / name).is_file()), None)
    lines = [] if requirements is None else requirements.read_text(encoding="utf-8", errors="replace").splitlines()
    base = folder / "src" if (folder / "src" / "wheels").is_dir() else files if files.is_dir() else folder
    python = bento.python.version or server.python
    wheels = tuple(sorted((files / "wheels").glob("*.whl")))
    added = () if decision.names_bentoml(lines) else (_bentoml(bento, server),)
    overrides = _overrides(bento.bentoml_version, list(decision.requirements(lines)))
    inputs = [*files.rglob("*"), *(folder / "src" / "wheels").glob("*")]
    digest = _digest([python, *added, *overrides], inputs, folder)
    hosts = tuple(found[1] for line in lines if (found := _TRUSTED.match(line)))
    by_pip = requirements is not None and requirements.name == LOCKS[0]
    return EnvironmentRecipe(digest, python, base, requirements, wheels, added, overrides, by_pip, hosts)


def _bentoml(bento: Bento, server: ServerEnvironment) -> str:
    version = bento.bentoml_version or server.bentoml
    return f"{BENTOML}=={version}" if version else BENTOML


def _overrides(bentoml_version: str, written: list[str]) -> tuple[str, ...]:
    if (version := decision.version_of(bentoml_version)) is None:
        return ()
    needs = [[Requirement(need) for need in needs] for before, needs in OLD_BENTOML if version < before]
    return tuple(str(need) for group in needs if not _is_pinned_within(group[0], written) for need in group)


def _is_pinned_within(limit: Requirement, written: list[str]) -> bool:
    """Return whether the requirements pin a version that is no newer than the limit."""
    newest = max(Version(clause.version) for clause in limit.specifier)
    for line in written:
        name, _, version = line.partition("==")
        pinned = decision.version_of(version.split(";")[0].strip())
        if pinned is not None and canonicalize_name(name) == limit.name and pinned <= newest:
            return True
    return False


def _digest(texts: list[str], files: list[Path], folder: Path) -> str:
    digest = hashlib.sha256()
    for text in (FORMAT, sysconfig.get_platform(), *texts):
        digest.update(text.encode() + b"\0")
    for file in sorted(file for file in files if file.is_file()):
        digest.update(f"{file.relative_to(folder).as_posix()}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()[:DIGEST_LENGTH]
