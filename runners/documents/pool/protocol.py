"""What a server and its reading process say to each other: a length, JSON of that length, and bytes that it announces.

No pickles: a process in which a hostile file was parsed may say anything, and what it says is only ever data.
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
"""A million characters are written as six bytes each at most, or as twelve."""
MAX_BYTES: Final = 256 * 1024 * 1024

CANNOT_BE_READ: Final = "the document cannot be read"


def write(pipe: BinaryIO, said: Mapping[str, Any], data: Sequence[bytes] = ()) -> None:
    """Raises OSError where nobody listens any more."""
    text = json.dumps({**said, "sizes": [len(piece) for piece in data]}).encode()
    pipe.write(HEAD.pack(len(text), sum(map(len, data))) + text)
    for piece in data:
        pipe.write(piece)
    pipe.flush()


def read(pipe: BinaryIO) -> tuple[dict[str, Any], list[bytes]]:
    """Raises EOFError where the other side has ended, and ValueError where it talks nonsense."""
    length, total = HEAD.unpack(_exactly(pipe, HEAD.size))
    if length > MAX_JSON or total > MAX_BYTES:
        raise ValueError("too long")
    said = json.loads(_exactly(pipe, length))
    if sum(said["sizes"]) != total or any(size < 0 for size in said["sizes"]):
        raise ValueError("other lengths than announced")
    return said, [_exactly(pipe, size) for size in said["sizes"]]


def of_document(document: Document) -> dict[str, Any]:
    """Its images travel as bytes."""
    return {"text": document.text, "pages": document.pages, "title": document.title}


def document(said: Mapping[str, Any], images: Sequence[bytes]) -> Document:
    """Raises the RunnerError that was told instead, and ValueError for nonsense."""
    if "error" in said:
        raise _error(str(said["error"]), str(said["message"]))
    text, pages, title = said["text"], said["pages"], said["title"]
    if not (isinstance(text, str) and isinstance(pages, int) and isinstance(title, str | None)):
        raise ValueError("no document")
    return Document(text, pages, title, tuple(images))


def _error(name: str, message: str) -> RunnerError:
    kind = getattr(errors, name, None)
    if not (isinstance(kind, type) and issubclass(kind, RunnerError)):
        raise ValueError("no error")
    return kind(message)


def _exactly(pipe: BinaryIO, length: int) -> bytes:
    found = pipe.read(length)
    if len(found) < length:
        raise EOFError
    return found
