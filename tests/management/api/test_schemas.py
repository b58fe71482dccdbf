"""What requests may say, how every wrong one is told at once in three languages."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import BaseModel
from starlette.datastructures import State
from starlette.requests import Request

from management.api import parsing, schemas
from management.domain import quantities
from management.domain.bento_tag import (
    LONGEST_IMAGE,
    Tag,
    tag_of,
)
from management.domain.config_change import ConfigChange
from management.domain.strategy import Strategy
from management.errors import InvalidModelConfig, InvalidRequest, UnsupportedMediaType
from management.forms import bodies
from management.forms.configs import change_of, config_of
from management.wording.errors import of_error
from management.wording.messages import language_of

LANGUAGES = ("zh", "fr", "en")
CONFIG: dict[str, Any] = {
    "model_id": "tcm-1",
    "name": "Diagnosis",
    "version": "1.0.0",
    "model_type": "tcm_diagnosis",
    "framework": "onnx",
    "docker_image": "suoke/tcm-diagnosis:1.0.0",
}


def request(
    body: object = None,
    *,
    language: str = "en",
    query: str = "",
    kind: str = "application/json",
    settings: Mapping[str, object] | None = None,
) -> Request:
    """A request to an application whose state holds these settings."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": data, "more_body": False}

    headers = [(b"content-type", kind.encode()), (b"accept-language", language.encode())]
    app = SimpleNamespace(state=State(dict(settings or {})))
    return Request({"type": "http", "app": app, "query_string": query.encode(), "headers": headers}, receive)


async def problems(body: object, model: type[bodies.Body], language: str = "en") -> dict[str, str]:
    """The kind of each problem by its field."""
    with pytest.raises(InvalidRequest) as caught:
        await parsing.body(request(body, language=language), model)
    return {problem.field: problem.kind for problem in caught.value.problems}


async def deploy_problems(**changes: object) -> dict[str, str]:
    return await problems({"config": CONFIG | changes}, schemas.DeployBody)


async def deployed(**changes: object) -> bodies.ConfigBody:
    return (await parsing.body(request({"config": CONFIG | changes}), schemas.DeployBody)).config


@pytest.mark.parametrize(
    ("text", "millicores"),
    [("500m", 500), ("2", 2000), ("1.5", 1500), ("0.0001", 1), ("1k", 1_000_000), ("100m", 100)],
)
def test_cpu_quantities(text: str, millicores: int) -> None:
    assert quantities.cpu_millicores(text) == millicores


@pytest.mark.parametrize(
    ("text", "count"), [("8Gi", 8 * 2**30), ("8G", 8 * 10**9), ("512M", 512 * 10**6), ("0.5Ki", 512), ("1", 1)]
)
def test_memory_quantities(text: str, count: int) -> None:
    assert quantities.memory_bytes(text) == count


@pytest.mark.parametrize(
    "text",
    ["", "0", "0m", "-1", "+1", "1e3", "1.", ".5", "1 Gi", " 1", "1\n", "1gi", "1GiB", "NaN", "1E", "٣", "9" * 13],
)
def test_what_is_no_quantity_or_none_at_all_is_refused(text: str) -> None:
    for parse in (quantities.cpu_millicores, quantities.memory_bytes):
        with pytest.raises(ValueError, match=r"quantity|wanted"):
            parse(text)


def test_gpus_are_whole_and_may_be_none() -> None:
    assert [quantities.gpus(text) for text in ("0", "1", "2.0", "2000m")] == [0, 1, 2, 2]
    with pytest.raises(ValueError, match="whole"):
        quantities.gpus("500m")


def test_quantities_are_shown_as_kubernetes_writes_them() -> None:
    assert (quantities.shown_cpu(1500), quantities.shown_memory(2**20 + 1)) == ("1500m", "2Mi")


@pytest.mark.parametrize(
    ("image", "tag"),
    [
        ("suoke/tcm-diagnosis:2.0.0", Tag("tcm-diagnosis", "2.0.0")),
        ("echo:1", Tag("echo", "1")),
        ("registry.example:5000/a/b/echo_x:V1", Tag("echo_x", "v1")),
    ],
)
def test_the_last_part_of_an_image_is_the_bento(image: str, tag: Tag) -> None:
    assert tag_of(image) == tag


HOSTILE = ["a" * 10_000, "a-" * 5_000 + ":1", "a/" * 5_000, "a:" + "1" * 10_000, "a" + "." * 9_998 + "!"]


@pytest.mark.parametrize(
    "image",
    [
        *(
            "",
            "echo",
            "echo:",
            "echo:latest",
            ":1",
            "Echo:1",
            "../echo:1",
            "a//b:1",
            "echo:1\n",
            "echo:../..",
            "e cho:1",
        ),
        *("echo:.1", "-echo:1", "echo:1@sha256:0", "écho:1", "a\0:1", *HOSTILE, *(text[:255] for text in HOSTILE)),
    ],
    ids=lambda image: image[:20],
)
def test_an_image_without_a_name_and_an_exact_version_is_refused(image: str) -> None:
    with pytest.raises(ValueError, match="exact version"):
        tag_of(image)


def test_an_image_has_255_characters_at_most() -> None:
    longest = "a/" * 126 + "b:1"
    assert len(longest) == LONGEST_IMAGE
    assert tag_of(longest) == Tag("b", "1")
    with pytest.raises(ValueError, match="exact version"):
        tag_of("a" + longest)


REFUSED = [
    *(
        "LD_PRELOAD",
        "DYLD_X",
        "GLIBC_TUNABLES",
        "PYTHONPATH",
        "PYTHON",
        "PYTHON_X",
        "PATH",
        "HOME",
        "SHELL",
        "BASH_ENV",
    ),
    *("TMPDIR", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "PIP_X"),
    *("CURL_CA_BUNDLE", "UV_X", "GIT_SSH", "SSH_AUTH_SOCK", "DOCKER_HOST", "KUBECONFIG", "KUBERNETES_HOST", "AWS_KEY"),
    *("GOOGLE_X", "AZURE_X", "OTEL_X", "HF_TOKEN", "CUDA_VISIBLE_DEVICES", "NVIDIA_X", "BENTOML_HOME", "PORT"),
    *("BENTO_CLOUD_API_KEY", "BENTOCLOUD_X", "YATAI_X", "PROMETHEUS_MULTIPROC_DIR", "ATELIER_REPLICA_ID"),
    *("lower", "1A", "", "A-B", "A B", "A" * 65, "A\n", "Ä", "_A"),
]


@pytest.mark.parametrize("name", REFUSED)
async def test_a_variable_that_could_change_more_than_the_model_is_refused(name: str) -> None:
    found = await deploy_problems(environment_variables={name: "1"})
    assert set(found.values()) == {"variable"}


async def test_other_variables_are_passed_on() -> None:
    names = ["LOG_LEVEL", "A", "A" * 64, "MODEL_DIR", "PORTAL", "HOMEPAGE", "BENTO", "PROXY", "UVX", "HFX"]
    given = dict.fromkeys(names, "é" * 2048)
    assert (await deployed(environment_variables=given)).environment_variables == given


@pytest.mark.parametrize("value", ["a\0", "a\nb", "a\rb", "é" * 2048 + "x"])
async def test_a_variable_has_one_line_of_4096_bytes_at_most(value: str) -> None:
    assert await deploy_problems(environment_variables={"A": value}) == {"config.environment_variables.A": "control"}


async def test_there_are_64_variables_at_most() -> None:
    found = await deploy_problems(environment_variables={f"A{number}": "" for number in range(65)})
    assert found == {"config.environment_variables": "length"}


async def test_the_defaults_are_the_documented_ones() -> None:
    config = await deployed()
    assert config.scaling_config.model_dump() == {
        "min_replicas": 1,
        "max_replicas": 1,
        "target_cpu_utilization": 80,
        "target_concurrency": None,
    }
    assert (config.access_authorization, config.strategy, config.labels) == (True, Strategy.ROLLING_UPDATE, {})
    assert config.environment_variables == {}
    body = await parsing.body(request({"input_data": {}}), schemas.InferenceBody)
    assert (body.timeout, body.priority, body.parameters) == (30, "normal", {})


@pytest.mark.parametrize(
    ("field", "value", "kind"),
    [
        ("model_id", "A", "pattern"),
        ("model_id", "a" * 64, "pattern"),
        ("model_id", "a\n", "pattern"),
        ("model_id", 1, "type"),
        ("version", "1 0", "pattern"),
        ("name", "", "length"),
        ("name", "a\u202eb", "control"),
        ("model_type", "Other", "pattern"),
        ("model_type", "a" * 33, "pattern"),
        ("framework", "jax 2", "pattern"),
        ("framework", "-jax", "pattern"),
        ("default_api", "", "length"),
        ("default_api", "a\x1b", "control"),
        ("docker_image", "echo", "image"),
        ("docker_image", "a" * 256, "length"),
        ("access_authorization", 0, "type"),
        ("strategy", "Canary", "choice"),
        ("labels", {str(number): "" for number in range(33)}, "length"),
        ("labels", ["team"], "type"),
        ("command", "sh", "unknown"),
    ],
)
async def test_each_field_has_its_rule(field: str, value: object, kind: str) -> None:
    assert await deploy_problems(**{field: value}) == {f"config.{field}": kind}


@pytest.mark.parametrize("label", ["custom", "bentoml", "x", "a" * 32, "text-generation", "v1.2_b"])
async def test_a_type_and_a_framework_are_any_label(label: str) -> None:
    body = await parsing.body(
        request({"config": {**CONFIG, "model_type": label, "framework": label}}), schemas.DeployBody
    )
    assert (body.config.model_type, body.config.framework) == (label, label)
    assert parsing.query(request(query=f"model_type={label}"), schemas.ListQuery).model_type == label


@pytest.mark.parametrize("value", ["1", True, 1.0, 1.5, None, [1]])
async def test_only_an_integer_is_an_integer(value: object) -> None:
    assert await problems({"replicas": value}, schemas.ScaleBody) == {"replicas": "type"}


@pytest.mark.parametrize(
    ("key", "value"), [("", ""), ("a" * 64, ""), ("a\n", ""), ("a", "b" * 256), ("a", "\u202e"), ("a", "\0")]
)
async def test_a_label_is_short_and_printable(key: str, value: str) -> None:
    found = await deploy_problems(labels={key: value})
    assert set(found.values()) == {"label"}
    with pytest.raises(InvalidRequest) as caught:
        await parsing.body(request({"config": {"labels": {key: value}}}), schemas.UpdateBody)
    expected = "1..63" if value == "" else "0..255"
    assert [problem.values["expected"] for problem in caught.value.problems] == [expected]


async def test_the_optional_fields_of_a_model_are_read() -> None:
    given = {"access_authorization": False, "strategy": "Recreate", "labels": {"a" * 63: "日" * 255, "b": ""}}
    config = config_of(await deployed(**given, scaling_config={"target_concurrency": 10_000}))
    assert (config.access_authorization, config.strategy) == (False, Strategy.RECREATE)
    assert (config.labels, config.scaling.target_concurrency) == (given["labels"], 10_000)
    body = await parsing.body(request({"config": given}), schemas.UpdateBody)
    change = change_of(body.config)
    assert (change.access_authorization, change.strategy, change.labels) == (False, Strategy.RECREATE, given["labels"])
    assert change.scaling == {}


async def test_nothing_and_null_change_none_of_them_and_0_removes_the_target_concurrency() -> None:
    nulls: dict[str, Any] = {"access_authorization": None, "strategy": None, "labels": None, "scaling_config": {}}
    for given in ({}, nulls, {**nulls, "scaling_config": {"target_concurrency": None}}):
        body = await parsing.body(request({"config": given}), schemas.UpdateBody)
        assert change_of(body.config) == ConfigChange()
    for number, target in ((0, None), (7, 7)):
        changed = {"config": {"scaling_config": {"target_concurrency": number}}}
        body = await parsing.body(request(changed), schemas.UpdateBody)
        assert change_of(body.config).scaling == {"target_concurrency": target}


async def test_numbers_have_bounds() -> None:
    for number in (0, 10_001):
        found = await deploy_problems(scaling_config={"target_concurrency": number})
        assert found == {"config.scaling_config.target_concurrency": "range"}
    assert await problems({"replicas": 65}, schemas.ScaleBody) == {"replicas": "range"}
    assert await problems({"replicas": -1}, schemas.ScaleBody) == {"replicas": "range"}
    for timeout in (0, 601):
        assert await problems({"input_data": {}, "timeout": timeout}, schemas.InferenceBody) == {"timeout": "range"}
    found = await deploy_problems(scaling_config={"min_replicas": 3, "max_replicas": 2})
    assert found == {"config.scaling_config": "scaling"}
    assert await problems({"requests": [{"input_data": {}}] * 65}, schemas.BatchBody) == {"requests": "length"}
    assert await problems({"requests": []}, schemas.BatchBody) == {"requests": "length"}


async def test_every_problem_of_a_body_is_listed_at_once_in_the_callers_language() -> None:
    wrong = {"model_id": "A", "name": 1, "framework": "Jax", "extra": 1, "resource_requirements": {"cpu": "x"}}
    told = set()
    for language in LANGUAGES:
        with pytest.raises(InvalidModelConfig) as caught:
            await parsing.body(request({"config": wrong}, language=language), schemas.DeployBody)
        found = of_error(caught.value, language_of(language))[1]["error"]["details"]["problems"]
        assert {one["field"].removeprefix("config."): one["problem"] for one in found} == {
            **dict.fromkeys(("version", "model_type", "docker_image"), "missing"),
            **{"model_id": "pattern", "name": "type", "framework": "pattern", "extra": "unknown"},
            **{"resource_requirements.cpu": "quantity"},
        }
        told.add(json.dumps(found))
    assert len(told) == len(LANGUAGES)


async def test_a_fields_name_is_shown_without_what_could_harm_a_terminal() -> None:
    found = await problems({"replicas": 1, "\x1b[2J" + "x" * 500: 1}, schemas.ScaleBody)
    assert found == {"?[2J" + "x" * 196: "unknown"}


async def test_what_is_no_json_and_what_does_not_say_that_it_is() -> None:
    assert await problems(b'{"replicas": NaN}', schemas.ScaleBody) == {"": "json"}
    with pytest.raises(UnsupportedMediaType):
        await parsing.body(request({"replicas": 1}, kind="text/plain"), schemas.ScaleBody)
    assert (await parsing.body(request({"replicas": 1}, kind="Application/JSON; x=y"), schemas.ScaleBody)).replicas == 1


@pytest.mark.parametrize(
    ("query", "model", "kind"),
    [
        ("limits=1", schemas.ListQuery, "unknown"),
        ("limit=1&limit=2", schemas.ListQuery, "type"),
        ("limit=0", schemas.ListQuery, "range"),
        ("limit=501", schemas.ListQuery, "range"),
        ("limit=ten", schemas.ListQuery, "type"),
        ("offset=-1", schemas.ListQuery, "range"),
        ("status=happy", schemas.ListQuery, "choice"),
        ("model_type=X", schemas.ListQuery, "pattern"),
        ("wait=nan", schemas.WaitQuery, "type"),
        ("wait=inf", schemas.WaitQuery, "type"),
        ("wait=601", schemas.WaitQuery, "range"),
        ("force=perhaps", schemas.DeleteQuery, "type"),
        ("tail=10001", schemas.LogsQuery, "range"),
        ("limit=1001", schemas.EventsQuery, "range"),
    ],
)
def test_query_parameters_are_known_given_once_and_within_bounds(query: str, model: type[BaseModel], kind: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parsing.query(request(query=query), model)
    [found] = caught.value.problems
    assert found.kind == kind


def test_query_parameters_have_defaults_and_are_read_as_what_they_are() -> None:
    assert parsing.query(request(), schemas.ListQuery) == schemas.ListQuery()
    found = parsing.query(request(query="status=running&limit=500&offset=3"), schemas.ListQuery)
    assert (found.status, found.limit, found.offset) == ("running", 500, 3)
    assert parsing.query(request(query="force=true&wait=2.5"), schemas.DeleteQuery).force is True
