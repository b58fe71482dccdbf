"""The replicas' processes of a server, as a test that ends or stops them sees them."""

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
    """The ids of the replicas that requests are sent to."""
    return {one["replica_id"] for one in details(api, model_id) if one["state"] == "ready"}


def details(api: httpx.Client, model_id: str = "echo") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = status(api, model_id)["replica_details"]
    return found


def pid_of(home: Path, replica_id: str) -> int:
    return int((home / "replicas" / replica_id / "pid").read_text().split()[0])


def kill_one(server: Management, api: httpx.Client, chance: random.Random) -> str | None:
    """Kills a random replica that serves, and returns its id; None when there is none, or it has just ended."""
    serving = sorted(ready(api))
    if not serving:
        return None
    victim = chance.choice(serving)
    with suppress(OSError):
        os.kill(pid_of(server.home, victim), signal.SIGKILL)
        return victim
    return None


def processes(home: Path) -> Counter[str]:
    """How many processes carry each replica's id, of the replicas of that home; its keeper does not count beside it."""
    hosts, keepers = Counter[str](), Counter[str]()
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            environment = process.environ()
            own = Path(environment.get("HOME", "/")).is_relative_to(home / "replicas")
            if MARKER in environment and own and process.status() != psutil.STATUS_ZOMBIE:
                kind = keepers if any(KEEPER.name in part for part in process.cmdline()) else hosts
                kind[environment[MARKER]] += 1
    return hosts | keepers
