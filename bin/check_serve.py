"""Checks the arguments of ``make serve`` before anything is installed.

    python bin/check_serve.py HOST PORT MODEL_PATH [MODELS]

It runs before the environment exists, with Python's standard library alone.
"""

from __future__ import annotations

import ipaddress
import os
import re
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Iterator  # noqa: UP035 - the next step rejects an older Python, with a message

sys.path.insert(0, str(Path(__file__).parents[1]))
from runners import registry

HUB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?\Z")
MODELS = tuple(row.name for row in registry.MODELS)
WRONG_ARGUMENTS = 2
"""Exit status."""
HUB_TIMEOUT_SECONDS = 5.0
SKIP_HUB_VARIABLES = ("HF_HUB_OFFLINE", "HF_HUB_CACHE", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
"""Variables with which the hub is not queried: it is offline, cached, or needs a token."""


def problems(host: str, port: str, model_path: str, models: str = "") -> Iterator[str]:
    """Yield a sentence for each wrong argument."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        yield f"HOST={host} is not an IP address, such as 127.0.0.1 or 0.0.0.0"
    if not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
        yield f"PORT={port} is not a TCP port, which is 1 to 65535"
    for name in filter(None, map(str.strip, models.split(","))):
        if name not in MODELS:
            yield f"MODELS={models}: there is no model {name!r}; there are {', '.join(MODELS)}"
    if model_path:
        yield from _checkpoint(model_path)


def _checkpoint(name: str) -> Iterator[str]:
    """Yield the problem of a checkpoint: a folder without one, or a name that the hub does not have."""
    folder = Path(name)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            yield f"MODEL_PATH={name} is a folder without a checkpoint: it has no config.json"
    elif folder.exists():
        yield f"MODEL_PATH={name} is a file; it must be a checkpoint's folder or a name on the Hugging Face Hub"
    elif not HUB_NAME.match(name) or (folder.parent != Path() and folder.parent.is_dir()):
        yield f"MODEL_PATH={name} is neither a folder here nor a name on the Hugging Face Hub"
    elif (reason := _hub_problem(name)) is not None:
        yield f"MODEL_PATH={name} is no folder here, and the Hugging Face Hub {reason}"


def _hub_problem(name: str) -> str | None:
    """Return why a checkpoint cannot be downloaded; None if it is cached or found, or if the hub is not queried."""
    cache = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    downloaded = cache / "hub" / f"models--{name.replace('/', '--')}"
    if (
        any(os.environ.get(variable) for variable in SKIP_HUB_VARIABLES)
        or downloaded.is_dir()
        or (cache / "token").exists()
    ):
        return None
    hub = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    if not hub.startswith(("https://", "http://")):
        return None
    request = urllib.request.Request(f"{hub}/{name}/resolve/main/config.json")  # noqa: S310 - see above
    try:
        with urllib.request.urlopen(request, timeout=HUB_TIMEOUT_SECONDS):  # noqa: S310
            return None
    except urllib.error.HTTPError as error:
        return "does not have it, or not for everybody" if error.code in (401, 404) else None
    except (OSError, ValueError):
        return "cannot be reached to download it"


if __name__ == "__main__":
    found = list(problems(*sys.argv[1:5]))
    for problem in found:
        sys.stderr.write(f"{problem}\n")
    sys.exit(WRONG_ARGUMENTS if found else 0)
