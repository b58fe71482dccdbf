"""JSON responses that every standard parser can read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from starlette.responses import Response

from web.json import strict_json, work


class JSONAnswer(Response):
    """A response of JSON as UTF-8 text without NaN or Infinity."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Encode the content. Raises ValueError on NaN, Infinity and lone surrogates."""
        return strict_json.dumps(content)


async def large_answer(content: Any) -> Response:
    """Return a JSON response for a value of any size; a large one is encoded in a thread."""
    return Response(await work.dumps(content), media_type=JSONAnswer.media_type)


def timestamp() -> str:
    """Return the current UTC time as ISO 8601 with milliseconds and a Z."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
