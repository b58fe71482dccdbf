"""The limits that every connection of the project's servers has in addition to uvicorn's.

BentoML builds uvicorn's configuration itself. The only way in is the name under which uvicorn looks up its HTTP
protocol class.
"""

from __future__ import annotations

import asyncio
import logging
import os
from importlib import import_module
from typing import Any

from web.server.crowd import OVERLOADED_RESPONSE, Admission, Crowd, bound, raise_descriptors
from web.server.lingering import Lingering
from web.server.malformed import MalformedRequests
from web.server.slow_headers import HeaderDeadline
from web.server.slow_readers import WriteDeadline
from web.server.whole_answers import WholeAnswers
from web.settings import settings

logger = logging.getLogger(__name__)

REFUSED_LINGER_SECONDS = 2.0
"""Seconds for which the input of a connection that was not admitted is read and dropped."""
WEBSOCKET_MESSAGES = 4
"""Messages of a websocket that are kept until the application reads them; each may have 16 MiB."""
TRUSTED_PROXIES_VARIABLE = "FORWARDED_ALLOW_IPS"
"""uvicorn's variable for the addresses whose forwarding headers it trusts; without it, uvicorn trusts loopback."""


class Connection(MalformedRequests, Lingering, Admission, WriteDeadline, WholeAnswers, HeaderDeadline):
    """The protocol that comes before uvicorn's class, with all limits."""

    config: Any

    def handle_websocket_upgrade(self, *event: Any) -> None:
        """Bound the memory of a websocket: few messages wait, and none is larger than what its caller has sent."""
        self.config.ws_max_queue = WEBSOCKET_MESSAGES
        self.config.ws_per_message_deflate = False
        super().handle_websocket_upgrade(*event)

    def waits(self) -> bool:
        """Return whether the connection is idle: no request in progress, and no response left to send."""
        if self.leaves or self._outer.is_closing() or not self._awaits_headers():
            return False
        return not self._outer.get_write_buffer_size()

    def dismiss(self) -> None:
        """Close the connection; answer 503 if it has had no response yet or has begun a request."""
        if getattr(self, "cycle", None) is None or self._header_bytes:
            self.turn_away(self._outer)
        else:
            self._outer.close()

    def turn_away(self, transport: Any) -> None:
        """Answer 503 and close; linger only while an eighth of the connections at most does."""
        crowd = self.crowd
        self.linger_seconds = REFUSED_LINGER_SECONDS
        self.speaks_last = crowd is not None and len(self.lingering) < crowd.limit // 8
        transport.write(OVERLOADED_RESPONSE)
        transport.close()


def limits(header_seconds: float, *, bounded: bool = True) -> dict[str, Any]:
    """Return the class attributes from the settings; not ``bounded`` if only the project's own front door connects."""
    raise_descriptors()
    limit = min(settings().connections or bound(), bound())  # the rest is for calls to models
    return {
        "header_seconds": header_seconds,
        "write_seconds": settings().write_seconds,
        "crowd": Crowd(limit, settings().connections_per_address or max(1, limit * 3 // 4)) if bounded else None,
    }


def configure_connections(header_seconds: float, *, bounded: bool = True) -> None:
    """Apply the limits to every uvicorn server of this process that is configured later; the last call counts."""
    os.environ[TRUSTED_PROXIES_VARIABLE] = settings().trusted_proxies
    try:
        auto = import_module("uvicorn.protocols.http.auto")
        original: type[asyncio.Protocol] = auto.AutoHTTPProtocol
    except (ImportError, AttributeError):
        logger.warning("uvicorn's HTTP protocol class was not found: connections have no limits")
        return
    bases = original.__bases__ if issubclass(original, Connection) else (Connection, original)
    auto.AutoHTTPProtocol = type("OurProtocol", bases, limits(header_seconds, bounded=bounded))  # type: ignore[attr-defined]
