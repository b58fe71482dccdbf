"""All processes that belong to replicas, whoever started them: what they use, which are left behind, and their end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil

from management.backends.base import Usage
from management.backends.host_environment import MARKER


def usage(hosts: Mapping[str, int]) -> dict[str, Usage]:
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


def sweep(replica_id: str) -> None:
    """Ends every process that carries the replica's id: those of a tree have sessions of their own."""
    for process in psutil.process_iter():
        if _environment(process).get(MARKER) == replica_id:
            with suppress(psutil.Error):
                process.kill()


def _family_usage(host: psutil.Process, families: Mapping[int, list[psutil.Process]]) -> Usage:
    seconds, memory = 0.0, 0
    family = [host]
    for one in family:  # which grows by each one's children
        family += families.get(one.pid, [])
        with suppress(psutil.Error):
            times = one.cpu_times()
            seconds += times.user + times.system
            memory += one.memory_info().rss
    return Usage(seconds, memory)
