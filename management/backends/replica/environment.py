"""The environment of a replica: what is on the allow-list, what it was deployed with, and where its own things lie."""

from __future__ import annotations

import os
from math import ceil
from pathlib import Path
from typing import Final

from machine.devices import VISIBLE_DEVICES, listed_gpus
from management.backends.base import Launch
from management.domain.records import LONGEST_TIMEOUT
from management.settings import Settings

MARKER: Final = "ATELIER_REPLICA_ID"
"""The variable by which a process, and all that it starts, is known to belong to a replica."""

PASSED: Final = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ")


def environment(launch: Launch, folder: Path, settings: Settings) -> dict[str, str]:
    """Nothing of the control plane's own environment but ``PASSED``: no secret of it is a model's business.

    There is no PROMETHEUS_MULTIPROC_DIR: files that are mapped from a disk which is full end the process by SIGBUS.
    """
    return {
        **{name: os.environ[name] for name in PASSED if name in os.environ},
        **for_model(launch),
        "HOME": str(folder),
        "TMPDIR": str(_made(folder / "tmp")),
        "BENTOML_HOME": str(settings.bentoml_home),
        VISIBLE_DEVICES: ",".join(device(gpu) for gpu in launch.gpus),
        MARKER: launch.replica_id,
    }


def for_model(launch: Launch) -> dict[str, str]:
    """What every replica is told, wherever it runs."""
    threads = str(max(1, ceil(launch.resources.cpu_millicores / 1000)))
    return {
        "ATELIER_REQUEST_SECONDS": str(LONGEST_TIMEOUT + 10),
        "ATELIER_DOCUMENT_SECONDS": str(LONGEST_TIMEOUT),
        "ATELIER_THREADS": threads,
        "OMP_NUM_THREADS": threads,
        **launch.environment,
        "BENTOML_DO_NOT_TRACK": "True",
        "PYTHONUNBUFFERED": "1",
    }


def device(gpu: int) -> str:
    """The CUDA name of the GPU of that number among those that the control plane may see."""
    names = listed_gpus() or []
    return names[gpu] if gpu < len(names) else str(gpu)


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True, mode=0o700)
    return folder
