"""Secrets: named values that replicas receive as environment variables and files.

Everything of a secret may be shown but its values. They are encrypted before they reach the database, and no
representation of an object shows them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

NAME: Final = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
"""Form of a secret's name: a DNS label."""
FOLDER_VARIABLE: Final = "ATELIER_SECRETS"
"""Environment variable of a replica with the folder of its files; the files of secret ``NAME`` are in its ``NAME/``."""
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z", re.ASCII)
_FILE: Final = re.compile(
    r"(?!\.{1,2}(/|\Z))[A-Za-z0-9._-]{1,64}(/(?!\.{1,2}(/|\Z))[A-Za-z0-9._-]{1,64}){0,3}\Z", re.ASCII
)


@dataclass(frozen=True)
class SecretContent:
    """The values of one secret, or of all secrets of a replica together."""

    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Values of environment variables, by name."""
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """Contents of files, by relative path."""
    paths: Mapping[str, str] = field(default_factory=dict)
    """Environment variables that hold the path of a file: its key in ``files``, by the variable's name."""

    def __bool__(self) -> bool:
        return bool(self.variables or self.files)


NO_SECRETS: Final = SecretContent()
"""The content of no secret."""


@dataclass(frozen=True)
class Secret:
    """A stored secret; only ``sealed`` holds its values."""

    name: str
    version: str
    """Id of its content; each change of the content makes a new one."""
    variables: tuple[str, ...]
    """Names of its environment variables."""
    files: tuple[str, ...]
    """Relative paths of its files."""
    paths: Mapping[str, str]
    sealed: bytes = field(repr=False)
    """The encrypted content."""
    created_at: datetime
    updated_at: datetime
    description: str = ""
    """What it is for; no part of its content."""


@dataclass(frozen=True)
class SecretReference:
    """A deployment's use of a secret."""

    name: str
    version: str = ""
    """The secret's version when the deployment named it; a later version makes another revision."""


def is_name(text: str) -> bool:
    """Return whether the text is a well-formed name of a secret."""
    return _NAME.match(text) is not None


def is_file(text: str) -> bool:
    """Return whether the text is a relative path of at most four parts, without ``.`` and ``..``."""
    return _FILE.match(text) is not None


def colliding_file(files: Iterable[str]) -> str | None:
    """Return a path that is a folder of another path; None where there is none."""
    paths = set(files)
    return next((path for path in sorted(paths) if any(other.startswith(f"{path}/") for other in paths)), None)


def together(secrets: Iterable[tuple[str, SecretContent]]) -> SecretContent:
    """Return the content of several secrets by name; of two values of one variable, the later one counts."""
    variables: dict[str, str] = {}
    files: dict[str, bytes] = {}
    paths: dict[str, str] = {}
    for name, content in secrets:
        for variable in content.variables:
            paths.pop(variable, None)
        for variable in content.paths:
            variables.pop(variable, None)
        variables |= content.variables
        files |= {f"{name}/{path}": data for path, data in content.files.items()}
        paths |= {variable: f"{name}/{path}" for variable, path in content.paths.items()}
    return SecretContent(variables, files, paths)
