"""What comes back from other people's Bentos, as output or as an error, and batches made one call."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from management.domain.bento import Bento, BentoApi
from management.domain.bento_tag import Tag
from management.errors import InferenceTimeout, InvalidRequest, ItemRefused, ManagementError, ModelBusy, ModelFailed
from management.gateway.open_call import OpenAnswer
from management.inference.answers import Head, output_of
from management.inference.arguments import Arguments
from management.inference.choice import chosen
from management.inference.joining import joined, split

API = BentoApi("api", "/api")
FILE_API = BentoApi("api", "/api", output={"type": "file"})
CONTRACT = BentoApi("infer", "/infer", arguments={"requests": {}}, required=frozenset({"requests"}))


def head(status: int = 200, **headers: str) -> Head:
    raw = tuple((name.replace("_", "-").encode(), value.encode()) for name, value in headers.items())
    return Head(cast("OpenAnswer", SimpleNamespace(status=status, headers=raw)))


async def output(body: bytes, api: BentoApi = API, status: int = 200, **headers: str) -> Any:
    return await output_of(head(status, **headers), body, api, "m")


@pytest.mark.parametrize(
    ("body", "kind", "api", "expected"),
    [
        (b'{"a":1}', "application/json", API, {"a": 1}),
        (b"[1,2]", "application/json", API, {"result": [1, 2]}),
        (b"null", "application/json; charset=utf-8", API, {"result": None}),
        (b'"x"', "application/ld+json", API, {"result": "x"}),
        ("é".encode(), "text/plain; charset=utf-8", API, {"result": "é"}),
        (b"\xe9", "text/plain; charset=iso-8859-1", API, {"result": "é"}),
        (b"\xff", "text/plain; charset=punycode", API, {"result": "\ufffd"}),
        (b"hi", "image/png", API, {"result": {"base64": "aGk=", "content_type": "image/png"}}),
        (b"a,b", "text/csv", FILE_API, {"result": {"base64": "YSxi", "content_type": "text/csv"}}),
        (b"{}", "application/json", FILE_API, {"result": {"base64": "e30=", "content_type": "application/json"}}),
    ],
)
async def test_every_kind_of_answer_becomes_an_output(body: bytes, kind: str, api: BentoApi, expected: Any) -> None:
    assert await output(body, api, content_type=kind) == expected


async def test_bytes_without_a_type_are_bytes_and_a_file_keeps_its_name() -> None:
    assert (await output(b"hi"))["result"]["content_type"] == "application/octet-stream"
    named = await output(b"hi", content_type="audio/wav", content_disposition="attachment; filename*=utf-8''%C3%A9.wav")
    assert named["result"]["filename"] == "é.wav"


@pytest.mark.parametrize(
    ("status", "body", "kind", "error", "message"),
    [
        (400, b'[{"error":"no"}]', "application/json", ItemRefused, "no"),
        (400, b'{"error":"no","code":"MY_CODE"}', "application/json", ItemRefused, "no"),
        (422, b'{"detail":"no"}', "application/json", ItemRefused, "no"),
        (
            400,
            json.dumps({"error": "1 validation error", "detail": [{"loc": ["a", 0], "msg": "too small"}]}).encode(),
            "application/json",
            ItemRefused,
            "1 validation error: a.0: too small",
        ),
        (400, b"no", "text/plain", ItemRefused, "no"),
        (400, b"<html>", "text/html", ItemRefused, "the model refuses this input"),
        (400, b"{", "application/json", ItemRefused, "the model refuses this input"),
        (400, b'{"error":"' + b"x" * 5000 + b'"}', "application/json", ItemRefused, "x" * 1000),
        (429, b"", "text/plain", ModelBusy, None),
        (503, b"", "text/plain", ModelBusy, None),
        (504, b"", "text/plain", InferenceTimeout, None),
        (408, b"", "text/plain", InferenceTimeout, None),
        (500, b'{"error":"secret"}', "application/json", ModelFailed, None),
        (302, b"", "text/plain", ModelFailed, None),
        (200, b"{", "application/json", ModelFailed, None),
        (200, b'{"a":NaN}', "application/json", ModelFailed, None),
    ],
)
async def test_every_failure_has_its_error(
    status: int, body: bytes, kind: str, error: type[ManagementError], message: str | None
) -> None:
    with pytest.raises(error) as caught:
        await output(body, status=status, content_type=kind)
    assert getattr(caught.value, "message", None) == message
    assert "secret" not in str(caught.value.details)


async def test_a_compressed_answer_that_was_not_asked_for_is_a_failure() -> None:
    with pytest.raises(ModelFailed):
        await output(b"x", content_encoding="gzip", content_type="text/plain")


def batchable(schema: Any) -> BentoApi:
    return BentoApi("api", "/api", arguments={"x": schema}, required=frozenset({"x"}), batchable=True)


@pytest.mark.parametrize(
    ("values", "whole", "rows"),
    [
        ([[1], [2, 3], []], [1, 2, 3], [1, 2, 0]),
        ([[[1, 2]], [[3, 4]]], [[1, 2], [3, 4]], [1, 1]),
    ],
)
def test_lists_are_joined_and_their_results_split(values: list[Any], whole: list[Any], rows: list[int]) -> None:
    made = joined(batchable({"type": "tensor"}), [Arguments({"x": value}) for value in values])
    assert made is not None
    assert (dict(made[0].values), made[1]) == ({"x": whole}, rows)
    parts = split({"result": whole}, rows)
    assert parts is not None
    assert [part["result"] for part in parts] == values


@pytest.mark.parametrize(
    ("schema", "values"),
    [
        ({"type": "tensor"}, [[[1]], [[1, 2]]]),
        ({"type": "dataframe"}, [{"a": [1]}, {"a": [2]}]),
        ({"type": "array"}, [[1]]),
        ({"type": "array"}, [[], []]),
    ],
)
def test_what_does_not_fit_together_is_called_alone(schema: Any, values: list[Any]) -> None:
    assert joined(batchable(schema), [Arguments({"x": value}) for value in values]) is None


@pytest.mark.parametrize("output", [{"result": [1]}, {"result": 3}, {"a": 1}, {"result": [1, 2], "a": 1}])
def test_an_output_without_an_entry_for_each_row_is_not_split(output: Any) -> None:
    assert split(output, [1, 1]) is None


def bento(*apis: BentoApi) -> Bento:
    return Bento(Tag("a", "1"), "A", "1.4.39", "", apis)


def test_the_only_api_is_called_else_the_default_else_the_named_one() -> None:
    other = BentoApi("other", "/other")
    assert chosen(bento(API), "", None) is API
    assert chosen(bento(API, other), "other", None) is other
    assert chosen(bento(API, other), "other", "api") is API
    assert chosen(bento(API, other), "", "/other") is other


def test_a_bento_of_the_contract_and_one_that_is_not_known_keep_the_contract() -> None:
    both = bento(CONTRACT, API)
    assert chosen(both, "", None) is None
    assert chosen(both, "", "infer") is None
    assert chosen(both, "", "api") is API
    assert chosen(None, "", None) is None
    assert chosen(None, "", "infer") is None
    assert chosen(bento(), "", None) is None, "it may mount an application that has the contract"
    for known, requested in ((None, "api"), (both, "nothing"), (replace(bento(), mounted_paths=("/x",)), None)):
        with pytest.raises(InvalidRequest):
            chosen(known, "", requested)


@pytest.mark.parametrize(
    ("mounted", "complete", "own"),
    [
        ((), True, False),
        (("/app/docs", "/app/openapi.json"), False, False),
        (("/docs", "/openapi.json"), False, True),
        (("/openapi.json",), False, True),  # its other routes may be in a router
        (("/{path:path}",), False, True),
        ((), False, True),  # an application that lists no paths
    ],
)
def test_a_page_that_the_bento_may_serve_itself_is_its_own(mounted: tuple[str, ...], complete: bool, own: bool) -> None:
    assert replace(bento(API), mounted_paths=mounted, paths_complete=complete).has_docs is own


def test_an_application_with_the_path_of_the_contract_follows_it_where_there_is_no_api() -> None:
    mounted = replace(bento(), mounted_paths=("/infer",))
    assert chosen(mounted, "", None) is None
    assert not replace(bento(API), mounted_paths=("/infer",)).follows_contract
