"""The access log: one JSON object per line for each request, with client, path, status and duration."""

from __future__ import annotations

import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Final

PROBES: Final = frozenset({"/livez", "/readyz", "/healthz", "/health", "/api/v1/health", "/metrics", "/api/v1/metrics"})
"""Paths that monitoring requests every few seconds; only their failures are logged."""

request_id: ContextVar[str] = ContextVar("request_id", default="-")
"""The id of the request that the running code serves, for any log line."""

logger = logging.getLogger("atelier.access")


def configure_access_log() -> None:
    """Send the access log to standard output only. A second call changes nothing."""
    logger.setLevel(logging.INFO)
    logger.propagate = False
    if not any(handler.get_name() == logger.name for handler in logger.handlers):
        handler = logging.StreamHandler(sys.stdout)
        handler.set_name(logger.name)
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)


def write(path: str, status: int, **fields: object) -> None:
    """Write one line, in ASCII only, so that no path can forge a line or control a terminal."""
    if path in PROBES and 200 <= status < 300:
        return
    entry = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "path": path, "status": status, **fields}
    logger.info("%s", json.dumps(entry, ensure_ascii=True))
