"""What a Bento's API answers, as the output of an inference."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from email.message import Message
from typing import Any, Final

from management.domain.bento import BentoApi
from management.errors import InferenceTimeout, ItemRefused, ManagementError, ModelBusy, ModelFailed
from management.gateway.contract import MOST_ELEMENTS, code_of, message_of, refusal_of
from management.gateway.open_call import OpenAnswer
from management.inference.extra_types import FILE
from management.inference.files import BINARY
from web import memory
from web.json import work
from web.json.strict_json import InvalidJSON

RESULT: Final = "result"
"""Key of an answer that is no JSON object."""
ENCODE_BYTES: Final = 256 * 1024
"""Bytes from which a file is encoded in a thread."""

Output = dict[str, Any]


class Head:
    """Status and headers of an answer."""

    def __init__(self, answer: OpenAnswer) -> None:
        self.status = answer.status
        self._headers = Message()
        for name, value in answer.headers:
            self._headers[name.decode("latin-1")] = value.decode("latin-1")

    @property
    def content_type(self) -> str:
        """The content type in lower case, without parameters; that of bytes where the header is missing."""
        return self._headers.get_content_type() if "content-type" in self._headers else BINARY

    @property
    def charset(self) -> str:
        """The charset of a text: UTF-8, or a smaller one that Python reads in linear time."""
        given = self._headers.get_content_charset("utf-8")
        return given if given in ("iso-8859-1", "windows-1252") else "utf-8"

    @property
    def filename(self) -> str | None:
        """The name of a file."""
        return self._headers.get_filename()

    @property
    def is_encoded(self) -> bool:
        """Whether the body is compressed, which was not asked for."""
        return str(self._headers.get("content-encoding", "identity")).strip().lower() not in ("", "identity")


async def output_of(head: Head, body: bytes, api: BentoApi, model_id: str) -> Output:
    """Return the output: a JSON object as it is, any other value under ``result``. Raises ManagementError."""
    details = {"model_id": model_id, "api": api.name}
    if head.status != 200 or head.is_encoded:
        raise await _failure(head, body, details)
    kind = head.content_type
    if _is_json(kind) and not _is_file(api):
        value = await _json(body, details)
        return value if isinstance(value, dict) else {RESULT: value}
    if kind.startswith("text/") and not _is_file(api):
        return {RESULT: _text(head, body)}
    return {RESULT: await _file(head, body)}


def _is_json(kind: str) -> bool:
    return kind == "application/json" or kind.endswith("+json")


def _is_file(api: BentoApi) -> bool:
    return api.output.get("type") == FILE or api.output.get("format") == "binary"


async def _json(body: bytes, details: Mapping[str, Any]) -> Any:
    """Strict JSON: a model's NaN would end in an answer that no other parser reads."""
    try:
        return await work.loads(body, MOST_ELEMENTS)
    except InvalidJSON as error:
        raise ModelFailed({**details, "reason": f"the model's answer: {error.message}"}) from None


def _text(head: Head, body: bytes) -> str:
    return body.decode(head.charset, errors="replace")


async def _file(head: Head, body: bytes) -> dict[str, str]:
    """A file as a later call takes it."""
    memory.hold(len(body) * 4 // 3)
    text = await memory.in_thread(b64encode, body) if len(body) > ENCODE_BYTES else b64encode(body)
    named = {} if head.filename is None else {"filename": head.filename}
    return {"base64": text.decode(), "content_type": head.content_type, **named}


async def _failure(head: Head, body: bytes, details: Mapping[str, Any]) -> ManagementError:
    if head.status in (429, 503):
        return ModelBusy({**details, "reason": "the model is busy"})
    if head.status in (408, 504):
        return InferenceTimeout(details)
    if 400 <= head.status < 500:
        return await _refusal(head, body)
    return ModelFailed(details)


async def _refusal(head: Head, body: bytes) -> ItemRefused:
    """From BentoML's shapes, and from a plain text."""
    if not _is_json(head.content_type):
        text = _text(head, body).strip() if head.content_type.startswith("text/plain") else ""
        return ItemRefused(code_of(None), message_of(text if text and text.isprintable() else None))
    try:
        payload = await work.loads(body)
    except InvalidJSON:
        payload = None
    return ItemRefused(*refusal_of(payload))
