"""The Bentos of the gallery: how each is built, and a request that is repeated while its replicas change."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.e2e.gallery.readmes import EXAMPLES
from tests.support.running.sharing import made_once

VERSION: Final = "1.0.0"


@dataclass(frozen=True)
class Listed:
    """A Bento of the gallery."""

    name: str
    path: str
    """Path of a request that can be repeated for ever."""
    json: Mapping[str, Any] | None = None
    """Body of that request, if it has one in JSON."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Files of that request, by argument, relative to the Bento's folder."""
    own_environment: bool = False
    """Whether its requirements are not those of the server."""
    built_with: tuple[str, ...] = ()
    """Requirements without which it cannot be built; empty where the server's environment builds it."""
    needs: tuple[str, ...] = ()
    """Packages that its page's Python needs beside BentoML."""

    @property
    def folder(self) -> Path:
        """Its source."""
        return EXAMPLES / "bentos" / self.name


GALLERY: Final = (
    Listed("hello", "/greet", {"name": "Ada"}),
    Listed("stream", "/count", {"to": 3, "pause": 0.01}),
    Listed("thumbnail", "/shrink", files={"image": "../../sea.jpg"}),
    Listed("report", "/describe", files={"table": "stations.csv"}),
    Listed("task", "/primes/submit", {"below": 1000}),
    Listed("batch", "/embed", {"texts": ["one", "two"]}),
    Listed("pair", "/rank", {"text": "more and more"}),
    Listed("fastapi", "/notes/openapi.json"),
    Listed("socket", "/say", {"text": "live"}),
    Listed("stored", "/guess", {"text": "The cat is on the table"}),
    Listed("iris", "/classify", {"flowers": [[5.1, 3.5, 1.4, 0.2]]}, own_environment=True),
    Listed("numpy-1", "/compute", {"values": [2, 3]}, own_environment=True),
    Listed("numpy-2", "/compute", {"values": [3, 4]}, own_environment=True),
    Listed("gradio", "/count", {"text": "a"}, own_environment=True, built_with=("bentoml==1.4.39", "gradio==5.50.0")),
    Listed("legacy", "/join", {"words": ["a"]}, own_environment=True, built_with=("bentoml==1.3.22", "setuptools<81")),
    Listed("smollm", "/complete", {"prompt": "A", "max_tokens": 2}, own_environment=True, needs=("openai",)),
)


def built(listed: Listed) -> Path:
    """Return a BentoML home with the Bento and its models, which is made once a test run."""
    return made_once(f"gallery-{listed.name}", lambda home: _build(listed, home))


def _build(listed: Listed, home: Path) -> None:
    home.mkdir()
    with tempfile.TemporaryDirectory() as sources:
        folder = Path(sources, listed.name)
        shutil.copytree(listed.folder, folder)
        if (folder / "make_model.py").is_file():
            _run([sys.executable, "make_model.py"], folder, home)
        _run([*_bentoml(listed.built_with), "build", "--version", VERSION], folder, home)


def _bentoml(requirements: Iterable[str]) -> list[str]:
    """Return the command of BentoML in this environment, or in one that has the requirements."""
    chosen = [part for requirement in requirements for part in ("--with", requirement)]
    if not chosen:
        return [sys.executable, "-m", "bentoml"]
    interpreter = f"{sys.version_info.major}.{sys.version_info.minor}"
    return [sys.executable, "-m", "uv", "run", "--quiet", "--no-project", "--python", interpreter, *chosen, "bentoml"]


def _run(command: list[str], folder: Path, home: Path) -> None:
    environment = {**os.environ, "BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True"}
    done = subprocess.run(command, check=False, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{folder.name}: {done.stdout[-2000:]}\n{done.stderr[-2000:]}"
