"""Checks the arguments of ``make serve`` before anything is installed.

    python bin/check_serve.py HOST PORT MODEL_PATH [MODELS]

It runs before there is an environment, and needs nothing but Python's own library.
"""

from __future__ import annotations

import ipaddress
import os
import re
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Iterator  # noqa: UP035 - the next step, not a traceback here, reports an older Python

sys.path.insert(0, str(Path(__file__).parents[1]))
from runners import registry

HUB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?\Z")
MODELS = tuple(row.name for row in registry.MODELS)
WRONG = 2
HUB_SECONDS = 5.0
SILENT = (
    "HF_HUB_OFFLINE",
    "HF_HUB_CACHE",
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
)  # the hub is offline, cached, or needs a token


def problems(host: str, port: str, model_path: str, models: str = "") -> Iterator[str]:
    """Yield a sentence for each problem of the settings."""
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
    """Yield the problem of ``MODEL_PATH``, a folder with a checkpoint or a name on the Hugging Face Hub."""
    folder = Path(name)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            yield f"MODEL_PATH={name} is a folder without a checkpoint: it has no config.json"
    elif folder.exists():
        yield f"MODEL_PATH={name} is a file; it must be a checkpoint's folder or a name on the Hugging Face Hub"
    elif not HUB_NAME.match(name) or (folder.parent != Path() and folder.parent.is_dir()):
        yield f"MODEL_PATH={name} is neither a folder here nor a name on the Hugging Face Hub"
    elif (why := _missing(name)) is not None:
        yield f"MODEL_PATH={name} is no folder here, and the Hugging Face Hub {why}"


def _missing(name: str) -> str | None:
    """Return why the hub does not deliver a checkpoint that is not cached; None where it may, or is not queried."""
    cache = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    downloaded = cache / "hub" / f"models--{name.replace('/', '--')}"
    if any(os.environ.get(variable) for variable in SILENT) or downloaded.is_dir() or (cache / "token").exists():
        return None
    hub = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    if not hub.startswith(("https://", "http://")):
        return None
    request = urllib.request.Request(f"{hub}/{name}/resolve/main/config.json")  # noqa: S310 - see above
    try:
        with urllib.request.urlopen(request, timeout=HUB_SECONDS):  # noqa: S310
            return None
    except urllib.error.HTTPError as error:
        return "does not have it, or not for everybody" if error.code in (401, 404) else None
    except (OSError, ValueError):
        return "cannot be reached to download it"


if __name__ == "__main__":
    found = list(problems(*sys.argv[1:5]))
    for problem in found:
        sys.stderr.write(f"{problem}\n")
    sys.exit(WRONG if found else 0)
