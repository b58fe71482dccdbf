"""The environment of a replica: allowed variables, those of its deployment, and the paths of its own files."""

from __future__ import annotations

import os
from math import ceil
from pathlib import Path
from typing import Final

from machine.devices import VISIBLE_DEVICES, listed_gpus
from management.backends.launcher import Launch
from management.domain.records import LONGEST_TIMEOUT

MARKER: Final = "ATELIER_REPLICA_ID"
"""Environment variable that marks a process, and all that it starts, with the replica's id."""

PASSED_VARIABLES: Final = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ")
"""Variables of the control plane's environment that replicas inherit."""


def environment(launch: Launch, folder: Path, bentoml_home: Path) -> dict[str, str]:
    """Return the environment of a replica on this machine.

    Only ``PASSED_VARIABLES`` come from the control plane's own environment, so that no secret of it reaches a model.
    BENTOML_RESULT_STORE is a file of all replicas of a model, so that each of them knows every task.
    PROMETHEUS_MULTIPROC_DIR is not set: files mapped from a full disk would end the process with SIGBUS.
    """
    return {
        **{name: os.environ[name] for name in PASSED_VARIABLES if name in os.environ},
        **for_model(launch),
        "HOME": str(folder),
        "TMPDIR": str(_made(folder / "tmp")),
        "BENTOML_HOME": str(bentoml_home),
        "BENTOML_RESULT_STORE": str(_made(tasks_folder(folder.parent)) / f"{launch.model_id}.db"),
        VISIBLE_DEVICES: ",".join(device(gpu) for gpu in launch.gpus),
        MARKER: launch.replica_id,
    }


def tasks_folder(replicas: Path) -> Path:
    """Return the folder with the results of BentoML's tasks, beside that of the replicas."""
    return replicas.with_name("tasks")


def for_model(launch: Launch) -> dict[str, str]:
    """Return the variables of every replica, on any backend."""
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
    """Return CUDA's name of a GPU, by its number among those that the control plane may use."""
    names = listed_gpus() or []
    return names[gpu] if gpu < len(names) else str(gpu)


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True, mode=0o700)
    return folder
