"""Bentos that require what the server does not have, and can be installed without a network."""

from __future__ import annotations

import shutil
from importlib.metadata import version
from pathlib import Path

from tests.support.bentos.wheelhouse import bentoml_wheels, tiny_wheel
from tests.support.management_servers import echo_store
from tests.support.running.sharing import made_once

IMPORT = "import bentoml\n"


def tiny_bento(home: Path, name: str = "tiny", *, wheel: str = "1.0", wanted: str | None = None) -> str:
    """Put an echo Bento that requires the package ``tiny`` into a BentoML home, and return its image.

    ``wheel`` is the version that is to be had, ``wanted`` the one that is required.
    """
    folder = home / "bentos" / name / "1.0.0"
    shutil.copytree(made_once("echo", echo_store) / "bentos" / "echo" / "1.0.0", folder)
    tiny_wheel(folder / "env" / "python" / "wheels", wheel)
    description = folder / "bento.yaml"
    description.write_text(description.read_text().replace("name: echo\n", f"name: {name}\n", 1))
    service = folder / "src" / "echo_service.py"
    answers_tiny = (
        service.read_text()
        .replace(IMPORT, f"{IMPORT}import tiny\n")
        .replace('os.environ.get("ECHO_VERSION", "1")', "tiny.VERSION")
    )
    service.write_text(answers_tiny)
    require(folder, f"tiny=={wanted or wheel}", f"bentoml=={version('bentoml')}")
    return f"tests/{name}:1.0.0"


def require(folder: Path, *requirements: str) -> None:
    """Change the requirements of a Bento; all of them come from local wheels."""
    wheels = made_once("wheels", bentoml_wheels)
    python = folder / "env" / "python"
    python.mkdir(parents=True, exist_ok=True)
    lines = "\n".join(requirements) + "\n"
    (python / "requirements.in").write_text(lines)
    (python / "requirements.txt").write_text(f"--no-index\n--find-links {wheels}\n--find-links ./wheels\n{lines}")
