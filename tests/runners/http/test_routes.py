"""The documented routes over a double of a model: every way to send an image, and every mistake."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode, encodebytes
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from runners.contract import InferenceRequest, InferenceResult, ItemError, ModelProxy
from runners.embedding import service as embedding
from runners.errors import InvalidImage, InvalidURL, ModelUnavailable
from runners.http import requests as reading
from runners.satellite import service as satellite
from runners.serving.application import Info, application
from runners.serving.fast_path import Direct
from runners.serving.mounted import MountedModel
from tests.conftest import encoded
from web.download.client import Downloader
from web.download.settings import DownloadSettings

IMAGE = encoded()
TEXT = b64encode(IMAGE).decode()


class Echo:
    """A model that says what it was sent; bytes that begin with "bad" are no picture to it."""

    async def infer(self, requests: Sequence[InferenceRequest]) -> list[InferenceResult]:
        return [self._answer(request) for request in requests]

    async def info(self) -> dict[str, Any] | None:
        return {}

    def _answer(self, request: InferenceRequest) -> InferenceResult:
        image = request.input_data["image"]
        if image.startswith(b"bad"):
            return InferenceResult(error=ItemError.of(InvalidImage("no picture")))
        return InferenceResult(output_data={"bytes": len(image), **request.parameters})


class Down:
    """A model whose process is gone."""

    async def infer(self, requests: Sequence[InferenceRequest]) -> list[InferenceResult]:
        raise ModelUnavailable("the model does not answer; try again")

    async def info(self) -> dict[str, Any] | None:
        return None


class Frozen(Down):
    """A model whose process does not even say that it is not ready."""

    async def info(self) -> dict[str, Any] | None:
        raise TimeoutError


class OneHost(Downloader):
    """Downloads one picture without a network; every other URL is malformed."""

    def __init__(self) -> None:
        super().__init__(DownloadSettings())

    async def fetch(self, url: str) -> bytes:
        if url != "https://example.com/a.png":
            raise InvalidURL("no URL")
        return IMAGE


def app(model: ModelProxy, beside: Mapping[str, Info] | None = None) -> FastAPI:
    other = Frozen() if isinstance(model, Down) else model
    return application(
        "test",
        "test",
        {
            "satellite": MountedModel(model, satellite.router, satellite.EXAMPLE),
            "embedding": MountedModel(other, embedding.router, {}),
        },
        OneHost(),
        beside,
    )


@pytest.fixture(params=["called by the edge", "through every layer"])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[httpx.AsyncClient]:
    front = app(Echo())
    reached = Direct(front, front.state.endpoints) if request.param == "called by the edge" else front
    async with httpx.AsyncClient(transport=httpx.ASGITransport(reached), base_url="http://test") as one:
        yield one


SINGLE: dict[str, dict[str, Any]] = {
    "multipart": {"files": {"image": ("a.png", IMAGE)}},
    "a raw body": {"content": IMAGE, "headers": {"content-type": "image/png"}},
    "a raw body whose type is wrong": {"content": IMAGE, "headers": {"content-type": "image/svg+xml"}},
    "octets": {"content": IMAGE, "headers": {"content-type": "application/octet-stream"}},
    "base64": {"json": {"image": TEXT}},
    "base64 in lines": {"json": {"image": encodebytes(IMAGE).decode()}},
    "base64 without its padding": {"json": {"image": TEXT.rstrip("=")}},
    "URL-safe base64": {"json": {"image": TEXT.replace("+", "-").replace("/", "_")}},
    "a data URL": {"json": {"image": f"data:image/png;base64,{TEXT}"}},
    "a URL": {"json": {"url": "https://example.com/a.png"}},
}


@pytest.mark.parametrize("path", ["/classify", "/embed"])
@pytest.mark.parametrize("how", SINGLE)
async def test_one_image_can_be_sent_in_many_ways(client: httpx.AsyncClient, path: str, how: str) -> None:
    answer = await client.post(path, **SINGLE[how])
    assert answer.status_code == 200, answer.text
    assert answer.json()["bytes"] == len(IMAGE)


JSON = {"content-type": "application/json"}
MISTAKES: dict[str, tuple[dict[str, Any], int, str]] = {
    "nothing at all": ({}, 415, "UNSUPPORTED_MEDIA_TYPE"),
    "text": ({"content": b"x", "headers": {"content-type": "text/plain"}}, 415, "UNSUPPORTED_MEDIA_TYPE"),
    "no JSON": ({"content": b"{", "headers": JSON}, 400, "INVALID_INPUT"),
    "a JSON list": ({"json": []}, 400, "INVALID_INPUT"),
    "neither url nor image": ({"json": {}}, 400, "INVALID_INPUT"),
    "both url and image": ({"json": {"url": "https://example.com/a.png", "image": TEXT}}, 400, "INVALID_INPUT"),
    "an unknown field": ({"json": {"image": TEXT, "colour": 1}}, 400, "INVALID_INPUT"),
    "a number as url": ({"json": {"url": 1}}, 400, "INVALID_INPUT"),
    "a number as image": ({"json": {"image": 1}}, 400, "INVALID_INPUT"),
    "no base64": ({"json": {"image": "%"}}, 400, "INVALID_INPUT"),
    "a bad URL": ({"json": {"url": "nowhere"}}, 400, "INVALID_URL"),
    "too much base64": ({"json": {"image": "A" * 24_000_000}}, 413, "PAYLOAD_TOO_LARGE"),
    "NaN": ({"content": b'{"image": NaN}', "headers": JSON}, 400, "INVALID_INPUT"),
    "two images": ({"files": [("image", ("a", IMAGE)), ("image", ("b", IMAGE))]}, 400, "INVALID_INPUT"),
    "another file field": ({"files": {"picture": ("a", IMAGE)}}, 400, "INVALID_INPUT"),
    "text where a file belongs": ({"data": {"image": "x"}, "files": {"other": b""}}, 400, "INVALID_INPUT"),
    "an unknown form field": (
        {"data": {"colour": "red"}, "files": {"image": ("a", IMAGE)}},
        400,
        "INVALID_INPUT",
    ),
    "multipart without a boundary": (
        {"content": b"x", "headers": {"content-type": "multipart/form-data"}},
        400,
        "INVALID_INPUT",
    ),
    "garbage as multipart": (
        {"content": b"\x00\xff", "headers": {"content-type": "multipart/form-data; boundary=x"}},
        400,
        "INVALID_INPUT",
    ),
    "an unknown parameter": ({"json": {"image": TEXT}, "params": {"colour": "red"}}, 400, "INVALID_INPUT"),
    "what the model refuses": ({"content": b"bad", "headers": {"content-type": "image/png"}}, 400, "INVALID_IMAGE"),
}


@pytest.mark.parametrize("path", ["/classify", "/embed"])
@pytest.mark.parametrize("what", MISTAKES)
async def test_a_mistake_gets_its_status_and_code(client: httpx.AsyncClient, path: str, what: str) -> None:
    request, status, code = MISTAKES[what]
    answer = await client.post(path, **request)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert set(answer.json()) == {"error", "code"}


@pytest.mark.parametrize(
    "request_",
    [
        {"files": {"image": ("a", IMAGE)}, "params": {"lang": "zh"}},
        {"files": {"image": ("a", IMAGE)}, "data": {"lang": "zh"}},
        {"json": {"image": TEXT, "lang": "zh"}},
    ],
)
async def test_the_language_is_a_query_a_form_or_a_json_field(
    client: httpx.AsyncClient, request_: dict[str, Any]
) -> None:
    assert (await client.post("/classify", **request_)).json()["lang"] == "zh"


@pytest.mark.parametrize("lang", ["de", "", "FR"])
async def test_an_unknown_language_is_refused(client: httpx.AsyncClient, lang: str) -> None:
    answer = await client.post("/classify", files={"image": ("a", IMAGE)}, params={"lang": lang})
    assert answer.status_code == 400
    assert "fr, en, zh" in answer.json()["error"]


BATCHES: dict[str, tuple[dict[str, Any], list[object]]] = {
    "multipart": (
        {"files": [("images", ("a", IMAGE)), ("images", ("b", b"bad")), ("images", ("c", IMAGE))]},
        [1, 0, 1],
    ),
    "base64": ({"json": {"images": [TEXT, "%", TEXT]}}, [1, 0, 1]),
    "URLs": ({"json": {"urls": ["https://example.com/a.png", "x"]}}, [1, 0]),
    "a list of both": ({"json": [{"url": "https://example.com/a.png"}, {"image": TEXT}, {"url": 3}]}, [1, 1, 0]),
}


@pytest.mark.parametrize("path", ["/classify/batch", "/embed/batch"])
@pytest.mark.parametrize("how", BATCHES)
async def test_a_batch_has_an_answer_or_an_error_for_each(client: httpx.AsyncClient, path: str, how: str) -> None:
    request, good = BATCHES[how]
    answer = await client.post(path, **request)
    assert answer.status_code == 200, answer.text
    assert [int("bytes" in result) for result in answer.json()["results"]] == good
    assert all({"error", "code"} == set(result) for result in answer.json()["results"] if "bytes" not in result)


@pytest.mark.parametrize(
    "request_",
    [
        {"json": {"images": []}},
        {"json": []},
        {"json": {"images": [TEXT] * 33}},
        {"json": {"images": "x"}},
        {"json": {"images": [TEXT], "urls": []}},
        {"json": [TEXT]},
        {"json": [{"image": TEXT, "url": "x"}]},
        {"files": [("images", ("a", IMAGE))] * 33},
        {"files": [("images", ("a", IMAGE))] * 40},
    ],
)
async def test_a_batch_that_is_none_is_refused(client: httpx.AsyncClient, request_: dict[str, Any]) -> None:
    answer = await client.post("/embed/batch", **request_)
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_INPUT"), answer.text


async def test_the_native_route_takes_urls_and_base64(client: httpx.AsyncClient) -> None:
    items = [{"input_data": {"url": "https://example.com/a.png"}}, {"input_data": {"url": "x"}, "parameters": {}}]
    answer = await client.post("/infer", json={"model": "satellite", "requests": items})
    first, second = answer.json()
    assert first["output_data"] == {"bytes": len(IMAGE)}
    assert second["error"]["code"] == "INVALID_URL"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b'{"requests": {}}',
        b'{"requests": [1]}',
        b'{"requests": [{}]}',
        b'{"requests": [{"input_data": {}, "paramters": {}}]}',
        b'{"requests": [{"input_data": 1}]}',
        b'{"requests": [], "more": 1}',
        b'{"requests": [], "requests": []}',
        b'{"requests": [], "model": "another"}',
        json.dumps({"requests": [{"input_data": {}}] * 33}).encode(),
        b'{"requests": ' + b"[" * 100_000,
    ],
)
async def test_a_malformed_native_call_is_the_callers_fault(client: httpx.AsyncClient, body: bytes) -> None:
    answer = await client.post("/infer", content=body, headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_INPUT"), answer.text


async def test_images_that_are_too_much_together_are_errors(client: httpx.AsyncClient) -> None:
    # A URL is short, and what it leads to is not: only so much is held for one request.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "MAX_REQUEST_BYTES", 2 * len(IMAGE) + 1)
        answer = await client.post("/embed/batch", json={"urls": ["https://example.com/a.png"] * 4})
    results = answer.json()["results"]
    assert [result.get("code") for result in results] == [None, None, "PAYLOAD_TOO_LARGE", "PAYLOAD_TOO_LARGE"]


async def test_a_native_call_that_is_no_json_is_not_read(client: httpx.AsyncClient) -> None:
    answer = await client.post("/infer", files={"requests": b"[]"})
    assert answer.status_code == 415


async def test_a_model_that_is_down_is_a_503_everywhere() -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app(Down())), base_url="http://test") as client:
        assert (await client.post("/embed", json={"image": TEXT})).json()["code"] == "MODEL_UNAVAILABLE"
        health = await client.get("/health")
    assert health.status_code == 503
    assert health.json()["status"] == "unhealthy"
    assert health.json()["models"] == {"satellite": False, "embedding": False}
    assert {"model_loaded", "timestamp", "error", "code"} <= health.json().keys()


async def test_what_stands_beside_the_models_is_told_of_by_health_and_must_be_ready_too() -> None:
    async def ready() -> dict[str, Any] | None:
        return {"models": 3}

    async def late() -> dict[str, Any] | None:
        await asyncio.sleep(60)
        return {}

    async def health_of(**beside: Info) -> httpx.Response:
        transport = httpx.ASGITransport(app(Echo(), beside))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.get("/health")

    good = await health_of(management=ready)
    assert (good.status_code, good.json()["management"]) == (200, {"models": 3})
    assert good.json()["models"] == {"satellite": True, "embedding": True}
    bad = await health_of(management=late, other=ready)
    assert (bad.status_code, bad.json()["error"]) == (503, "not ready: management")
    assert bad.json()["status"] == "unhealthy"
    assert bad.json()["model_loaded"] is True
    assert "management" not in bad.json()


async def test_every_route_is_documented_with_an_example(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    assert set(document["paths"]) >= {"/classify", "/classify/batch", "/embed", "/embed/batch", "/infer", "/health"}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            answers = operation["responses"]["200"]["content"]["application/json"]
            assert "example" in answers, path
            if method == "post":
                body = operation["requestBody"]["content"]["application/json"]
                assert "example" in body or "examples" in body, path


async def test_the_documented_examples_run(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    for path in ("/classify", "/embed", "/classify/batch", "/embed/batch"):
        examples = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["examples"]
        assert (await client.post(path, json=examples["base64"]["value"])).status_code == 200


async def test_the_documentation_page_asks_no_other_host(client: httpx.AsyncClient) -> None:
    page = (await client.get("/docs")).text
    assert "http://" not in page
    assert "https://" not in page
