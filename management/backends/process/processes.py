"""All processes of replicas, including those that they started: their usage, the ones left behind, and their end."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

from management.backends.launcher import (
    ReplicaUsage,
)
from management.backends.replica.environment import MARKER

GONE_SECONDS: Final = 2.0
"""Seconds to wait for killed processes to end; one that waits for a disk may take longer."""


def usage(hosts: Mapping[str, int]) -> dict[str, ReplicaUsage]:
    """Return each replica's usage by its id, descendants included; one walk over all processes serves every replica."""
    families: dict[int, list[psutil.Process]] = defaultdict(list)
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            families[process.ppid()].append(process)
    usages = {}
    for replica_id, pid in hosts.items():
        with suppress(psutil.Error):
            usages[replica_id] = _family_usage(psutil.Process(pid), families)
    return usages


def strays(home: Path) -> set[str]:
    """Return the ids of replicas with folders in ``home`` that have at least one process."""
    environments = (environment for environment in map(_environment, psutil.process_iter()) if MARKER in environment)
    return {
        environment[MARKER]
        for environment in environments
        if environment.get("HOME") == str(home / environment[MARKER])
    }


def _environment(process: psutil.Process) -> dict[str, str]:
    """Return the environment; empty when the process is gone, or belongs to another user."""
    try:
        return process.environ()
    except psutil.Error:
        return {}


def family(pid: int | None) -> list[psutil.Process]:
    """Return a replica's process with its present descendants; empty when it is gone."""
    if pid is None:
        return []
    with suppress(psutil.Error):
        host = psutil.Process(pid)
        return [host, *host.children(recursive=True)]
    return []


def sweep(replica_id: str, known: Iterable[psutil.Process] = ()) -> None:
    """Kill every process with the replica's id in its environment, their descendants, and the ``known`` ones.

    Descendants may have sessions of their own, and may have dropped the id from their environment.
    """
    marked = [process for process in psutil.process_iter() if _environment(process).get(MARKER) == replica_id]
    doomed = {*marked, *(child for parent in marked for child in _descendants(parent)), *known}
    for process in doomed:
        with suppress(psutil.Error):
            process.kill()  # psutil never kills another process that reuses the id
    deadline = time.monotonic() + GONE_SECONDS
    while any(map(_runs, doomed)) and time.monotonic() < deadline:
        time.sleep(0.005)


def _runs(process: psutil.Process) -> bool:
    """Return whether the process runs; a zombie has ended, and is left to its parent."""
    with suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _descendants(process: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.Error):
        return process.children(recursive=True)
    return []


def _family_usage(host: psutil.Process, families: Mapping[int, list[psutil.Process]]) -> ReplicaUsage:
    seconds, memory = 0.0, 0
    family = [host]
    for process in family:  # which grows by the children of each process
        family += families.get(process.pid, [])
        with suppress(psutil.Error):
            times = process.cpu_times()
            seconds += times.user + times.system
            memory += process.memory_info().rss
    return ReplicaUsage(seconds, memory)
