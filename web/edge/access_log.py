"""One JSON object a line for each request: who asked what, and how it went."""

from __future__ import annotations

import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Final

PROBES: Final = frozenset({"/livez", "/readyz", "/healthz", "/health", "/api/v1/health", "/metrics", "/api/v1/metrics"})
"""Asked every few seconds by machines: only their failures are worth a line."""

request_id: ContextVar[str] = ContextVar("request_id", default="-")
"""The id of the request that the running code works for, for any log line."""

logger = logging.getLogger("atelier.access")


def configure_access_log() -> None:
    """Sends the lines to standard output and nowhere else; a second call changes nothing."""
    logger.setLevel(logging.INFO)
    logger.propagate = False
    if not any(handler.get_name() == logger.name for handler in logger.handlers):
        handler = logging.StreamHandler(sys.stdout)
        handler.set_name(logger.name)
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)


def write(path: str, status: int, **fields: object) -> None:
    """One line; ASCII only, so that no path can start a line of its own or steer a terminal."""
    if path in PROBES and 200 <= status < 300:
        return
    entry = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "path": path, "status": status, **fields}
    logger.info("%s", json.dumps(entry, ensure_ascii=True))
