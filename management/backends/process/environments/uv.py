"""How ``uv`` is run: its program, the variables that reach it, and its commands."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from management.backends.process.environments.decision import ServerEnvironment
from management.backends.process.environments.recipe import EnvironmentRecipe

PASSED_VARIABLES: Final = (
    *("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "UV_NO_INDEX"),
    *("UV_INDEX_STRATEGY", "UV_INSECURE_HOST", "UV_HTTP_TIMEOUT", "UV_LINK_MODE", "UV_PYTHON_INSTALL_MIRROR"),
)
"""Variables of the server's environment that ``uv`` gets; what it builds sees them, too."""
FROM_PIP: Final = {
    "PIP_INDEX_URL": "UV_DEFAULT_INDEX",
    "PIP_EXTRA_INDEX_URL": "UV_EXTRA_INDEX_URL",
    "PIP_FIND_LINKS": "UV_FIND_LINKS",
    "PIP_CERT": "SSL_CERT_FILE",
}
"""Variables of pip that ``uv`` does not read, and those that it reads in their place."""
EXTRAS_ARE_LISTS: Final = "UV_FIND_LINKS"
"""The variable whose entries ``uv`` separates by commas, and pip by spaces."""


class UvMissing(Exception):
    """The program ``uv`` is not installed beside the server."""


def program() -> str:
    """Return the path of the program. Raises UvMissing."""
    try:
        import uv

        return uv.find_uv_bin()
    except (ImportError, FileNotFoundError):
        raise UvMissing from None


def environment(home: Path, *, python_downloads: bool, own: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the variables of ``uv``, whose cache is in ``home``; ``own`` are those of the server."""
    given = dict(os.environ if own is None else own)
    from_pip = {uv: given[pip] for pip, uv in FROM_PIP.items() if pip in given}
    if EXTRAS_ARE_LISTS in from_pip:
        from_pip[EXTRAS_ARE_LISTS] = ",".join(from_pip[EXTRAS_ARE_LISTS].split())
    return {
        **from_pip,
        **{name: given[name] for name in PASSED_VARIABLES if name in given},
        "HOME": str(home),
        "TMPDIR": str(home / "tmp"),
        "UV_CACHE_DIR": str(home / "cache"),
        "UV_PYTHON_INSTALL_DIR": str(home / "python"),
        "UV_PYTHON_DOWNLOADS": "automatic" if python_downloads else "never",
        "UV_NO_CONFIG": "1",  # a Bento's folder may have a file with settings for uv
        "UV_NO_PROGRESS": "1",
        "BENTOML_DO_NOT_TRACK": "True",
        "BENTOML_HOME": str(home / "tmp" / "bentoml"),
    }


def interpreter(python: str, server: ServerEnvironment) -> str:
    """Return what ``uv`` makes the environment with: the server's own Python where that is the wanted one."""
    return sys.executable if python == server.python else python


def make_venv(uv: str, python: str, target: Path) -> list[str]:
    """Return the command that makes an empty environment, which can be renamed."""
    return [uv, "venv", "--relocatable", "--no-project", "--python", python, str(target)]


def install(uv: str, recipe: EnvironmentRecipe, target: Path, overrides: Path) -> list[str]:
    """Return the command that installs what the recipe says."""
    command = [uv, "pip", "install", "--compile-bytecode", "--python", str(target / "bin" / "python")]
    return [*command, *_wanted(recipe, overrides), *map(str, recipe.wheels)]


def resolve(uv: str, recipe: EnvironmentRecipe, python: str, target: Path, overrides: Path) -> list[str]:
    """Return the command that installs nothing, and fails where the requirements do not resolve."""
    command = [uv, "pip", "install", "--dry-run", "--target", str(target), "--python", python]
    return [*command, *_wanted(recipe, overrides), *map(str, recipe.wheels)]


def find(uv: str, python: str) -> list[str]:
    """Return the command that fails where the Python is not to be had."""
    return [uv, "python", "find", "--no-project", python]


def hidden_paths(home: Path, folder: Path) -> dict[str, str]:
    """Return the paths of this machine that logs do not show, the longest first, each with what they show instead."""
    paths = {str(home): "ENVIRONMENTS", str(folder): "BENTO", sys.prefix: "SERVER", sys.base_prefix: "PYTHON"}
    return {path: paths[path] for path in sorted(paths, key=len, reverse=True)}


def write_overrides(folder: Path, recipe: EnvironmentRecipe) -> Path:
    """Write the overrides of the recipe into a file in the folder, and return its path."""
    file = folder / f"{recipe.digest}.overrides"
    file.write_text("\n".join(recipe.overrides))
    return file


def clean(uv: str) -> list[str]:
    """Return the command that empties the cache, once no other uv uses it."""
    return [uv, "cache", "clean"]


def freeze(uv: str, target: Path) -> list[str]:
    """Return the command that lists what is installed."""
    return [uv, "pip", "freeze", "--python", str(target / "bin" / "python")]


def _wanted(recipe: EnvironmentRecipe, overrides: Path) -> list[str]:
    written = [] if recipe.requirements is None else ["--requirements", str(recipe.requirements)]
    replaced = ["--overrides", str(overrides)] if recipe.overrides else []
    order = ["--index-strategy", "unsafe-best-match"] if recipe.locked_by_pip else []
    links = ["--find-links", str(recipe.wheels[0].parent)] if recipe.wheels else []
    hosts = [f"--allow-insecure-host={host}" for host in recipe.insecure_hosts]
    return [*written, *replaced, *order, *links, *hosts, *recipe.added]
