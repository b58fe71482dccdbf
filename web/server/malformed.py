"""What is no HTTP is answered in our shape, whatever has been begun on the connection, and ends it."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from web.error_shape import refusal

_REFUSAL: Final = refusal(400, "The request is not valid HTTP").body()
MALFORMED: Final = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n"
    b"x-content-type-options: nosniff\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(_REFUSAL)
) + _REFUSAL


class MalformedRequests(asyncio.Protocol):
    """Stands before uvicorn's class, whose parser calls ``send_400_response`` where it can read no further."""

    transport: Any
    speaks_last: bool

    def send_400_response(self, _: str) -> None:
        """Answers, unless an answer is out or on its way; the application learns that its caller is gone."""
        cycle: Any = getattr(self, "cycle", None)
        in_work = cycle is not None and not cycle.response_complete
        over = cycle is not None and (cycle.response_started if in_work else cycle.more_body)
        if not over:
            self.transport.write(MALFORMED)
        self.speaks_last = True
        self.transport.close()
        if in_work:
            cycle.disconnected = True
            cycle.message_event.set()
