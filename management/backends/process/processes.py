"""All processes that belong to replicas, whoever started them: what they use, which are left behind, and their end."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

from management.backends.base import (
    ReplicaUsage,
)
from management.backends.replica.environment import MARKER

GONE_SECONDS: Final = 2.0
"""That a killed process has to be gone; the system does not end some that wait for a disk."""


def usage(hosts: Mapping[str, int]) -> dict[str, ReplicaUsage]:
    """What each replica uses, by its id, with all that its host started; one walk finds everybody's children."""
    families: dict[int, list[psutil.Process]] = defaultdict(list)
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            families[process.ppid()].append(process)
    used = {}
    for replica_id, pid in hosts.items():
        with suppress(psutil.Error):
            used[replica_id] = _family_usage(psutil.Process(pid), families)
    return used


def strays(home: Path) -> set[str]:
    """The ids of replicas with their folders in ``home`` to which any process belongs."""
    marked = map(_environment, psutil.process_iter())
    return {one[MARKER] for one in marked if MARKER in one and one.get("HOME") == str(home / one[MARKER])}


def _environment(process: psutil.Process) -> dict[str, str]:
    """Empty of one that is gone, or not ours to look at."""
    try:
        return process.environ()
    except psutil.Error:
        return {}


def family(pid: int | None) -> list[psutil.Process]:
    """A replica's process with all that descend from it now; none of one that is gone."""
    if pid is None:
        return []
    with suppress(psutil.Error):
        host = psutil.Process(pid)
        return [host, *host.children(recursive=True)]
    return []


def sweep(replica_id: str, known: Iterable[psutil.Process] = ()) -> None:
    """Ends every process that carries the replica's id, what descends from them, and those that were ``known`` before.

    Those of a tree have sessions of their own, and may have dropped the id with their environment.
    """
    marked = [one for one in psutil.process_iter() if _environment(one).get(MARKER) == replica_id]
    swept = {*marked, *(one for each in marked for one in _descendants(each)), *known}
    for process in swept:
        with suppress(psutil.Error):
            process.kill()  # never another one that got the same id since
    deadline = time.monotonic() + GONE_SECONDS
    while any(map(_runs, swept)) and time.monotonic() < deadline:
        time.sleep(0.005)


def _runs(process: psutil.Process) -> bool:
    """Not one that has ended: it is reaped by whoever began it."""
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
    for one in family:  # which grows by each one's children
        family += families.get(one.pid, [])
        with suppress(psutil.Error):
            times = one.cpu_times()
            seconds += times.user + times.system
            memory += one.memory_info().rss
    return ReplicaUsage(seconds, memory)
