"""The Kubernetes cluster of the tests that are marked ``kubernetes``: built and started by ``.ci/kubernetes``."""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import psutil
import pytest

from tests.support.docker_engine import docker
from tests.support.servers import ROOT

SCRIPTS: Final = ROOT / ".ci" / "kubernetes"
FOLDER: Final = Path(os.environ.get("ATELIER_TESTS_KUBERNETES") or Path.home() / ".cache" / "atelier-kubernetes")
"""Folder of the cluster, as the scripts are given it."""
CALL_SECONDS: Final = 120
GIVE_SECONDS: Final = 600
MARKER: Final = "ATELIER_REPLICA_ID"


def require() -> None:
    """Skip the current test unless the cluster answers."""
    if problem := _problem():
        pytest.skip(problem)


@cache
def _problem() -> str:
    if not kubeconfig().is_file():
        return f"no Kubernetes cluster runs in {FOLDER}: make kubernetes starts one"
    try:
        script("status")
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        return f"the Kubernetes cluster in {FOLDER} does not answer: {error}"
    return ""


def kubeconfig() -> Path:
    """The administrator's credentials."""
    return FOLDER / "state" / "kubeconfig" / "admin"


def own_address() -> str:
    """The address of this machine at which Pods reach it: the API server's."""
    (server,) = re.findall(r"https://([0-9.]+):", kubeconfig().read_text())
    return str(server)


def script(name: str, *arguments: str, seconds: float = CALL_SECONDS) -> str:
    """Run a script of ``.ci/kubernetes`` on the cluster, and return its output. Raises CalledProcessError."""
    command = [str(SCRIPTS / name), str(FOLDER), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds).stdout


def kubectl(*arguments: str, text: str | None = None) -> str:
    """Run kubectl as the administrator, and return its output. Raises CalledProcessError."""
    command = [str(FOLDER / "bin" / "kubectl"), "--kubeconfig", str(kubeconfig()), *arguments]
    ran = subprocess.run(command, input=text, check=True, capture_output=True, text=True, timeout=CALL_SECONDS)
    return ran.stdout


def described(kind: str, *arguments: str) -> Any:
    """Return what kubectl has of objects, as the API's JSON."""
    return json.loads(kubectl("get", kind, *arguments, "--output", "json"))


def give(*images: str) -> None:
    """Give images of the Docker Engine to every node, unless they were given before."""
    archive = FOLDER / "state" / f"{'+'.join(images).translate(str.maketrans('/:', '__'))}.tar"
    if not archive.exists():
        made = archive.with_suffix(".part")
        docker("save", "--output", str(made), *images)
        complete = FOLDER / archive.name
        made.rename(complete)
        try:
            script("image", str(complete), seconds=GIVE_SECONDS)
        finally:
            complete.unlink()


def process_of(replica_id: str) -> psutil.Process:
    """Return the first process of a replica: those of nodes are processes of this machine."""
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARKER) == replica_id:
                return process
        except psutil.Error:
            continue
    raise LookupError(f"no process of {replica_id} runs")


@dataclass(frozen=True)
class Node:
    """A node of the cluster, by its number."""

    number: int

    @property
    def name(self) -> str:
        """Name in the cluster."""
        return f"node{self.number}"

    def kill(self) -> None:
        """Lose it, as by power failure."""
        script("node", str(self.number), "kill")

    def start(self) -> None:
        """Start it again; returns when it is ready."""
        script("node", str(self.number), "start")

    def cut(self) -> None:
        """Take its network cable out."""
        script("node", str(self.number), "cut")

    def heal(self) -> None:
        """Put it back."""
        script("node", str(self.number), "heal")
