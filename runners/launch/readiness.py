"""When does a server that was started answer?"""

from __future__ import annotations

import subprocess
import time
from enum import Enum, auto
from typing import Final

from runners.settings import settings
from web.server import ports

START_TIMEOUT_SECONDS: Final = 180
CHECKPOINT_START_TIMEOUT_SECONDS: Final = 1800
PROBE_INTERVAL_SECONDS: Final = 0.1
MODELS_ALONE_SECONDS: Final = 5.0
"""Seconds that the models answer and the management does not, after which the server counts as ready without it."""


class Ready(Enum):
    """The parts of a server that answer."""

    ALL = auto()
    MODELS = auto()
    """The models alone: the management beside them has no database that it can use."""


def start_timeout_seconds() -> float:
    """Return the most seconds of a start. A checkpoint may have gigabytes to load, and kernels to compile."""
    return START_TIMEOUT_SECONDS if settings().checkpoint is None else CHECKPOINT_START_TIMEOUT_SECONDS


def wait_until_ready(server: subprocess.Popen[bytes], host: object, port: int) -> Ready | None:
    """Return what answers; None when the server ends before, or is not ready in time."""
    deadline = time.monotonic() + start_timeout_seconds()
    alone_since: float | None = None
    while server.poll() is None and time.monotonic() < deadline:
        status, health = ports.health(ports.reached(str(host)), port)
        if status == 200:
            return Ready.ALL
        now = time.monotonic()
        alone_since = (alone_since or now) if health.get("model_loaded") is True else None
        if alone_since is not None and now - alone_since > MODELS_ALONE_SECONDS:
            return Ready.MODELS
        time.sleep(PROBE_INTERVAL_SECONDS)
    return None
