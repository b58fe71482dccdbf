"""The management's API against its own OpenAPI document: thousands of requests that it allows, and that it does not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from jsonschema_rs import validator_for
from schemathesis import Case, CheckContext, GenerationMode, Response
from schemathesis.checks import load_all_checks
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from management.api.documentation.openapi import ARCHIVES
from tests.support.chains.fuzz import Fuzzed, fuzzed
from tests.support.management_servers import KEY
from tests.support.running.effort import effort

CASES = {
    GenerationMode.POSITIVE: effort(290, 100),
    GenerationMode.NEGATIVE: effort(130, 45),
}
"""Of each operation, beside those that cover each keyword of its schemas; wrong ones take longer to make."""
LEAST = effort(5000, 1500)
SHORT_WAIT = 0.05
EXPECTED = {"INSUFFICIENT_RESOURCES", "MODEL_NOT_READY", "DEPLOYMENT_FAILED", "MODEL_FAILED"}
"""Codes that a 5xx may have."""
UNDECIDED = {
    *("bento", "memory", "variable", "scaling", "beyond", "control", "image", "quantity", "json", "header", "label"),
    *("api_unknown", "secret_absent", "secret_empty", "secret_path", "secret_collision", "secret_file"),
    *("secret_variable", "secret_value", "secret_size", "secret_twice", "base64"),
}
"""Problems that no schema tells: a Bento is not there, a name is reserved, a number has more than 64 bits ..."""
OPERATIONS = {
    "deploy_model": ("POST", "/api/v1/models/deploy"),
    "update_model": ("PUT", "/api/v1/models/{model_id}"),
    "delete_model": ("DELETE", "/api/v1/models/{model_id}"),
    "scale_model": ("POST", "/api/v1/models/{model_id}/scale"),
    "list_models": ("GET", "/api/v1/models"),
    "model_status": ("GET", "/api/v1/models/{model_id}/status"),
    "model_logs": ("GET", "/api/v1/models/{model_id}/logs"),
    "model_environment": ("GET", "/api/v1/models/{model_id}/environment"),
    "model_events": ("GET", "/api/v1/models/{model_id}/events"),
    "list_secrets": ("GET", "/api/v1/secrets"),
    "show_secret": ("GET", "/api/v1/secrets/{name}"),
    "set_secret": ("PUT", "/api/v1/secrets/{name}"),
    "delete_secret": ("DELETE", "/api/v1/secrets/{name}"),
    "push_bento": ("POST", "/api/v1/bentos"),
    "list_bentos": ("GET", "/api/v1/bentos"),
    "show_bento": ("GET", "/api/v1/bentos/{name}/{version}"),
    "delete_bento": ("DELETE", "/api/v1/bentos/{name}/{version}"),
    "infer": ("POST", "/api/v1/models/{model_id}/inference"),
    "infer_batch": ("POST", "/api/v1/models/{model_id}/batch_inference"),
    "health": ("GET", "/api/v1/health"),
    "metrics": ("GET", "/api/v1/metrics"),
}
IDS = {"model_id": "echo", "name": "echo", "version": "1.0.0"}
"""What stands in the paths."""
KEYED = [name for name in OPERATIONS if name != "health"]
MODES = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]
ASKLESS = {"health", "metrics"}
"""Nothing that could be said to them is wrong."""
RUNS = [(name, mode) for name in OPERATIONS for mode in MODES if name not in ASKLESS or mode is GenerationMode.POSITIVE]

schemathesis.serializer.alias(list(ARCHIVES), "application/octet-stream")

_cases: dict[tuple[str, GenerationMode], int] = {}


@pytest.fixture(scope="module")
def api() -> Iterator[Fuzzed]:
    with fuzzed() as running:
        yield running


@pytest.fixture(scope="module")
def document(api: Fuzzed) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(api.ask("GET", "/api/v1/openapi.json", key=None).content)
    return told


@pytest.fixture(scope="module")
def schema(document: dict[str, Any]) -> Any:
    load_all_checks()
    return schemathesis.openapi.from_dict(document)


def check_codes(ctx: CheckContext, response: Response, case: Case[Any]) -> bool | None:
    """Errors have the documented shape, and those of the server a code that may be expected."""
    if response.status_code < 400:
        return None
    told = json.loads(response.content)
    if case.operation.path == "/api/v1/health" and response.status_code == 503:
        return None
    assert set(told) == {"status", "error", "timestamp"}, told
    assert set(told["error"]) == {"code", "message", "details"}, told
    assert response.status_code < 500 or told["error"]["code"] in EXPECTED, told
    return None


def check_valid_is_taken(ctx: CheckContext, response: Response, case: Case[Any]) -> bool | None:
    """What the schemas allow is not called wrong but for what they cannot tell."""
    if case.meta is None or case.meta.generation.mode is GenerationMode.NEGATIVE or response.status_code != 400:
        return None
    problems = json.loads(response.content)["error"]["details"]["problems"]
    assert {one["problem"] for one in problems} <= UNDECIDED, problems
    return None


CHECKS = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    check_codes,
    check_valid_is_taken,
]


def call(api: Fuzzed, case: Case[Any]) -> Response:
    """Sends the case with an admin's key, and with no long wait for what it asks for."""
    told = case.as_transport_kwargs("http://testserver")
    told["json"] = whole(told.get("json"))
    wait = (told.get("params") or {}).get("wait")
    if isinstance(wait, int | float) and not isinstance(wait, bool) and SHORT_WAIT < wait <= 600:
        told["params"] = {**told["params"], "wait": SHORT_WAIT}
    request = requests.Request(**told).prepare()
    for name in ("Authorization", "X-API-Key"):
        request.headers.pop(name, None)
    request.headers["X-API-Key"] = KEY
    return api.send(request)


def whole(value: Any) -> Any:
    """JSON Schema takes 2.0 for an integer; the API takes it for what it is."""
    if isinstance(value, dict):
        return {name: whole(one) for name, one in value.items()}
    if isinstance(value, list):
        return [whole(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


def try_case(api: Fuzzed, case: Case[Any]) -> None:
    response = call(api, case)
    case.validate_response(response, checks=CHECKS)
    if case.operation.path.endswith("/deploy") and response.status_code in (200, 202):
        body: Any = case.body
        api.ask("DELETE", f"/api/v1/models/{body['config']['model_id']}?force=true")


def strategy(operation: Any, mode: GenerationMode) -> st.SearchStrategy[Case[Any]]:
    """Cases for any model, and as many for the one that is there."""
    if "{model_id}" not in operation.path:
        anywhere: st.SearchStrategy[Case[Any]] = operation.as_strategy(generation_mode=mode)
        return anywhere.map(known_image)
    there = operation.as_strategy(generation_mode=mode, path_parameters={"model_id": "echo"})
    both: st.SearchStrategy[Case[Any]] = operation.as_strategy(generation_mode=mode) | there
    return both


def known_image(case: Case[Any]) -> Case[Any]:
    """With a Bento that is there, in every second deployment that is valid."""
    body: Any = case.body
    positive = case.meta is not None and case.meta.generation.mode is GenerationMode.POSITIVE
    if positive and isinstance(body, dict) and "config" in body:
        config = body["config"]
        if len(config["model_id"]) % 2:
            config |= {"docker_image": "tests/echo:1.0.0", "name": "Echo"}
    return case


@pytest.mark.slow
@pytest.mark.parametrize(("name", "mode"), RUNS)
def test_an_operation_does_what_its_description_says(api: Fuzzed, schema: Any, name: str, mode: GenerationMode) -> None:
    method, path = OPERATIONS[name]
    operation = schema[path][method]
    tried = 0

    @settings(
        max_examples=CASES[mode],
        phases=(Phase.generate, Phase.shrink),
        database=None,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=strategy(operation, mode))
    def fuzz(case: Case[Any]) -> None:
        nonlocal tried
        tried += 1
        try_case(api, case)

    api.deploy_echo()
    config = schema.config.generation_for(operation=operation)
    for case in schema.iter_coverage_cases(operation, generation_modes=[mode], generation_config=config):
        if case.method == method:
            tried += 1
            try_case(api, case)
    fuzz()
    _cases[name, mode] = tried


@pytest.mark.slow
def test_no_fewer_than_thousands_of_cases_were_tried(api: Fuzzed) -> None:
    if len(_cases) < len(RUNS):
        pytest.skip("only some operations were asked for")
    assert {200, 202, 400, 404, 409, 422} <= api.statuses.keys()
    assert sum(_cases.values()) >= LEAST


def test_every_operation_is_there_and_says_how_to_be_allowed(document: dict[str, Any]) -> None:
    found = {told["operationId"]: (method.upper(), path) for path, method, told in _operations(document)}
    assert found == OPERATIONS
    assert "ValidationError" not in json.dumps(document)
    schemes = document["components"]["securitySchemes"]
    kinds = {name: (one["type"], one.get("name") or one.get("scheme")) for name, one in schemes.items()}
    assert kinds == {"key": ("apiKey", "X-API-Key"), "bearer": ("http", "bearer")}
    for path, _, told in _operations(document):
        open_to_all = told["operationId"] == "health"
        assert told["security"] == ([] if open_to_all else [{"key": []}, {"bearer": []}]), path
        assert open_to_all or {"401", "403", "429"} <= set(told["responses"]), path


def test_every_operation_has_the_sentence_of_its_handler(document: dict[str, Any]) -> None:
    summaries = {told["operationId"]: told["summary"] for _, _, told in _operations(document)}
    assert summaries["model_events"] == "Who changed what, the newest first"
    assert all(" " in summary for summary in summaries.values()), summaries


def test_every_example_is_what_its_schema_says(document: dict[str, Any]) -> None:
    tried = 0
    for path, _, told in _operations(document):
        for answer in [*told["responses"].values(), told.get("requestBody", {"content": {}})]:
            for content in answer["content"].values():
                schema = {**content["schema"], "components": document["components"]}
                for example in _examples(document, content):
                    tried += 1
                    assert list(validator_for(schema).iter_errors(example)) == [], (path, example)
    assert tried > 100


@pytest.mark.parametrize("name", KEYED)
def test_no_operation_is_open_to_those_without_a_key_or_with_a_lesser_one(api: Fuzzed, name: str) -> None:
    method, path = OPERATIONS[name]
    target = path.format(**IDS)
    for key in (None, "", "wrong", api.viewer_key.upper()):
        answer = api.ask(method, target, key=key)
        assert answer.status_code == 401
        assert "Bearer" in answer.headers["www-authenticate"][0]
        assert json.loads(answer.content)["error"]["code"] == "UNAUTHORIZED"
    assert api.ask(method, f"{target}?api_key={KEY}&X-API-Key={KEY}", key=None).status_code == 401
    status = api.ask(method, target, key=api.viewer_key).status_code
    readable = method == "GET" and not path.startswith("/api/v1/secrets")  # admins alone see which secrets there are
    assert status in ((200, 404) if readable else (403,))


@pytest.mark.parametrize("name", OPERATIONS)
def test_other_methods_are_refused_and_told_which_there_are(api: Fuzzed, name: str) -> None:
    _, path = OPERATIONS[name]
    there = {method for method, other in OPERATIONS.values() if other == path}
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"} - there:
        answer = api.ask(method, path.format(**IDS))
        if path == "/api/v1/models/deploy" and method in ("PUT", "DELETE"):
            continue  # a model may be called so
        assert answer.status_code == 405
        assert json.loads(answer.content)["error"]["code"] == "METHOD_NOT_ALLOWED"
        assert set(answer.headers["allow"][0].split(", ")) >= there


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, told in methods.items():
            yield path, method, told


@pytest.mark.parametrize("name", ["deploy_model", "update_model", "scale_model", "infer", "infer_batch"])
def test_a_field_that_no_schema_knows_is_refused_at_every_level(
    api: Fuzzed, document: dict[str, Any], name: str
) -> None:
    method, path = OPERATIONS[name]
    told = document["paths"][path][method.lower()]["requestBody"]["content"]["application/json"]
    [example] = _examples(document, told)
    bodies = list(_with_unknown_fields(document, example, told["schema"]))
    assert bodies
    for body in bodies:
        answer = api.ask(method, path.format(**IDS), body)
        assert answer.status_code == 400, body
        problems = json.loads(answer.content)["error"]["details"]["problems"]
        assert [one["problem"] for one in problems if one["field"].endswith("unexpected")] == ["unknown"]


def _examples(document: dict[str, Any], content: dict[str, Any]) -> list[Any]:
    """The examples of a body or an answer: its own, or those of its schema; only an archive has none."""
    if "examples" in content:
        return [example["value"] for example in content["examples"].values()]
    if "example" in content:
        return [content["example"]]
    schema = content["schema"]
    if schema.get("format") == "binary":
        return []
    found: list[Any] = _resolved(document, schema.get("items", schema))["examples"]
    assert found
    return [found] if "items" in schema else found


def _resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """The schema, or the one that it refers to."""
    name = schema.get("$ref", "").rpartition("/")[2]
    found: dict[str, Any] = document["components"]["schemas"][name] if name else schema
    return found


def _with_unknown_fields(document: dict[str, Any], value: Any, schema: dict[str, Any]) -> Iterator[Any]:
    """The value with one field too many, in each object in turn that the schema does not leave open."""
    schema = _resolved(document, schema)
    if isinstance(value, list):
        for number, one in enumerate(value):
            for changed in _with_unknown_fields(document, one, schema["items"]):
                yield [*value[:number], changed, *value[number + 1 :]]
    elif isinstance(value, dict) and "properties" in schema:
        yield {**value, "unexpected": 1}
        for name, one in value.items():
            for changed in _with_unknown_fields(document, one, schema["properties"][name]):
                yield {**value, name: changed}
