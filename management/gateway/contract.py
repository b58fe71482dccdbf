"""The model contract on the wire: ``POST /infer`` with a list of items, answered by a list of results."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import aiohttp

from management.gateway.replica_errors import ReplicaBusy, ReplicaFailed, ReplicaLate, ReplicaRefused
from web import memory
from web.json import work
from web.json.strict_json import InvalidJSON

INFER_PATH: Final = "/infer"
MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
"""Maximum size of an answer in bytes."""
MOST_ELEMENTS: Final = 1_000_000
"""Maximum elements of a request or an answer: as many as the model contract takes."""
_CODE: Final = re.compile(r"[A-Z][A-Z0-9_]{0,63}\Z", re.ASCII)
MAX_MESSAGE_CHARACTERS: Final = 1000
"""Characters of a model's error message that are passed on."""
MAX_DETAILS: Final = 10
"""Problems with its arguments that a model names and that are passed on."""

Item = dict[str, Any]
"""``{"input_data": {...}, "parameters": {...}}``"""

Result = dict[str, Any]
"""``{"output_data": {...} or None, "error": {...} or None, "confidence": number or None}``"""


async def request_of(items: Sequence[Item]) -> bytes:
    """The body of a request."""
    return await work.dumps({"requests": list(items)})


async def read(answer: aiohttp.ClientResponse) -> bytes:
    """The whole body. Raises ReplicaFailed when it is larger than ``MAX_ANSWER_BYTES``."""
    if (answer.content_length or 0) > MAX_ANSWER_BYTES:
        raise ReplicaFailed("the answer is too large")
    pieces: list[bytes] = []
    size = 0
    async for piece in answer.content.iter_any():
        size += len(piece)
        memory.hold(len(piece))
        if size > MAX_ANSWER_BYTES:
            raise ReplicaFailed("the answer is too large")
        pieces.append(piece)
    return b"".join(pieces)


async def results_of(status: int, body: bytes, count: int) -> list[Result]:
    """The results in an answer to ``count`` items. Raises ReplicaError."""
    if status in (429, 503):
        raise ReplicaBusy(status)
    if status == 504:
        raise ReplicaLate(status)
    try:
        payload = await work.loads(body, MOST_ELEMENTS)
    except InvalidJSON as error:
        raise ReplicaFailed("the answer is not JSON") from error
    if 400 <= status < 500:
        raise ReplicaRefused(*refusal_of(payload))
    if status != 200 or not isinstance(payload, list) or len(payload) != count or not all(map(_is_result, payload)):
        raise ReplicaFailed(f"status {status}, and no list of {count} results")
    return payload


def _is_result(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    output, error = value.get("output_data"), value.get("error")
    confidence = value.get("confidence")
    return ((isinstance(output, dict) and error is None) or (output is None and isinstance(error, dict))) and (
        confidence is None or (isinstance(confidence, int | float) and not isinstance(confidence, bool))
    )


def refusal_of(payload: object) -> tuple[str, str]:
    """Code and message of a model's refusal.

    Its JSON is our runners' ``{"error": message, "code": code}``, or BentoML's object or list of one, in which
    ``detail`` may have the problems that pydantic found.
    """
    value = payload[0] if isinstance(payload, list) and payload else payload
    value = value if isinstance(value, dict) else {}
    return code_of(value.get("code")), _message(value)


def _message(value: Mapping[str, Any]) -> str:
    message, problems = value.get("error"), value.get("detail")
    if isinstance(problems, str):
        return message_of(message if isinstance(message, str) else problems)
    listed = problems[:MAX_DETAILS] if isinstance(problems, list) else []
    found = "; ".join(text for problem in listed if (text := _said(problem)))
    whole = ": ".join(part for part in (message, found) if isinstance(part, str) and part)
    return message_of(whole or None)


def _said(problem: object) -> str:
    if not isinstance(problem, dict) or not isinstance(problem.get("msg"), str):
        return ""
    location = problem.get("loc")
    where = ".".join(str(part) for part in location) if isinstance(location, list | tuple) else ""
    return f"{where}: {problem['msg']}" if where else str(problem["msg"])


def code_of(value: object) -> str:
    """A model's error code; ``INVALID_INPUT`` for a value that is none."""
    return value if isinstance(value, str) and _CODE.match(value) else "INVALID_INPUT"


def message_of(value: object) -> str:
    """A model's error message, cut to ``MAX_MESSAGE_CHARACTERS``; a general one for a value that is none."""
    return value[:MAX_MESSAGE_CHARACTERS] if isinstance(value, str) else "the model refuses this input"
