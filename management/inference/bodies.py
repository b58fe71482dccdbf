"""The request that a Bento's API takes, from the arguments of a call."""

from __future__ import annotations

import json
from typing import Any, Final
from urllib.parse import quote
from uuid import uuid4

from urllib3.fields import RequestField
from urllib3.filepost import encode_multipart_formdata

from management.domain.bento import ROOT_ARGUMENT, BentoApi
from management.gateway.call import Call
from management.inference.arguments import Arguments
from management.inference.files import FileContent, file_names, flat
from web.json import work

JSON: Final = "application/json"
TEXT: Final = "text/plain; charset=utf-8"
MAX_FIELD_BYTES: Final = 512 * 1024
"""Bytes of the largest value that is sent as a form's field: servers limit fields, and files less."""


async def call_of(api: BentoApi, arguments: Arguments, request_id: str) -> Call:
    """Return the call of an API. It may be repeated, as any inference may."""
    content_type, body = await _body(api, arguments)
    headers = (
        ("Content-Type", content_type),
        ("Accept", "*/*"),
        ("Accept-Encoding", "identity"),
        ("X-Request-ID", request_id),
    )
    return Call("POST", quote(api.route), api.route, headers, body, repeatable=True)


async def _body(api: BentoApi, arguments: Arguments) -> tuple[str, bytes]:
    if api.takes_one_value:
        assert api.root is not None  # noqa: S101
        return await _one_value(arguments.values.get(ROOT_ARGUMENT, api.root.get("default")))
    if names := file_names(api):
        return _form(arguments, names)
    return JSON, await work.dumps(dict(arguments.values))


async def _one_value(value: Any) -> tuple[str, bytes]:
    """A file and a text are the body themselves, as BentoML's own client sends them."""
    if isinstance(value, FileContent):
        return value.content_type, value.data
    if isinstance(value, str):
        return TEXT, value.encode()
    return JSON, await work.dumps(value)


def _form(arguments: Arguments, names: frozenset[str]) -> tuple[str, bytes]:
    fields: list[RequestField] = []
    for name, value in arguments.values.items():
        if name in names:
            fields += [_part(name, file.filename, file.data, file.content_type) for file in flat(value)]
        else:
            text = json.dumps(value, ensure_ascii=False).encode()
            fields.append(_part(name, "value.json" if len(text) > MAX_FIELD_BYTES else None, text, None))
    body, content_type = encode_multipart_formdata(fields, boundary=uuid4().hex)
    return content_type, body


def _part(name: str, filename: str | None, data: bytes, content_type: str | None) -> RequestField:
    part = RequestField(name, data, filename)
    part.make_multipart(content_type=content_type)
    return part
