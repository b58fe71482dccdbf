"""A Bento that knows nothing of the model contract, called with the documented bodies."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.doubles.image_servers import picture, server
from tests.support.calls import deploy, until
from tests.support.management_servers import Management, built, managing
from tests.support.servers import ROOT, free_port

IMAGE = "tests/several:1.0.0"
PORT = free_port()
"""Port from which this module's server may download."""


def png(width: int = 8) -> str:
    """A picture as base64."""
    content = BytesIO()
    Image.new("RGB", (width, width), "red").save(content, "PNG")
    return base64.b64encode(content.getvalue()).decode()


@pytest.fixture(scope="module")
def several_management(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Management]:
    """A server with the Bento ``several``, deployed as ``several``."""
    store = built(tmp_path_factory.mktemp("several"), ROOT / "tests" / "bentos" / "several")
    starting = managing(store, ATELIER_URL_PORTS=str(PORT), ATELIER_URL_PRIVATE_NETWORKS="true")
    with starting as running, running.client(**{"Accept-Language": "en"}) as client:
        answer = deploy(client, "several", docker_image=IMAGE, model_type="custom", framework="bentoml")
        assert answer.status_code == 200, answer.text
        yield running


@pytest.fixture
def several(several_management: Management) -> Iterator[httpx.Client]:
    """A client of it."""
    with several_management.client(**{"Accept-Language": "en"}) as client:
        yield client


def call(client: httpx.Client, api: str | None, input_data: Any, parameters: Any = None, **more: Any) -> httpx.Response:
    body = {"input_data": input_data, "parameters": parameters or {}, **more}
    return client.post("/models/several/inference", json=body if api is None else {**body, "api": api})


def problems(answer: httpx.Response) -> dict[str, str]:
    """The kind of each problem of a refusal by its field."""
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["code"] == "INVALID_REQUEST"
    return {problem["field"]: problem["problem"] for problem in answer.json()["error"]["details"]["problems"]}


@pytest.mark.parametrize(
    ("api", "input_data", "parameters", "output"),
    [
        ("greet", {"name": "Ada"}, {}, {"result": "Hello Ada!"}),
        ("greet", {"name": "Ada"}, {"times": 2}, {"result": "Hello Ada! Hello Ada!"}),
        ("/greet", {"name": "头痛"}, {}, {"result": "Hello 头痛!"}),
        ("total", {"numbers": [1, 2.5]}, {}, {"result": 3.5}),
        (
            "describe",
            {
                "person": {
                    "name": "Ada",
                    "addresses": [{"street": "A", "number": 1}],
                    "home": {"street": "B", "number": 2},
                }
            },
            {"tags": {"a": "b"}},
            {"name": "Ada", "streets": ["A"], "tags": {"a": "b"}},
        ),
        ("person", {"name": "Ada"}, {}, {"name": "Ada", "addresses": [], "home": None}),
        ("echo", {"input": '{"no": "JSON"}'}, {}, {"result": '{"no": "JSON"}'}),
        ("shape", {"array": [[1, 2, 3], [4, 5, 6]]}, {}, {"result": [2, 3]}),
        ("shape", {"array": 3}, {}, {"result": []}),
        ("length", {"input": "aGVsbG8"}, {}, {"result": 5}),
        ("sizes", {"files": ["aGVsbG8=", {"base64": "aGk=", "filename": "../a.txt"}], "note": "ä" * 300_000}, {}, None),
    ],
)
def test_arguments_of_every_kind_arrive(
    several: httpx.Client, api: str, input_data: Any, parameters: Any, output: Any
) -> None:
    answer = call(several, api, input_data, parameters)
    assert answer.status_code == 200, answer.text
    assert answer.json()["output_data"] == (output or {"result": [5, 2, 300_000]})
    assert list(answer.json()) == [
        "request_id",
        "model_id",
        "output_data",
        "confidence",
        "processing_time",
        "timestamp",
    ]
    assert answer.json()["confidence"] is None


def test_a_picture_comes_back_as_a_later_call_takes_it(several: httpx.Client) -> None:
    first = call(several, "half", {"picture": {"base64": png(), "content_type": "image/jpg"}, "note": "a"})
    half = first.json()["output_data"]["result"]
    assert half["content_type"] == "image/png"
    again = call(several, "half", {"picture": half}).json()["output_data"]["result"]
    assert Image.open(BytesIO(base64.b64decode(again["base64"]))).size == (2, 2)


def test_a_file_comes_back_with_its_name(several: httpx.Client) -> None:
    answer = call(several, "copy_of", {"file": {"base64": "YSxi", "filename": "table.csv"}}).json()
    result = answer["output_data"]["result"]
    assert (result["base64"], result["content_type"]) == ("YSxi", "text/csv")
    assert result["filename"].endswith("table.csv")


async def test_a_url_is_fetched_by_the_server_that_the_settings_allow(several: httpx.Client) -> None:
    async def call_in_thread(url: str) -> httpx.Response:
        import asyncio

        return await asyncio.to_thread(call, several, "length", {"input": {"url": url}})

    async with server(PORT, a=picture):
        fetched = await call_in_thread(f"http://127.0.0.1:{PORT}/a")
        absent = await call_in_thread(f"http://127.0.0.1:{PORT}/b")
    assert fetched.json()["output_data"] == {"result": len(b"picture")}
    assert (absent.status_code, absent.json()["error"]["code"]) == (422, "UPSTREAM_FAILED")
    refused = await call_in_thread("http://169.254.169.254/latest")
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "URL_REFUSED")
    assert refused.json()["error"]["details"] == {"field": "input_data.input"}


@pytest.mark.parametrize(
    ("api", "input_data", "parameters", "expected"),
    [
        ("greet", {}, {}, {"input_data.name": "missing"}),
        ("greet", {"name": 1, "x": 2}, {"times": 9}, {
            "input_data.name": "type", "input_data.x": "unknown", "parameters.times": "range",
        }),
        ("greet", {"name": "A"}, {"name": "B"}, {"parameters.name": "twice"}),
        ("greet", {"name": "A" * 41}, {"times": True}, {"input_data.name": "length", "parameters.times": "type"}),
        ("total", {"numbers": [1, "2"]}, {}, {"input_data.numbers.1": "type"}),
        ("describe", {"person": {"addresses": [{"street": "A", "number": 0}]}}, {}, {
            "input_data.person.name": "missing", "input_data.person.addresses.0.number": "range",
        }),
        ("describe", {"person": {"name": "A", "home": {"street": 1, "number": 1}}}, {}, {
            "input_data.person.home.street": "type",
        }),
        ("person", {"nme": "A"}, {}, {"input_data.nme": "unknown", "input_data.name": "missing"}),
        ("echo", {"text": "A"}, {}, {"input_data.text": "unknown", "input_data.input": "missing"}),
        ("half", {"picture": "*"}, {}, {"input_data.picture": "base64"}),
        ("half", {"picture": "http://a b/"}, {}, {"input_data.picture": "url"}),
        ("half", {"picture": {"url": "a", "base64": "b"}}, {}, {"input_data.picture": "type"}),
        ("sizes", {"files": ["aGk=", 3]}, {}, {"input_data.files.1": "type"}),
        ("shape", {"array": [[1], [2, 3]]}, {}, {"input_data.array": "type"}),
        ("shape", {"array": [["a"]]}, {}, {"input_data.array": "type"}),
    ],
)  # fmt: skip
def test_every_problem_is_named_before_anything_is_queued(
    several: httpx.Client, api: str, input_data: Any, parameters: Any, expected: dict[str, str]
) -> None:
    assert problems(call(several, api, input_data, parameters)) == expected


@pytest.mark.parametrize(("api", "kind"), [(None, "api_missing"), ("nothing", "api_unknown"), ("infer", "api_unknown")])
def test_an_api_that_is_not_chosen_is_refused_with_the_list_of_them(
    several: httpx.Client, api: str | None, kind: str
) -> None:
    answer = call(several, api, {"name": "A"})
    assert problems(answer) == {"api": kind}
    assert "greet(name, times?)" in answer.json()["error"]["details"]["problems"][0]["message"]
    listed = {entry["name"]: entry for entry in answer.json()["error"]["details"]["apis"]}
    assert listed["greet"] == {"name": "greet", "arguments": ["name", "times"], "required": ["name"]}
    assert listed["echo"]["arguments"] == ["input"]


def test_the_deployments_default_api_is_called_until_it_is_removed(
    several: httpx.Client, several_management: Management
) -> None:
    revision = several.get("/models/several/status").json()["revision"]
    for changed, refused in (("echo", False), ("nothing", True), ("", False)):
        answer = several.put("/models/several", json={"config": {"default_api": changed}}, params={"wait": 30})
        assert (answer.status_code == 400) is refused, answer.text
        if refused:
            (problem,) = answer.json()["error"]["details"]["problems"]
            assert (problem["field"], problem["problem"]) == ("config.default_api", "api_unknown")
            assert "echo(input)" in problem["message"]
            assert call(several, None, {"input": "a"}).json()["output_data"] == {"result": "a"}
            assert call(several, "greet", {"name": "A"}).json()["output_data"] == {"result": "Hello A!"}
    until(lambda: call(several, None, {"input": "a"}).status_code == 400)
    assert several.get("/models/several/status").json()["revision"] == revision  # no replica was replaced for it


def test_a_deployment_with_an_api_that_its_bento_lacks_is_refused(several: httpx.Client) -> None:
    answer = deploy(several, "other", docker_image=IMAGE, default_api="nothing")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "INVALID_MODEL_CONFIG")
    assert several.get("/models/other/status").status_code == 404


@pytest.mark.parametrize(
    ("api", "code", "path"), [("count", "STREAMING_API", "count"), ("later", "TASK_API", "later/submit")]
)
def test_a_stream_and_a_task_are_pointed_to_the_models_own_address(
    several: httpx.Client, several_management: Management, api: str, code: str, path: str
) -> None:
    answer = call(several, api, {"n": 1})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, code)
    assert answer.json()["error"]["details"]["url"] == f"{several_management.url}/models/several/{path}"


@pytest.mark.parametrize(
    ("how", "status", "code"),
    [
        ("input", 422, "INVALID_INPUT"),
        ("bug", 502, "MODEL_FAILED"),
        ("nan", 502, "MODEL_FAILED"),
        ("busy", 503, "INSUFFICIENT_RESOURCES"),
    ],
)
def test_a_failure_has_the_status_that_it_has_with_any_model(
    several: httpx.Client, how: str, status: int, code: str
) -> None:
    answer = call(several, "fail", {"how": how})
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
    assert "bug" not in answer.text
    if how == "input":
        assert answer.json()["error"]["message"] == "this input has no result"
    if how == "busy":
        assert int(answer.headers["retry-after"]) >= 1


def test_a_call_ends_at_its_timeout(several: httpx.Client) -> None:
    answer = call(several, "fail", {"how": "sleep"}, timeout=1)
    assert (answer.status_code, answer.json()["error"]["code"]) == (408, "INFERENCE_TIMEOUT")
    assert answer.json()["error"]["details"] == {"model_id": "several", "timeout": 1}


def batch(client: httpx.Client, api: str, inputs: list[Any]) -> list[dict[str, Any]]:
    body = {"api": api, "requests": [{"input_data": input_data} for input_data in inputs]}
    answer = client.post("/models/several/batch_inference", json=body)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()
    return items


def test_each_item_of_a_batch_has_its_output_or_its_error(several: httpx.Client) -> None:
    given = [{"name": "A"}, {"name": 1}, {"name": "C", "times": 2}] + [{"name": str(n)} for n in range(61)]
    items = batch(several, "greet", given)
    assert [item["output_data"] for item in items[:3]] == [
        {"result": "Hello A!"},
        None,
        {"result": "Hello C! Hello C!"},
    ]
    assert items[1]["error"]["code"] == "INVALID_REQUEST"
    assert "input_data.name" in items[1]["error"]["message"]
    assert [item["output_data"]["result"] for item in items[3:]] == [f"Hello {n}!" for n in range(61)]
    assert items[0]["request_id"].endswith(".0")


def test_a_batch_of_a_batchable_api_is_one_call(several: httpx.Client) -> None:
    before = call(several, "batches", {}).json()["output_data"]["result"]
    items = batch(several, "double", [{"array": [[1, 2]]}, {"array": [[3, 4], [5, 6]]}, {"array": "x"}])
    assert [item["output_data"] for item in items] == [{"result": [[2, 4]]}, {"result": [[6, 8], [10, 12]]}, None]
    after = call(several, "batches", {}).json()["output_data"]["result"]
    assert after[len(before) :] == [3]


@pytest.mark.parametrize(
    ("inputs", "results"),
    [
        ([[[1, 2]], [[3]]], [[[2, 4]], [[6]]]),  # rows of different length make no array
        ([[[1]], [[-1]], [[2]]], [[[2]], None, [[4]]]),  # an item that the model refuses harms no other
    ],
)
def test_a_batch_that_makes_no_single_call_is_made_of_several(
    several: httpx.Client, inputs: list[Any], results: list[Any]
) -> None:
    items = batch(several, "double", [{"array": array} for array in inputs])
    assert [item["output_data"] and item["output_data"]["result"] for item in items] == results
    assert [item["error"]["code"] for item in items if "error" in item] == ["INVALID_INPUT"] * results.count(None)


def test_a_batch_without_a_ready_replica_fails_as_a_whole(several: httpx.Client) -> None:
    assert several.post("/models/several/scale", json={"replicas": 0}, params={"wait": 30}).status_code == 200
    try:
        body = {"api": "greet", "requests": [{"input_data": {"name": "A"}}] * 2}
        answer = several.post("/models/several/batch_inference", json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "MODEL_NOT_READY")
    finally:
        several.post("/models/several/scale", json={"replicas": 1}, params={"wait": 60})


def test_a_status_shows_the_apis_with_their_schemas_and_the_models_own_addresses(
    several: httpx.Client, several_management: Management
) -> None:
    status = several.get("/models/several/status").json()
    apis = {api["name"]: api for api in status["apis"]}
    assert list(apis["greet"]) == [*("name", "route", "description", "input", "output", "batchable", "streams", "task")]
    assert apis["greet"]["input"]["required"] == ["name"]
    assert apis["echo"]["input"] == {"type": "string"}
    assert apis["describe"]["input"]["properties"]["person"]["properties"]["name"]["type"] == "string"
    assert (apis["double"]["batchable"], apis["count"]["streams"], apis["later"]["task"]) == (True, True, True)
    assert [end["type"] for end in status["endpoints"]] == ["inference", "batch_inference", "own"]
    assert status["endpoints"][2]["url"] == f"{several_management.url}/models/several/"


def test_the_documentation_is_read_without_waking_the_model(
    several: httpx.Client, several_management: Management
) -> None:
    headers = {"X-API-Key": several.headers["X-API-Key"]}
    several.post("/models/several/scale", json={"replicas": 0}, params={"wait": 30})
    try:
        with httpx.Client(base_url=several_management.url, headers=headers, trust_env=False) as client:
            page = client.get("/models/several/docs")
            assert page.status_code == 200
            assert "default-src 'none'" in page.headers["content-security-policy"]
            for name in ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-light-32x32.png"):
                assert f'"/models/several/docs/static/{name}"' in page.text
                assert client.get(f"/models/several/docs/static/{name}").status_code == 200
            document = client.get("/models/several/docs/openapi.json").json()
            assert document["servers"] == [{"url": "/models/several"}]
            assert "/greet" in document["paths"]
            by_host = client.get("/docs", headers={"Host": "several.models.localhost"})
            assert '"/docs/openapi.json"' in by_host.text
            assert httpx.get(f"{several_management.url}/models/several/docs", trust_env=False).status_code == 401
            assert client.get("/models/several/docs/static/main.html").status_code == 404
        assert several.get("/models/several/status").json()["replicas"]["desired"] == 0
    finally:
        several.post("/models/several/scale", json={"replicas": 1}, params={"wait": 60})


def test_models_are_listed_by_a_type_that_no_document_names(several: httpx.Client) -> None:
    assert [model["model_id"] for model in several.get("/models", params={"model_type": "custom"}).json()] == [
        "several"
    ]
    assert several.get("/models", params={"model_type": "other-1.x"}).json() == []
    assert several.get("/models", params={"model_type": "No Label"}).status_code == 400
