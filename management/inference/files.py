"""Files among the arguments of a call: base64 and URLs become bytes with a type and a name."""

from __future__ import annotations

import asyncio
import mimetypes
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from management.domain.bento import BentoApi
from management.errors import FileUnavailable, InvalidRequest, PayloadTooLarge, Problem
from management.inference.arguments import Arguments
from management.inference.extra_types import FILE
from web import base64_text, memory
from web.download.client import Downloader
from web.download.errors import DownloadError, FileTooLarge, InvalidURL

MAX_CALL_BYTES: Final = 64 * 1024 * 1024
"""Bytes that the files of one request may have together."""
LARGE_CHARACTERS: Final = 1024 * 1024
"""Characters from which base64 is decoded in a thread."""
MAX_NAME_CHARACTERS: Final = 80
"""Characters of a file's name that are passed on: BentoML makes a temporary file's name of it."""
BINARY: Final = "application/octet-stream"
_TYPE: Final = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,63}/[a-z0-9][a-z0-9!#$&^_.+-]{0,63}\Z")
_DATA_URL: Final = re.compile(r"data:([a-z]+/[a-z0-9.+-]+)[;,]")
_PICTURES: Final = {
    b"\xff\xd8\xff": "image/jpeg",
    b"\x89PNG": "image/png",
    b"GIF8": "image/gif",
    b"BM": "image/bmp",
    b"II*\0": "image/tiff",
    b"MM\0*": "image/tiff",
}
"""Types of pictures by their first bytes. Pillow opens a picture by the type that is sent along, and by no other."""


@dataclass(frozen=True)
class FileContent:
    """A file as it is sent to a model."""

    data: bytes
    content_type: str = BINARY
    filename: str = "file"


def file_names(api: BentoApi) -> frozenset[str]:
    """Return the names of the arguments that are files, or lists of files."""
    return frozenset(name for name, schema in api.inputs.items() if any(map(_is_file, _variants(schema))))


def _variants(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The schema, and what may stand for it: an alternative, or an item of a list."""
    yield schema
    for inner in (*schema.get("anyOf", ()), schema.get("items")):
        if isinstance(inner, Mapping):
            yield from _variants(inner)


def _is_file(schema: Mapping[str, Any]) -> bool:
    return schema.get("type") == FILE


class FileReader:
    """Reads the files of one request, whose bytes together are limited."""

    def __init__(self, downloader: Downloader) -> None:
        self._downloader = downloader
        self._bytes = 0

    async def read(self, arguments: Arguments, names: frozenset[str]) -> Arguments:
        """Return the arguments with files for the values of these names.

        Raises InvalidRequest, PayloadTooLarge and FileUnavailable.
        """
        wanted = [name for name in arguments.values if name in names]
        read = await asyncio.gather(*(self._value(arguments.values[name], arguments.field(name)) for name in wanted))
        return Arguments({**arguments.values, **dict(zip(wanted, read, strict=True))}, arguments.parameters)

    async def _value(self, value: Any, field: str) -> Any:
        if isinstance(value, list):
            return list(await asyncio.gather(*(self._file(item, f"{field}.{n}") for n, item in enumerate(value))))
        return None if value is None else await self._file(value, field)

    async def _file(self, value: Any, field: str) -> FileContent:
        given: Mapping[str, str] = value if isinstance(value, dict) else _of_text(str(value))
        url = given.get("url")
        data = await (self._decoded(given.get("base64", ""), field) if url is None else self._fetched(url, field))
        self._charge(data)
        named = given.get("filename") or (PurePosixPath(unquote(urlsplit(url).path)).name if url else "")
        return FileContent(data, _content_type(data, given.get("content_type", ""), named), _safe(named))

    async def _decoded(self, text: str, field: str) -> bytes:
        try:
            return await asyncio.to_thread(_decode, text) if len(text) > LARGE_CHARACTERS else _decode(text)
        except ValueError:
            raise InvalidRequest(Problem(field, "base64")) from None

    async def _fetched(self, url: str, field: str) -> bytes:
        try:
            return await self._downloader.fetch(url)
        except InvalidURL:
            raise InvalidRequest(Problem(field, "url")) from None
        except FileTooLarge:
            raise PayloadTooLarge({"field": field}) from None
        except DownloadError as error:
            raise FileUnavailable(error.code, field) from None

    def _charge(self, data: bytes) -> None:
        memory.hold(len(data))
        self._bytes += len(data)
        if self._bytes > MAX_CALL_BYTES:
            raise PayloadTooLarge({"limit": MAX_CALL_BYTES})


def _of_text(text: str) -> Mapping[str, str]:
    if text.startswith(("http://", "https://")):
        return {"url": text}
    match = _DATA_URL.match(text[:100])
    return {"base64": text, "content_type": match[1]} if match else {"base64": text}


def _decode(text: str) -> bytes:
    return base64_text.decode(base64_text.plain(text))


def _content_type(data: bytes, given: str, name: str) -> str:
    """Return the type of a picture by its first bytes, of any other file as given, or by its name."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    found = next((kind for start, kind in _PICTURES.items() if data.startswith(start)), None)
    guessed = found or given.strip().lower() or mimetypes.guess_type(name)[0] or BINARY
    return guessed if _TYPE.match(guessed) else BINARY


def _safe(name: str) -> str:
    """Return the end of a file's name, without folders and without letters that no file's name has."""
    base = PurePosixPath(name.replace("\\", "/")).name
    plain = "".join(letter if letter.isprintable() and letter not in '"<>:|?*' else "_" for letter in base)
    return plain[-MAX_NAME_CHARACTERS:] or "file"


def flat(value: Any) -> Sequence[FileContent]:
    """Return the files of an argument's value."""
    return value if isinstance(value, list) else [] if value is None else [value]
