"""A virtual environment with the packages of a requirements file alone, made offline.

The packages are linked from the environment of the tests: the lock files agree on every version.
"""

from __future__ import annotations

import re
import sys
import venv
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

PINNED = re.compile(r"^[A-Za-z0-9][^\\#]*==[^\\#]*", re.MULTILINE)


def make(folder: Path, requirements: str) -> Path:
    """Create it and return its Python. Raises PackageNotFoundError when a pinned package is not installed here."""
    venv.EnvBuilder(symlinks=True).create(folder)
    site = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    for line in PINNED.findall(requirements):
        requirement = Requirement(line.strip())
        if requirement.marker is None or requirement.marker.evaluate():
            _link(requirement, site)
    return folder / "bin" / "python"


def _link(requirement: Requirement, site: Path) -> None:
    installed = distribution(requirement.name)
    if installed.version not in requirement.specifier:
        raise PackageNotFoundError(f"{requirement} is wanted, {installed.version} is installed")
    for file in installed.files or []:
        source = Path(str(installed.locate_file(file)))
        if ".." in file.parts or "__pycache__" in file.parts or not source.is_file():
            continue
        target = site / file
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            target.symlink_to(source.resolve())
