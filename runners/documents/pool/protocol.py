"""The messages between a server and its reading process: a length, JSON of that length, and the bytes it announces.

No pickles: a process that parsed a hostile file may send anything, so its messages are treated as data only.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO, Final

from runners import errors
from runners.documents.document import Document
from runners.errors import RunnerError

HEAD: Final = struct.Struct(">LQ")
MAX_JSON: Final = 16 * 1024 * 1024
"""Bytes of a message's JSON: a million characters take six bytes each at most, or twelve beyond the BMP."""
MAX_BYTES: Final = 256 * 1024 * 1024

CANNOT_BE_READ: Final = "the document cannot be read"


def write(pipe: BinaryIO, message: Mapping[str, Any], data: Sequence[bytes] = ()) -> None:
    """Send a message. Raises OSError where the other side has closed the pipe."""
    text = json.dumps({**message, "sizes": [len(piece) for piece in data]}).encode()
    pipe.write(HEAD.pack(len(text), sum(map(len, data))) + text)
    for piece in data:
        pipe.write(piece)
    pipe.flush()


def read(pipe: BinaryIO) -> tuple[dict[str, Any], list[bytes]]:
    """Receive a message. Raises EOFError where the other side has ended, and ValueError for an invalid message."""
    length, total = HEAD.unpack(_exactly(pipe, HEAD.size))
    if length > MAX_JSON or total > MAX_BYTES:
        raise ValueError("the message is too long")
    message = json.loads(_exactly(pipe, length))
    if sum(message["sizes"]) != total or any(size < 0 for size in message["sizes"]):
        raise ValueError("the lengths differ from those announced")
    return message, [_exactly(pipe, size) for size in message["sizes"]]


def of_document(document: Document) -> dict[str, Any]:
    """Return the JSON of a document; its images are sent as bytes."""
    return {"text": document.text, "pages": document.pages, "title": document.title}


def document(message: Mapping[str, Any], images: Sequence[bytes]) -> Document:
    """Return the document in a message. Raises the RunnerError that it holds, and ValueError for an invalid message."""
    if "error" in message:
        raise _error(str(message["error"]), str(message["message"]))
    text, pages, title = message["text"], message["pages"], message["title"]
    if not (isinstance(text, str) and isinstance(pages, int) and isinstance(title, str | None)):
        raise ValueError("the message holds no document")
    return Document(text, pages, title, tuple(images))


def _error(name: str, message: str) -> RunnerError:
    kind = getattr(errors, name, None)
    if not (isinstance(kind, type) and issubclass(kind, RunnerError)):
        raise ValueError("the message holds no known error")
    return kind(message)


def _exactly(pipe: BinaryIO, length: int) -> bytes:
    data = pipe.read(length)
    if len(data) < length:
        raise EOFError
    return data
