"""What a refusal says: both bounds, what was probably meant, and whether waiting helps."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import Depends, Header
from starlette.responses import Response

from management.api import parsing, schemas
from management.control.commands import DeploymentCommands
from management.domain.capacity import Capacity
from management.domain.records import Deletion, Resources
from management.errors import InvalidRequest, ModelAlreadyExists, ModelBeingDeleted
from management.forms import bodies
from management.forms.configs import config_of
from management.store import Store
from management.wording.errors import of_error
from management.wording.messages import Language, language_of
from tests.doubles.management import deployment
from tests.management.api.test_schemas import CONFIG, request
from tests.support.chains.fuzz import Fuzzed, fuzzed
from tests.support.management_servers import echo_config

MODELS = "/api/v1/models"


@pytest.fixture(scope="module")
def api() -> Iterator[Fuzzed]:
    with fuzzed() as running:
        yield running


def told(answer: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(answer.content)["error"]
    return found


async def message(body: object, model: type[bodies.Body], language: str = "en") -> str:
    with pytest.raises(InvalidRequest) as caught:
        await parsing.body(request(body, language=language), model)
    [problem] = of_error(caught.value, language_of(language))[1]["error"]["details"]["problems"]
    return str(problem["message"])


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("128m", "128Mi"),
        ("128", "128Mi"),
        ("512k", "512Mi"),
        ("0.5", "0.5Gi"),
        ("1000m", "1000Mi"),
        ("1023Ki", "1023Mi"),
    ],
)
async def test_memory_that_no_program_runs_in_is_refused_with_what_was_meant(written: str, meant: str) -> None:
    body = {"config": CONFIG | {"resource_requirements": {"memory": written}}}
    assert f"{meant}?" in await message(body, schemas.DeployBody)
    assert f"{meant}?" in await message({"config": {"resource_requirements": {"memory": written}}}, schemas.UpdateBody)


@pytest.mark.parametrize("written", ["1Mi", "1024Ki", "1048576", "2M", "8Gi", "0.5Gi"])
async def test_memory_of_a_mebibyte_and_more_is_accepted(written: str) -> None:
    body = {"config": CONFIG | {"resource_requirements": {"memory": written}}}
    found = await parsing.body(request(body), schemas.DeployBody)
    assert found.config.resource_requirements.memory == written


@pytest.mark.parametrize(
    ("body", "model", "bounds"),
    [
        ({"replicas": -1}, schemas.ScaleBody, "0..64"),
        ({"replicas": 65}, schemas.ScaleBody, "0..64"),
        ({"input_data": {}, "timeout": 0}, schemas.InferenceBody, "1..600"),
        ({"requests": []}, schemas.BatchBody, "1..64"),
        ({"requests": [{"input_data": {}}] * 65}, schemas.BatchBody, "1..64"),
        ({"config": CONFIG | {"name": ""}}, schemas.DeployBody, "1..200"),
        ({"config": CONFIG | {"docker_image": "a" * 256}}, schemas.DeployBody, "1..255"),
        ({"config": CONFIG | {"scaling_config": {"max_replicas": 99}}}, schemas.DeployBody, "0..64"),
        ({"config": {"scaling_config": {"max_replicas": 99}}}, schemas.UpdateBody, "0..64"),
        ({"config": CONFIG | {"resource_requirements": {"nvidia.com/gpu": "1" * 33}}}, schemas.DeployBody, "0..32"),
        ({"config": {"environment_variables": {f"A{n}": "" for n in range(65)}}}, schemas.UpdateBody, "0..64"),
    ],
)
@pytest.mark.parametrize("language", ["zh", "fr", "en"])
async def test_a_bound_that_is_crossed_is_told_with_the_other_one(
    body: object, model: type[bodies.Body], bounds: str, language: str
) -> None:
    assert bounds in await message(body, model, language)


@pytest.mark.parametrize(
    ("query", "bounds"), [("limit=0", "1..500"), ("limit=501", "1..500"), ("offset=-1", "0..1000000000")]
)
def test_a_query_parameters_bounds_are_told_too(query: str, bounds: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parsing.query(request(query=query), schemas.ListQuery)
    assert caught.value.problems[0].values["expected"] == bounds


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"replicas": 1}, "unknown"),
        ({"config": {"docker_image": "tests/absent:1.0.0"}}, "bento"),
        ({"config": {"version": "2.0.0"}}, "type"),
    ],
)
def test_a_body_is_read_and_its_image_looked_up_before_the_query_is_read(
    api: Fuzzed, body: dict[str, Any], problem: str
) -> None:
    api.deploy_echo()
    answer = api.ask("PUT", f"{MODELS}/echo?wait=soon", body, Idempotency_Key="no key")
    assert problem in {reported["problem"] for reported in told(answer)["details"]["problems"]}


async def of_a_header(_key: str = Header("")) -> Response:
    return Response()


async def of_a_role(_role: str = Depends(lambda: "admin")) -> Response:
    return Response()


async def of_a_number(limit: int) -> Response:
    return Response(str(limit))


@pytest.mark.parametrize(
    ("handler", "problem"), [(of_a_header, "header"), (of_a_role, "not be called"), (of_a_number, "not a model")]
)
def test_a_handler_declares_nothing_that_its_route_does_not_parse(handler: Any, problem: str) -> None:
    with pytest.raises(TypeError, match=problem):
        parsing.StrictRoute("/", handler)


def test_a_dependency_that_would_enforce_nothing_is_refused() -> None:
    async def handler() -> Response:
        return Response()

    with pytest.raises(TypeError, match="not be called"):
        parsing.StrictRoute("/", handler, dependencies=[Depends(lambda: "admin")])


@pytest.mark.parametrize("language", ["zh", "fr", "en"])
def test_a_stopped_model_says_so_and_names_no_time_to_come_again(api: Fuzzed, language: Language) -> None:
    api.deploy_echo()
    assert api.ask("POST", f"{MODELS}/echo/scale?wait=30", {"replicas": 0}).status_code == 200
    answer = api.ask("POST", f"{MODELS}/echo/inference", {"input_data": {}}, Accept_Language=language)
    assert (answer.status_code, told(answer)["code"]) == (503, "MODEL_NOT_READY")
    assert "retry-after" not in answer.headers
    assert {"zh": "停止", "fr": "arrêté", "en": "stopped"}[language] in told(answer)["message"]


@pytest.mark.parametrize("removal", list(Deletion))
def test_a_deploy_under_an_id_that_is_being_deleted_says_when_to_come_again(tmp_path: Path, removal: Deletion) -> None:
    store = Store(f"sqlite:///{tmp_path / 'atelier.db'}")
    store.migrate()
    wishes = DeploymentCommands(Capacity(Resources(10**6, 2**40, 0)))
    body = bodies.ConfigBody.model_validate(echo_config())
    with store.writing() as session:
        session.deployments.add(deployment(deletion=removal))
        with pytest.raises(ModelBeingDeleted) as caught:
            wishes.deploy(session, body.model_id, config_of(body), "somebody")
    store.close()
    status, answer = of_error(caught.value, "en")
    assert (status, answer["error"]["code"]) == (409, "MODEL_ALREADY_EXISTS")
    assert "is being deleted" in answer["error"]["message"]
    assert caught.value.retry_after


def test_a_deploy_under_a_taken_id_names_no_time(api: Fuzzed) -> None:
    api.deploy_echo()
    answer = api.ask("POST", f"{MODELS}/deploy", {"config": echo_config()}, Accept_Language="en")
    assert answer.status_code == ModelAlreadyExists.status
    assert "retry-after" not in answer.headers


def test_an_update_to_a_bento_of_another_type_is_refused_with_both_types(api: Fuzzed) -> None:
    config = echo_config("typed", docker_image="atelier/diagnosis:1.0.0")
    assert api.ask("POST", f"{MODELS}/deploy?wait=30", {"config": config}).status_code == 200
    answer = api.ask(
        "PUT", f"{MODELS}/typed", {"config": {"docker_image": "atelier/herbs:1.0.0"}}, Accept_Language="en"
    )
    assert (answer.status_code, told(answer)["code"]) == (400, "INVALID_MODEL_CONFIG")
    [problem] = told(answer)["details"]["problems"]
    assert problem["problem"] == "bento_kind"
    assert "treatment" in problem["message"]
    assert "tcm_diagnosis" in problem["message"]
    unknown = api.ask("PUT", f"{MODELS}/typed", {"config": {"docker_image": "tests/echo:1.0.0"}})
    assert unknown.status_code == 202
