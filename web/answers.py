"""Answers as JSON that everybody can read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from starlette.responses import Response

from web.json import strict_json, work


class JSONAnswer(Response):
    """JSON as UTF-8 text that never holds NaN or Infinity."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The body."""
        return strict_json.dumps(content)


async def large_answer(content: Any) -> Response:
    """The same of a value of any size: a large one is written beside the event loop."""
    return Response(await work.dumps(content), media_type=JSONAnswer.media_type)


def timestamp() -> str:
    """Now, in UTC, as ISO 8601 with a Z."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
