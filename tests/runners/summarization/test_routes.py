"""The documented routes of summarization over a double of the model: every field, every mistake."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any

import httpx
import pytest

from runners.contract import InferenceRequest, InferenceResult, ModelProxy
from runners.documents.document import Document
from runners.errors import InvalidDocument, ModelUnavailable, NoText, RunnerError
from runners.models.summarizers.base import Summarizer, Task
from runners.serving.application import application
from runners.serving.batching import Batcher
from runners.serving.fast_path import Direct
from runners.serving.mounted import MountedModel
from runners.summarization.model import SummarizationModel
from runners.summarization.routes import EXAMPLE, EXAMPLE_INPUT, router
from web.download.client import Downloader
from web.download.settings import DownloadSettings

TEXT = "The first sentence. The second sentence. The third sentence."
ADDED = {"engine": "first", "model": "double", "language": "en", "ignored_parameters": ["temperature"]}


class FirstSentence(Summarizer):
    """Takes what stands before the first full stop; fails on a text that says so."""

    engine = "first"
    ignored_parameters = ("temperature",)
    model = "double"

    def summarize(self, tasks: Sequence[Task]) -> list[str | RunnerError]:
        return [
            InvalidDocument("it fails") if "fail" in task.text else task.text.partition(".")[0] + "." for task in tasks
        ]


class Reader:
    """Reads bytes as text; what begins with a NUL is no document."""

    async def read(self, data: bytes, filename: str, **_: Any) -> Document:
        if data.startswith(b"\0"):
            raise InvalidDocument("the document is damaged")
        if data == b"blank":
            raise NoText("no text was found")
        return Document(data.decode(), 3)


class Alone:
    """The model in the process of its routes."""

    def __init__(self) -> None:
        summarizer = FirstSentence()
        self._model = SummarizationModel(summarizer, Reader(), Batcher(summarizer.summarize, 32))

    async def infer(self, requests: Sequence[InferenceRequest]) -> list[InferenceResult]:
        return await self._model.answer(requests, 60)

    async def info(self) -> dict[str, Any] | None:
        return self._model.info()


class Gone(Alone):
    """A model whose process is not there."""

    async def infer(self, requests: Sequence[InferenceRequest]) -> list[InferenceResult]:
        raise ModelUnavailable("the model does not answer; try again")


def client_of(model: ModelProxy) -> httpx.AsyncClient:
    mounted = MountedModel(model, router, EXAMPLE, EXAMPLE_INPUT)
    app = application("test", "test", {"summarization": mounted}, Downloader(DownloadSettings()))
    direct = Direct(app, app.state.endpoints)  # as the edge calls them
    return httpx.AsyncClient(transport=httpx.ASGITransport(direct), base_url="http://test")


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(Alone()) as one:
        yield one


async def test_a_text_is_answered_with_every_documented_field(client: httpx.AsyncClient) -> None:
    answer = await client.post("/summarize/text", json={"text": TEXT, "max_length": 60, "temperature": 0})
    body = answer.json()
    assert answer.status_code == 200
    assert datetime.fromisoformat(body.pop("timestamp")).tzinfo is not None
    assert body == {
        "summary": "The first sentence.",
        "original_length": 60,
        "summary_length": 19,
        "compression_ratio": 3.16,
        "parameters": {"max_length": 60, "temperature": 0},
        **ADDED,
    }


async def test_the_defaults_are_the_documents(client: httpx.AsyncClient) -> None:
    body = (await client.post("/summarize/text", json={"text": TEXT})).json()
    assert body["parameters"] == {"max_length": 128, "temperature": 0.7}


async def test_a_file_is_answered_with_every_documented_field(client: httpx.AsyncClient) -> None:
    answer = await client.post("/summarize/file", files={"file": ("notes.txt", TEXT.encode())}, data={"max_length": 9})
    body = answer.json()
    del body["timestamp"]
    assert body == {
        "summary": "The first sentence.",
        "filename": "notes.txt",
        "original_length": 60,
        "summary_length": 19,
        "compression_ratio": 3.16,
        "pages": 3,
        **ADDED,
    }


async def test_a_small_temperature_is_taken_as_python_writes_it(client: httpx.AsyncClient) -> None:
    answer = await client.post("/summarize/file", files={"file": ("a", b"A.")}, data={"temperature": 1e-05})
    assert answer.status_code == 200


async def test_a_picture_is_answered_with_every_documented_field(client: httpx.AsyncClient) -> None:
    answer = await client.post("/summarize/image", files={"image": ("a.png", TEXT.encode())}, data={"temperature": "1"})
    body = answer.json()
    del body["timestamp"]
    assert body == {"summary": "The first sentence.", "filename": "a.png", "summary_length": 19, "pages": 3, **ADDED}


async def test_a_batch_is_answered_with_every_documented_field(client: httpx.AsyncClient) -> None:
    body = (await client.post("/batch/summarize", json={"texts": [TEXT, "One. Two."]})).json()
    del body["timestamp"]
    told = {"language": "en", "ignored_parameters": ["temperature"]}
    first = {"summary": "The first sentence.", "original_length": 60, "summary_length": 19, "compression_ratio": 3.16}
    second = {"summary": "One.", "original_length": 9, "summary_length": 4, "compression_ratio": 2.25}
    languages = [result.pop("language") for result in body["results"]]
    assert languages[0] == told.pop("language")
    assert body == {
        "results": [{"index": 0, **first, **told}, {"index": 1, **second, **told}],
        "batch_size": 2,
        "total_compression_ratio": 3.0,
        "engine": "first",
        "model": "double",
    }


async def test_a_bad_text_of_a_batch_harms_no_neighbour(client: httpx.AsyncClient) -> None:
    body = (await client.post("/batch/summarize", json={"texts": [TEXT, " ", 7, "fail.", TEXT]})).json()
    entries = body["results"]
    assert [entry["index"] for entry in entries] == [0, 1, 2, 3, 4]
    assert [entry.get("error") for entry in entries] == [
        None, "Empty text provided", "text must be a string", "it fails", None,
    ]  # fmt: skip
    assert body["batch_size"] == 5
    assert body["total_compression_ratio"] == 3.16


async def test_an_empty_batch_is_an_empty_answer(client: httpx.AsyncClient) -> None:
    body = (await client.post("/batch/summarize", json={"texts": []})).json()
    assert (body["engine"], body["model"]) == ("first", "double")
    assert (body["results"], body["batch_size"], body["total_compression_ratio"]) == ([], 0, 0)


NO_TEXT = "Missing text field"
MAX_LENGTH = "max_length must be a whole number from 1 to 4096"
TEMPERATURE = "temperature must be a number from 0 to 2"
WRONG_TEXTS: dict[str, tuple[str, object, str]] = {
    "nothing": ("/summarize/text", {}, NO_TEXT),
    "another field": ("/summarize/text", {"texts": ["a"]}, NO_TEXT),
    "a list": ("/summarize/text", ["text"], NO_TEXT),
    "a string": ("/summarize/text", "text", NO_TEXT),
    "null": ("/summarize/text", None, NO_TEXT),
    "empty": ("/summarize/text", {"text": ""}, "Empty text provided"),
    "white space": ("/summarize/text", {"text": " \n\t\u2003"}, "Empty text provided"),
    "a number": ("/summarize/text", {"text": 7}, "text must be a string"),
    "no text": ("/summarize/text", {"text": None}, "text must be a string"),
    "an unknown field": ("/summarize/text", {"text": "a", "max_lenght": 3}, "unknown field: 'max_lenght'"),
    "a length of 0": ("/summarize/text", {"text": "a", "max_length": 0}, MAX_LENGTH),
    "a length of 4097": ("/summarize/text", {"text": "a", "max_length": 4097}, MAX_LENGTH),
    "a length of 1.5": ("/summarize/text", {"text": "a", "max_length": 1.5}, MAX_LENGTH),
    "a length of true": ("/summarize/text", {"text": "a", "max_length": True}, MAX_LENGTH),
    "a length as text": ("/summarize/text", {"text": "a", "max_length": "12"}, MAX_LENGTH),
    "a temperature under 0": ("/summarize/text", {"text": "a", "temperature": -0.1}, TEMPERATURE),
    "a temperature over 2": ("/summarize/text", {"text": "a", "temperature": 2.01}, TEMPERATURE),
    "a temperature of null": ("/summarize/text", {"text": "a", "temperature": None}, TEMPERATURE),
    "no texts": ("/batch/summarize", {"text": "a"}, "Missing texts field"),
    "texts that are no list": ("/batch/summarize", {"texts": "a"}, "texts must be a list"),
    "eleven texts": ("/batch/summarize", {"texts": ["a"] * 11}, "Maximum 10 texts per batch"),
    "a batch's length of 0": ("/batch/summarize", {"texts": ["a"], "max_length": 0}, MAX_LENGTH),
}


@pytest.mark.parametrize(("path", "body", "message"), WRONG_TEXTS.values(), ids=WRONG_TEXTS)
async def test_what_is_wrong_with_a_text_is_said(
    client: httpx.AsyncClient, path: str, body: object, message: str
) -> None:
    answer = await client.post(path, content=json.dumps(body), headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()) == (400, {"error": message, "code": "INVALID_INPUT"})


async def test_the_longest_summary_and_the_highest_temperature_are_taken(client: httpx.AsyncClient) -> None:
    answer = await client.post("/summarize/text", json={"text": "a", "max_length": 4096, "temperature": 2})
    assert answer.status_code == 200


@pytest.mark.parametrize("path", ["/summarize/text", "/batch/summarize"])
async def test_a_text_of_a_million_characters_is_the_longest(client: httpx.AsyncClient, path: str) -> None:
    body = {"text": "a" * 1_000_001} if "text" in path else {"texts": ["a" * 1_000_001]}
    answer = (await client.post(path, json=body)).json()
    told = answer if "text" in path else answer["results"][0]
    assert told["error"] == "Text too long (max 1000000 characters)"


@pytest.mark.parametrize("body", [b"{", b"\xff", b'{"text": "\\ud800"}', b'{"text": "a", "temperature": NaN}'])
async def test_a_body_that_is_no_json_is_refused(client: httpx.AsyncClient, body: bytes) -> None:
    answer = await client.post("/summarize/text", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400


async def test_a_text_of_another_kind_of_body_is_refused(client: httpx.AsyncClient) -> None:
    assert (await client.post("/summarize/text", data={"text": "a"})).status_code == 415


ONE_FILE: dict[str, Any] = {"file": ("a", b"a")}
LONG_NAME = "The file name is too long (max 255 characters)"
WRONG_UPLOADS: dict[str, tuple[str, dict[str, Any], str]] = {
    "no file": ("/summarize/file", {"files": {"other": ("a", b"a")}}, "No file provided"),
    "an unknown part": ("/summarize/file", {"files": {**ONE_FILE, "b": ("b", b"b")}}, "unknown field: 'b'"),
    "a field in a file's place": ("/summarize/file", {"data": {"file": "a"}}, "No file provided"),
    "only options": ("/summarize/file", {"files": {"max_length": (None, b"3")}}, "No file provided"),
    "no image": ("/summarize/image", {"files": {"max_length": (None, b"3")}}, "No image provided"),
    "json": ("/summarize/image", {"json": {"image": "a"}}, "No image provided"),
    "two files": ("/summarize/file", {"files": [("file", ("a", b"a")), ("file", ("b", b"b"))]}, "One file at a time"),
    "a long name": ("/summarize/file", {"files": {"file": ("a" * 256, b"a")}}, LONG_NAME),
    "a length of text": ("/summarize/file", {"files": ONE_FILE, "data": {"max_length": "x"}}, MAX_LENGTH),
    "a length of 1e2": ("/summarize/file", {"files": ONE_FILE, "data": {"max_length": "1e2"}}, MAX_LENGTH),
    "a length of nothing": ("/summarize/file", {"files": ONE_FILE, "data": {"max_length": ""}}, MAX_LENGTH),
    "a temperature of nan": ("/summarize/file", {"files": ONE_FILE, "data": {"temperature": "nan"}}, TEMPERATURE),
    "a temperature of 1e9": ("/summarize/file", {"files": ONE_FILE, "data": {"temperature": "1e9"}}, TEMPERATURE),
    "a temperature of 3": (
        "/summarize/image",
        {"files": {"image": ("a", b"a")}, "data": {"temperature": "3"}},
        TEMPERATURE,
    ),
}


@pytest.mark.parametrize(("path", "sent", "message"), WRONG_UPLOADS.values(), ids=WRONG_UPLOADS)
async def test_what_is_wrong_with_an_upload_is_said(
    client: httpx.AsyncClient, path: str, sent: dict[str, Any], message: str
) -> None:
    answer = await client.post(path, **sent)
    assert (answer.status_code, answer.json()) == (400, {"error": message, "code": "INVALID_INPUT"})


@pytest.mark.parametrize(("path", "field"), [("/summarize/file", "file"), ("/summarize/image", "image")])
async def test_an_upload_without_a_name_is_refused(client: httpx.AsyncClient, path: str, field: str) -> None:
    body = f'--b\r\nContent-Disposition: form-data; name="{field}"; filename=""\r\n\r\nx\r\n--b--\r\n'
    answer = await client.post(path, content=body, headers={"content-type": "multipart/form-data; boundary=b"})
    assert (answer.status_code, answer.json()["error"]) == (400, f"No {field} selected")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\dir\\a b.txt", "a b.txt"),
        ("报告.pdf", "报告.pdf"),
        ("..", "file"),
        ("a\u202egnp.exe", "agnp.exe"),
    ],
)
async def test_a_name_is_shown_without_its_path(client: httpx.AsyncClient, name: str, shown: str) -> None:
    answer = await client.post("/summarize/file", files={"file": (name, b"A text.")})
    assert answer.json()["filename"] == shown


@pytest.mark.parametrize(("data", "status", "code"), [(b"\0", 400, "INVALID_DOCUMENT"), (b"blank", 422, "NO_TEXT")])
async def test_a_document_that_cannot_be_read_is_the_callers_error(
    client: httpx.AsyncClient, data: bytes, status: int, code: str
) -> None:
    answer = await client.post("/summarize/file", files={"file": ("a", data)})
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_the_native_route_reads_documents_too(client: httpx.AsyncClient) -> None:
    items = [
        {"input_data": {"text": TEXT}},
        {"input_data": {"file": "VGhlIGZpbGUuIE1vcmUu", "filename": "a.txt"}},
        {"input_data": {"image": "AAAA"}},
        {"input_data": {"texts": [TEXT]}},
        {"input_data": {"text": TEXT}, "parameters": {"max_length": 0}},
    ]
    results = (await client.post("/infer", json={"requests": items})).json()
    assert [result["output_data"] and result["output_data"]["summary"] for result in results][:1] == [
        "The first sentence."
    ]
    assert [result["error"] and result["error"]["code"] for result in results] == [
        None, None, "INVALID_DOCUMENT", "INVALID_INPUT", "INVALID_INPUT",
    ]  # fmt: skip


async def test_a_model_that_is_gone_is_not_the_callers_fault() -> None:
    async with client_of(Gone()) as client:
        for path, sent in (
            ("/summarize/text", {"json": {"text": TEXT}}),
            ("/batch/summarize", {"json": {"texts": [TEXT]}}),
            ("/summarize/file", {"files": {"file": ("a", b"a")}}),
        ):
            answer = await client.post(path, **sent)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")


async def test_health_says_which_engine_serves(client: httpx.AsyncClient) -> None:
    body = (await client.get("/health")).json()
    assert (body["status"], body["model_loaded"], body["engine"], body["model"]) == ("healthy", True, "first", "double")


async def test_the_documentation_describes_every_route(client: httpx.AsyncClient) -> None:
    paths = (await client.get("/openapi.json")).json()["paths"]
    assert {"/summarize/text", "/summarize/file", "/summarize/image", "/batch/summarize", "/infer", "/health"} == set(
        paths
    )
    assert json.dumps(paths["/summarize/file"]).count("max_length") == 1
