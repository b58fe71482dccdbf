"""The requests that APIs of other people's Bentos take."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartParser

from management.domain.bento import BentoApi
from management.errors import FileUnavailable, InvalidRequest, PayloadTooLarge
from management.inference.arguments import Arguments
from management.inference.bodies import call_of
from management.inference.files import FileContent, FileReader, file_names
from tests.doubles.image_servers import downloader
from web.download.errors import DownloadError, FileTooLarge, InvalidURL, RefusedURL, UpstreamTimeout

FILE = {"type": "file", "format": "binary"}
PNG = b"\x89PNG\r\n\x1a\n"


def file_api(schema: Any = FILE) -> BentoApi:
    return BentoApi("api", "/a b/ö", arguments={"f": schema, "note": {"type": "string"}})


async def sent(api: BentoApi, **values: Any) -> tuple[str, bytes]:
    """The content type and the body of a call."""
    call = await call_of(api, Arguments(values), "id")
    assert isinstance(call.body, bytes)
    assert call.may_repeat
    return dict(call.headers)["Content-Type"], call.body


async def parsed(content_type: str, body: bytes) -> list[tuple[str, Any]]:
    """A form as BentoML's server parses it: texts, and files as their name, type and bytes."""

    async def stream() -> AsyncGenerator[bytes, None]:
        yield body

    form = await MultiPartParser(Headers({"content-type": content_type}), stream()).parse()
    try:
        return [
            (name, (value.filename, value.content_type, await value.read()) if isinstance(value, UploadFile) else value)
            for name, value in form.multi_items()
        ]
    finally:
        await form.close()


async def test_the_route_is_sent_percent_encoded() -> None:
    call = await call_of(file_api(), Arguments({}), "id")
    assert (call.method, call.target, call.path) == ("POST", "/a%20b/%C3%B6", "/a b/ö")
    assert dict(call.headers)["X-Request-ID"] == "id"


@pytest.mark.parametrize(
    ("root", "value", "content_type", "body"),
    [
        ({"type": "string"}, "héllo", "text/plain; charset=utf-8", "héllo".encode()),
        (FILE, FileContent(PNG, "image/png"), "image/png", PNG),
        ({"type": "array"}, [1, 2], "application/json", b"[1,2]"),
        ({"type": "integer", "default": 7}, None, "application/json", b"7"),
    ],
)
async def test_a_body_of_one_value_is_sent_as_bentoml_sends_it(
    root: Any, value: Any, content_type: str, body: bytes
) -> None:
    api = BentoApi("api", "/api", root=root)
    assert await sent(api, **({} if value is None else {"input": value})) == (content_type, body)


async def test_a_body_of_named_properties_takes_them_as_arguments() -> None:
    definitions = {"P": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}}
    api = BentoApi("api", "/api", root={"$ref": "#/$defs/P"}, definitions=definitions)
    assert (list(api.inputs), sorted(api.required_inputs), api.signature) == (["a"], ["a"], "api(a)")
    assert await sent(api, a=1) == ("application/json", b'{"a":1}')


@pytest.mark.parametrize(
    "schema",
    [
        FILE,
        {"type": "array", "items": FILE},
        {"anyOf": [FILE, {"type": "null"}]},
        {"anyOf": [{"type": "array", "items": FILE}, {"type": "null"}]},
    ],
)
def test_a_file_is_known_in_a_list_and_where_it_may_be_null(schema: Any) -> None:
    assert file_names(file_api(schema)) == {"f"}


async def test_a_large_value_beside_a_file_is_no_field_because_servers_limit_those() -> None:
    values = {"f": None, "note": "x" * 2_000_000}
    (part,) = await parsed(*await sent(file_api(), **values))
    assert part[0] == "note"
    assert json.loads(part[1][2]) == values["note"]


@given(
    st.dictionaries(st.text(min_size=1, max_size=9).filter(lambda name: name not in ("f", "note")), st.integers()),
    st.lists(st.tuples(st.binary(max_size=99), st.text(max_size=120)), max_size=3),
    st.text(),
)
def test_any_form_arrives_as_it_was_sent(more: dict[str, int], files: list[tuple[bytes, str]], note: str) -> None:
    async def check() -> None:
        async with downloader(1) as fetcher:
            given_files = [{"base64": base64.b64encode(data).decode(), "filename": name} for data, name in files]
            arguments = await FileReader(fetcher).read(
                Arguments({"f": given_files, "note": note, **more}), frozenset({"f"})
            )
        form = await parsed(*await sent(file_api(), **arguments.values))
        arrived = [value for name, value in form if name == "f"]
        assert [data for _, _, data in arrived] == [data for data, _ in files]
        assert all(0 < len(name) <= 80 and "/" not in name and name.isprintable() for name, _, _ in arrived)
        texts = [json.loads(value) for name, value in form if name != "f"]
        assert texts == [note, *more.values()]

    asyncio.run(check())


class Scripted:
    """A downloader that gives an answer, or raises."""

    def __init__(self, answer: bytes | DownloadError) -> None:
        self.answer = answer

    async def fetch(self, url: str) -> bytes:
        if isinstance(self.answer, DownloadError):
            raise self.answer
        return self.answer


async def read(value: Any, answer: bytes | DownloadError = b"") -> FileContent:
    reader = FileReader(Scripted(answer))  # type: ignore[arg-type]
    content: FileContent = (await reader.read(Arguments({"f": value}), frozenset({"f"}))).values["f"]
    return content


@pytest.mark.parametrize(
    ("value", "content"),
    [
        ("aGk=", FileContent(b"hi")),
        ("data:text/csv;base64,aGk", FileContent(b"hi", "text/csv")),
        ({"base64": "aGk=", "filename": "C:\\x\\a.csv"}, FileContent(b"hi", "text/csv", "a.csv")),
        ({"base64": "aGk=", "content_type": "text/x\r\nEvil: 1"}, FileContent(b"hi")),
        ({"url": "https://h/p/a%20b.json?x=1"}, FileContent(b"hi", "application/json", "a b.json")),
        ("https://h/", FileContent(b"hi")),
        (
            {"base64": base64.b64encode(PNG).decode(), "content_type": "image/jpg"},
            FileContent(PNG, "image/png"),
        ),
        ({"base64": "aGk=", "filename": "a" * 300 + ".wav"}, FileContent(b"hi", "audio/x-wav", "a" * 76 + ".wav")),
    ],
)
async def test_a_file_has_its_bytes_a_type_and_a_short_name(value: Any, content: FileContent) -> None:
    assert await read(value, b"hi") == content


@pytest.mark.parametrize(
    ("error", "raised", "code"),
    [
        (InvalidURL(""), InvalidRequest, "INVALID_REQUEST"),
        (FileTooLarge(""), PayloadTooLarge, "PAYLOAD_TOO_LARGE"),
        (RefusedURL(""), FileUnavailable, "URL_REFUSED"),
        (UpstreamTimeout(""), FileUnavailable, "UPSTREAM_TIMEOUT"),
    ],
)
async def test_a_download_that_fails_is_an_error_of_the_api(error: DownloadError, raised: Any, code: str) -> None:
    with pytest.raises(raised) as caught:
        await read("https://h/a", error)
    assert caught.value.code == code


async def test_the_files_of_a_request_have_a_limit_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("management.inference.files.MAX_CALL_BYTES", 5)
    reader = FileReader(Scripted(b"abc"))  # type: ignore[arg-type]
    names = frozenset({"f"})
    await reader.read(Arguments({"f": "https://h/a"}), names)
    with pytest.raises(PayloadTooLarge):
        await reader.read(Arguments({"f": ["https://h/a"]}), names)
