"""The processes of a server's replicas, for tests that kill or stop them."""

from __future__ import annotations

import os
import random
import signal
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil

from management.backends.replica.environment import MARKER
from management.backends.replica.files import KEEPER
from tests.support.calls import status
from tests.support.management_servers import Management


def ready(api: httpx.Client, model_id: str = "echo") -> set[str]:
    """Return the ids of the ready replicas."""
    return {replica["replica_id"] for replica in details(api, model_id) if replica["state"] == "ready"}


def details(api: httpx.Client, model_id: str = "echo") -> list[dict[str, Any]]:
    replicas: list[dict[str, Any]] = status(api, model_id)["replica_details"]
    return replicas


def pid_of(home: Path, replica_id: str) -> int:
    return int((home / "replicas" / replica_id / "pid").read_text().split()[0])


def kill_one(server: Management, api: httpx.Client, chance: random.Random) -> str | None:
    """Kill a random ready replica and return its id; None without one, or if it has just ended."""
    serving = sorted(ready(api))
    if not serving:
        return None
    victim = chance.choice(serving)
    with suppress(OSError):
        os.kill(pid_of(server.home, victim), signal.SIGKILL)
        return victim
    return None


def processes(home: Path) -> Counter[str]:
    """Return the number of processes of each replica of that home; its keeper counts only without a host."""
    hosts, keepers = Counter[str](), Counter[str]()
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            environment = process.environ()
            own = Path(environment.get("HOME", "/")).is_relative_to(home / "replicas")
            if MARKER in environment and own and process.status() != psutil.STATUS_ZOMBIE:
                kind = keepers if any(KEEPER.name in part for part in process.cmdline()) else hosts
                kind[environment[MARKER]] += 1
    return hosts | keepers
