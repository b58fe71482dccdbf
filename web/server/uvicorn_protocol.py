"""What every connection of our servers keeps to, beside what uvicorn does for it.

BentoML builds uvicorn's configuration itself, so the one way in is the name under which uvicorn looks up its HTTP
protocol class.
"""

from __future__ import annotations

import asyncio
import logging
import os
from importlib import import_module
from typing import Any

from web.server.crowd import TURNED_AWAY, Admission, Crowd, bound, raise_descriptors
from web.server.lingering import Lingering
from web.server.malformed import MalformedRequests
from web.server.slow_headers import HeaderDeadline
from web.server.slow_readers import WriteDeadline
from web.server.whole_answers import WholeAnswers
from web.settings import settings

logger = logging.getLogger(__name__)

TURNED_AWAY_SECONDS = 2.0
"""That a caller who was not let in has to send what is then dropped."""
BELIEVED = "FORWARDED_ALLOW_IPS"
"""uvicorn's variable for the addresses whose forwarding headers count; it takes loopback where there is none."""


class Connection(MalformedRequests, Lingering, Admission, WriteDeadline, WholeAnswers, HeaderDeadline):
    """Stands before uvicorn's class."""

    def waits(self) -> bool:
        """Whether no request is in work on it, and no answer on its way."""
        if self.leaves or self._outer.is_closing() or not self._awaits_headers():
            return False
        return not self._outer.get_write_buffer_size()

    def dismiss(self) -> None:
        """Closes it; who has had no answer yet, or has begun a request, gets one."""
        if getattr(self, "cycle", None) is None or self._header_bytes:
            self.turn_away(self._outer)
        else:
            self._outer.close()

    def turn_away(self, transport: Any) -> None:
        """Says that there is no room; what comes then is dropped, on so many connections as there is room for."""
        crowd = self.crowd
        self.linger_seconds = TURNED_AWAY_SECONDS
        self.speaks_last = crowd is not None and len(self.lingering) < crowd.most // 8
        transport.write(TURNED_AWAY)
        transport.close()


def limits(header_seconds: float, *, bounded: bool = True) -> dict[str, Any]:
    """What the class is configured with, from the settings; ``bounded`` unless our own front door alone connects."""
    raise_descriptors()
    most = min(settings().connections or bound(), bound())  # more would leave no descriptors to answer with
    return {
        "header_seconds": header_seconds,
        "write_seconds": settings().write_seconds,
        "crowd": Crowd(most, settings().connections_per_address or max(1, most * 3 // 4)) if bounded else None,
    }


def configure_connections(header_seconds: float, *, bounded: bool = True) -> None:
    """For every uvicorn server of this process that is configured after the call; the last call counts."""
    os.environ[BELIEVED] = settings().trusted_proxies
    try:
        auto = import_module("uvicorn.protocols.http.auto")
        found: type[asyncio.Protocol] = auto.AutoHTTPProtocol
    except (ImportError, AttributeError):
        logger.warning("this uvicorn keeps its protocol elsewhere: connections have no limits, answers leave in pieces")
        return
    bases = found.__bases__ if issubclass(found, Connection) else (Connection, found)
    auto.AutoHTTPProtocol = type("OurProtocol", bases, limits(header_seconds, bounded=bounded))  # type: ignore[attr-defined]
