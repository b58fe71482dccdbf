"""What every connection of our servers keeps to, beside what uvicorn does for it.

BentoML builds uvicorn's configuration itself, so the one way in is the name under which uvicorn looks up its HTTP
protocol class.
"""

from __future__ import annotations

import asyncio
import logging
from importlib import import_module

from web.slow_headers import HeaderDeadline
from web.whole_answers import WholeAnswers

logger = logging.getLogger(__name__)


class Connection(WholeAnswers, HeaderDeadline):
    """Stands before uvicorn's class."""


def configure_connections(header_seconds: float) -> None:
    """For every uvicorn server of this process that is configured after the call; the last call counts."""
    try:
        auto = import_module("uvicorn.protocols.http.auto")
        found: type[asyncio.Protocol] = auto.AutoHTTPProtocol
    except (ImportError, AttributeError):
        logger.warning("this uvicorn keeps its protocol elsewhere: headers may take any time, answers leave in pieces")
        return
    bases = found.__bases__ if issubclass(found, Connection) else (Connection, found)
    auto.AutoHTTPProtocol = type("OurProtocol", bases, {"header_seconds": header_seconds})  # type: ignore[attr-defined]
