"""Malformed HTTP is answered with 400 in the common error shape, and the connection is closed."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from web.error_shape import error_response

_BODY: Final = error_response(400, "The request is not valid HTTP").body()
MALFORMED: Final = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n"
    b"x-content-type-options: nosniff\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(_BODY)
) + _BODY


class MalformedRequests(asyncio.Protocol):
    """Comes before uvicorn's class, whose parser calls ``send_400_response`` on input that it cannot parse."""

    transport: Any
    speaks_last: bool

    def send_400_response(self, _: str) -> None:
        """Answer 400 unless a response has begun, and tell the application that the client has disconnected."""
        cycle: Any = getattr(self, "cycle", None)
        in_progress = cycle is not None and not cycle.response_complete
        over = cycle is not None and (cycle.response_started if in_progress else cycle.more_body)
        if not over:
            self.transport.write(MALFORMED)
        self.speaks_last = True
        self.transport.close()
        if in_progress:
            cycle.disconnected = True
            cycle.message_event.set()
