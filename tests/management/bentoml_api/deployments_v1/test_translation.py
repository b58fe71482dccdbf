"""Deployments in the words of version 1 as those of version 2, and what is refused because it has no meaning here."""

from __future__ import annotations

from typing import Any

import pytest

from management.bentoml_api.configs import Translator
from management.bentoml_api.deployments_v1 import views
from management.bentoml_api.deployments_v1.bodies import NamedTargetsBody, TargetsBody
from management.bentoml_api.deployments_v1.translation import MEANINGLESS, TranslatedTarget, translated
from management.bentoml_api.instances.instance_types import instance_types
from management.bentoml_api.views.deployments import ShownDeployment
from management.domain.bento import Bento
from management.domain.bento_tag import Tag
from management.domain.records import ModelConfig, Resources
from management.errors import InvalidModelConfig
from management.forms.validation import validated
from tests.doubles.management import config, deployment, revision

GIB = 1024**3
TRANSLATOR = Translator(instance_types(Resources(8000, 32 * GIB, 1)), ())
BENTO = Bento(
    tag=Tag("duo", "1.2"),
    bentoml_version="1.4.39",
    created_at="",
    apis=(),
    service="Front",
    services=("Back", "Front"),
    resources={"cpu": "2", "memory": "1Gi"},
)


def body(**fields: Any) -> dict[str, Any]:
    """A body whose target has this configuration, but for fields of the target and the body."""
    names = ("labels", "description", "do_not_deploy")
    outer: dict[str, Any] = {name: fields.pop(name) for name in names if name in fields}
    rules = fields.pop("canary_rules", None)
    target = {"bento_repository": "duo", "bento": "1.2", "config": fields, "canary_rules": rules}
    return {"targets": [target], "name": "duo", "kube_namespace": "atelier", **outer}


def read(given: dict[str, Any]) -> TranslatedTarget:
    return translated(validated(given, NamedTargetsBody, InvalidModelConfig, {}))


def new(**fields: Any) -> ModelConfig:
    """The configuration of a new deployment."""
    found = read(body(**fields))
    return TRANSLATOR.new(found.body, "duo", BENTO, found.resources)


def problems(given: dict[str, Any]) -> list[tuple[str, str]]:
    """Field and kind of each problem, which are the same for an update."""
    found = []
    for model in (NamedTargetsBody, TargetsBody):
        with pytest.raises(InvalidModelConfig) as refused:
            translated(validated(given, model, InvalidModelConfig, {}))
        found.append([(problem.field, problem.kind) for problem in refused.value.problems])
    assert found[0] == found[1]
    return found[0]


def test_a_target_alone_gets_the_usual_values_and_needs_a_key() -> None:
    made = new()
    assert (made.docker_image, made.name) == ("bentos/duo:1.2", "Front")
    assert (made.scaling.min_replicas, made.scaling.max_replicas) == (1, 1)
    assert made.access_authorization
    assert made.resources == Resources(2000, GIB, 0)


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({"requests": {"cpu": "1"}}, Resources(1000, GIB, 0)),
        ({"limits": {"cpu": "1", "gpu": "1"}}, Resources(1000, GIB, 1)),
        ({"requests": {"cpu": "1"}, "limits": {"cpu": "1000m", "memory": "2Gi"}}, Resources(1000, 2 * GIB, 0)),
        ({"requests": None, "limits": None}, Resources(2000, GIB, 0)),
    ],
)
def test_the_resources_of_a_target_go_before_those_of_its_bento(resources: Any, expected: Resources) -> None:
    assert new(resources=resources).resources == expected


def test_an_update_with_some_resources_keeps_the_others() -> None:
    found = read(body(resources={"requests": {"cpu": "3"}}))
    after = TRANSLATOR.change(found.body, config(), BENTO, found.resources).applied_to(config())
    assert after.resources.cpu_millicores == 3000
    assert after.resources.memory_bytes == config().resources.memory_bytes


def test_an_instance_type_is_that_of_the_entry_service() -> None:
    assert new(resource_instance="cpu.small", resources={"requests": None}).resources == Resources(1000, 4 * GIB, 0)


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        ({}, {"secrets", "labels", "access_authorization"}),
        ({"labels": [], "access_control": "public"}, {"secrets"}),
    ],
)
def test_an_update_keeps_what_is_not_said(fields: dict[str, Any], kept: set[str]) -> None:
    assert read(body(**fields)).kept == kept


SAID = {
    "runners": {"r": {"envs": [{"key": "A"}]}},
    "deployment_cold_start_wait_timeout": 30,
    "traffic_control": {"a": 1},
}
"""Values of fields that say something; a text, or true, in the others."""


@pytest.mark.parametrize("field", MEANINGLESS)
def test_a_field_without_a_meaning_here_is_refused_unless_it_says_nothing(field: str) -> None:
    name = {"kube_resource_uid": "kubeResourceUid", "kube_resource_version": "kubeResourceVersion"}.get(field, field)
    said: Any = SAID.get(field, {"a": {"b": 1}} if field.endswith("overrides") else name == field or "text")
    assert problems(body(**{name: said})) == [(f"targets.0.config.{name}", "not_here")]
    empty: Any = {dict: {"a": {"b": None, "c": False}}, bool: False, str: "", int: None}[type(said)]
    assert new(**{name: empty}) == new()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"description": "mine"}, ("description", "not_here")),
        ({"do_not_deploy": True}, ("do_not_deploy", "not_here")),
        ({"canary_rules": [{"type": "weight"}]}, ("targets.0.canary_rules", "not_here")),
        ({"enable_ingress": False}, ("targets.0.config.enable_ingress", "not_here")),
        ({"access_control": "private"}, ("targets.0.config.access_control", "choice")),
        (
            {"hpa_conf": {"policy": {"scale_up_behavior": "fast"}}},
            ("targets.0.config.hpa_conf.policy.scale_up_behavior", "not_here"),
        ),
        (
            {"hpa_conf": {"policy": {"metrics": [{"type": "qps", "value": 1}]}}},
            ("targets.0.config.hpa_conf.policy.metrics.type", "choice"),
        ),
        (
            {"resources": {"requests": {"cpu": "400m"}, "limits": {"cpu": "500m"}}},
            ("targets.0.config.resources.limits.cpu", "not_here"),
        ),
        (
            {"resources": {"requests": {"custom": {"a.com/b": "1"}}}},
            ("targets.0.config.resources.requests.custom", "not_here"),
        ),
        (
            {"resource_instance": "cpu.small", "resources": {"requests": {"cpu": "1"}}},
            ("targets.0.config.resources", "not_here"),
        ),
        ({"resources": {"requests": {"cpu": "many"}}}, ("targets.0.config.resources.requests.cpu", "quantity")),
        ({"resources": {"requests": {"memory": "128m"}}}, ("targets.0.config.resources.requests.memory", "memory")),
        ({"envs": [{"value": "x"}]}, ("targets.0.config.envs.0.key", "missing")),
    ],
)
def test_what_has_no_meaning_here_is_refused_and_named(fields: dict[str, Any], expected: tuple[str, str]) -> None:
    assert problems(body(**fields)) == [expected]


def test_a_deployment_has_one_target() -> None:
    given = body()
    assert problems({**given, "targets": given["targets"] * 3}) == [
        ("targets.1", "not_here"),
        ("targets.2", "not_here"),
    ]
    assert problems({**given, "targets": []}) == [("targets", "length")]


def test_tags_are_short() -> None:
    given = body()
    given["targets"][0]["bento"] = "x" * 4000
    assert problems(given) == [("targets.0.bento", "length")]


@pytest.mark.parametrize(("image", "version"), [("registry/echo:9", "9"), ("no tag at all", None)])
def test_a_deployment_outside_the_store_is_read_by_the_client(image: str, version: str | None) -> None:
    from bentoml._internal.cloud.schemas.schemasv1 import DeploymentSchema
    from bentoml._internal.cloud.schemas.utils import schema_from_object

    told = views.listed(ShownDeployment(deployment(target=revision(docker_image=image)), (), "me"), masked=False)
    read = schema_from_object(told, DeploymentSchema)
    assert read.latest_revision is not None
    assert [target.bento.version for target in read.latest_revision.targets] == ([version] if version else [])
