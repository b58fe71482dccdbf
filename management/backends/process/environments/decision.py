"""Whether the server's own environment has what a Bento asks for: data in, an answer out."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from management.domain.bento import Bento

BENTOML: Final = "bentoml"
PINS: Final = ("==", "===", "~=")
"""Operators of a requirement that names the version which its author had."""
OLDEST_TREE: Final = (1, 4)
"""The oldest minor version of BentoML whose Bentos of several services can run."""
MAX_EXTRAS_DEPTH: Final = 5
"""Extras that lead to extras, which are followed."""
_HASH: Final = re.compile(r"\s--hash[= ]\S+")
_ARCHIVE: Final = re.compile(r"(^|/)bentoml-\d")
"""Path or URL of a wheel or an archive of BentoML."""
_COMMENT: Final = re.compile(r"(^|\s)#.*")


@dataclass(frozen=True)
class Installed:
    """An installed distribution."""

    version: str
    requires: tuple[str, ...] = ()
    """Its own requirements, with those of its extras."""


@dataclass(frozen=True)
class ServerEnvironment:
    """The environment in which this server runs."""

    python: str
    """Minor version of its Python."""
    installed: Mapping[str, Installed] = field(default_factory=dict)
    """Distributions by their normalized names."""

    @property
    def bentoml(self) -> str:
        """Version of its BentoML; empty without BentoML."""
        return self.installed[BENTOML].version if BENTOML in self.installed else ""


def server_environment() -> ServerEnvironment:
    """Return the environment of this process, as it is on disk."""
    installed: dict[str, Installed] = {}
    for distribution in metadata.distributions():
        if name := distribution.metadata["Name"]:
            entry = Installed(distribution.version, tuple(distribution.requires or ()))
            installed.setdefault(canonicalize_name(name), entry)  # the first on the path is imported
    return ServerEnvironment(f"{sys.version_info.major}.{sys.version_info.minor}", installed)


def disagreement(bento: Bento, server: ServerEnvironment) -> str | None:
    """Return the first thing that the Bento asks for and the server's environment lacks; None if it has everything."""
    if bento.python.version not in ("", server.python):
        return f"python {bento.python.version}"
    written = list(requirements(bento.python.requirements))
    if not _names_bentoml(written) and bento.bentoml_version:
        written.append(f"{BENTOML}=={bento.bentoml_version}")
    return next((line for line in written if not _agrees(line, server)), None)


def requirements(lines: Sequence[str]) -> Iterator[str]:
    """Yield the requirements of a file, without its options, comments and hashes."""
    text = "\n".join(_COMMENT.sub("", line) for line in lines).replace("\\\n", " ")
    for line in text.splitlines():
        requirement = _HASH.sub("", line).strip().rstrip("\\").strip()
        if requirement and (not requirement.startswith("-") or requirement.startswith(("-e", "-r", "--editable"))):
            yield requirement


def names_bentoml(lines: Sequence[str]) -> bool:
    """Return whether a file of requirements has BentoML among them."""
    return _names_bentoml(list(requirements(lines)))


def unmet_needs(bento: Bento) -> tuple[str, ...]:
    """Return what the Bento needs beside Python packages, which a process of this machine cannot be given."""
    needs = bento.python
    conda = ("conda",) if needs.conda else ()
    return (*conda, *needs.system_packages, *needs.commands)


def lacks_tree(bento: Bento) -> bool:
    """Return whether the Bento has several services, and was built by a BentoML that cannot serve them safely."""
    release = version_of(bento.bentoml_version)
    return len(bento.services) > 1 and release is not None and release.release[:2] < OLDEST_TREE


def _names_bentoml(written: Sequence[str]) -> bool:
    return any(_name(line) == BENTOML or _ARCHIVE.search(line) for line in written)


def _name(line: str) -> str:
    try:
        return canonicalize_name(Requirement(line).name)
    except InvalidRequirement:
        return ""


def _agrees(line: str, server: ServerEnvironment) -> bool:
    try:
        requirement = Requirement(line)
    except InvalidRequirement:  # a path, a URL or another file
        return False
    return _is_met(requirement, server, {"": ""}, MAX_EXTRAS_DEPTH)


def _is_met(requirement: Requirement, server: ServerEnvironment, extras: Mapping[str, str], depth: int) -> bool:
    if requirement.marker is not None and not any(requirement.marker.evaluate({"extra": extra}) for extra in extras):
        return True  # it is for another platform, or for an extra that is not asked for
    found = server.installed.get(canonicalize_name(requirement.name))
    if requirement.url is not None or found is None:
        return False
    return _fits(requirement, found) and _has_extras(requirement, found, server, depth)


def _fits(requirement: Requirement, found: Installed) -> bool:
    if requirement.specifier.contains(found.version, prereleases=True):
        return True
    if canonicalize_name(requirement.name) != BENTOML:
        return False
    named = [version_of(clause.version) for clause in requirement.specifier if clause.operator in PINS]
    have = version_of(found.version)
    return have is not None and any(version and version.release[:2] == have.release[:2] for version in named)


def _has_extras(requirement: Requirement, found: Installed, server: ServerEnvironment, depth: int) -> bool:
    if not requirement.extras:
        return True
    extras = dict.fromkeys(requirement.extras, "")
    return depth > 0 and all(_is_met(Requirement(line), server, extras, depth - 1) for line in found.requires)


def version_of(text: str) -> Version | None:
    """Return the version in the text; None where it is none."""
    try:
        return Version(text.removesuffix(".*"))
    except InvalidVersion:
        return None
