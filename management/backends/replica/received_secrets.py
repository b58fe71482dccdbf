"""The secrets of one replica, as its control plane gave them to it: read once, and wiped where they were read from.

A file of Docker Swarm alone is not wiped: it is in memory, read-only, and goes with its container.

It is run by path, in the replica's own process before the Bento is loaded, and imports nothing of this project. The
variables appear in the environment that the process and its children have, and not in the one that it was started with,
which others can read. The files are in a private folder in memory, which is removed when the process ends.
"""

from __future__ import annotations

import atexit
import base64
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, Final

MEMORY: Final = "/dev/shm"  # noqa: S108 - the folder in it is private, and has a random name
"""Folder whose files are kept in memory alone."""
FOLDER_VARIABLE: Final = "ATELIER_SECRETS"
"""Environment variable with the path of that folder."""


def prefix(replica_id: str) -> str:
    """Return the beginning of the name of a replica's folder."""
    return f"atelier-{replica_id}-"


def encoded(variables: Any, files: Any, paths: Any) -> bytes:
    """Return secrets in the form that ``receive`` reads."""
    texts = {path: base64.b64encode(content).decode() for path, content in files.items()}
    return json.dumps({"variables": dict(variables), "files": texts, "paths": dict(paths)}).encode()


def receive(source: int, replica_id: str, *, wipe: bool = True) -> None:
    """Read secrets from an open file, and put them into this process's environment and its folder.

    The file is wiped, unless its engine keeps it in memory, read-only, for as long as the container runs.
    """
    secrets = json.loads(_taken(source) if wipe else _read(source))
    os.environ.update(secrets["variables"])
    if secrets["files"]:
        folder = _made(replica_id)
        for path, text in secrets["files"].items():
            _write(folder / path, base64.b64decode(text))
        os.environ[FOLDER_VARIABLE] = str(folder)
        os.environ.update({name: str(folder / path) for name, path in secrets["paths"].items()})


def _taken(source: int) -> bytes:
    with open(source, "r+b", buffering=0) as file:
        file.seek(0)
        content = file.read()
        file.truncate(0)
    return content


def _read(source: int) -> bytes:
    with open(source, "rb") as file:
        return file.read()


def _made(replica_id: str) -> Path:
    """Return a new folder of mode 0700, in memory where there is such a place."""
    place = MEMORY if os.access(MEMORY, os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix=prefix(replica_id), dir=place))
    owner = os.getpid()
    atexit.register(lambda: _remove(folder, owner))
    return folder


def _remove(folder: Path, owner: int) -> None:
    if os.getpid() == owner:  # not at the end of a forked child
        shutil.rmtree(folder, ignore_errors=True)


def _write(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "wb") as out:
        out.write(content)
