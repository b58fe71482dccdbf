"""Deployments in the client's words as configurations, and what is refused because it has no meaning here."""

from __future__ import annotations

from typing import Any

import pytest

from management.bentoml_api.configs import Translator
from management.bentoml_api.instances.instance_types import instance_types
from management.bentoml_api.schemas import DeploymentBody
from management.domain.bento import Bento
from management.domain.bento_tag import Tag
from management.domain.model_types import OTHER_FRAMEWORK, OTHER_TYPE
from management.domain.records import ModelConfig, Resources, Scaling
from management.domain.strategy import Strategy
from management.errors import InvalidModelConfig
from tests.doubles.management import config

GIB = 1024**3
TYPES = instance_types(Resources(8000, 32 * GIB, 1))
TRANSLATOR = Translator(TYPES, ("OUR_*",))
SMALL = {"cpu": "1000m", "memory": "4096Mi", "nvidia.com/gpu": "0"}


def bento(**changes: Any) -> Bento:
    """A Bento whose entry service, ``Front``, depends on ``Back``."""
    usual: dict[str, Any] = {"service": "Front", "services": ("Back", "Front")}
    return Bento(tag=Tag("duo", "1.2"), bentoml_version="1.4.39", created_at="", apis=(), **(usual | changes))


def body(**fields: Any) -> DeploymentBody:
    return DeploymentBody.model_validate({"bento": "duo:1.2", **fields})


def new(of: Bento | None = None, **fields: Any) -> ModelConfig:
    """The configuration of a new deployment with this body."""
    return TRANSLATOR.new(body(**fields), "duo", of or bento())


def changed(before: ModelConfig, of: Bento | None = None, **fields: Any) -> ModelConfig:
    """The configuration after an update with this body."""
    return TRANSLATOR.change(body(**fields), before, of or bento()).applied_to(before)


def problems(**fields: Any) -> list[tuple[str, str]]:
    """Field and kind of each problem, which are the same for a new deployment and an update."""
    found = []
    for translate in (new, lambda **given: changed(config(), **given)):
        with pytest.raises(InvalidModelConfig) as refused:
            translate(**fields)
        found.append([(problem.field, problem.kind) for problem in refused.value.problems])
    assert found[0] == found[1]
    return found[0]


def services(entry: dict[str, Any], **others: dict[str, Any]) -> dict[str, Any]:
    return {"services": {"Front": entry, **others}}


def metrics(*given: tuple[str, Any]) -> dict[str, Any]:
    listed = [{"type": name, "value": value} for name, value in given]
    return services({"scaling": {"min_replicas": 1, "max_replicas": 2, "policy": {"metrics": listed}}})


def test_a_bento_alone_gets_the_clients_defaults() -> None:
    assert new() == ModelConfig(
        name="Front",
        version="1.2",
        model_type=OTHER_TYPE,
        framework=OTHER_FRAMEWORK,
        docker_image="bentos/duo:1.2",
        resource_requirements={"cpu": "500m", "memory": "512Mi", "nvidia.com/gpu": "0"},
        scaling=Scaling(1, 1),
        resources=Resources(500, 512 * 1024**2, 0),
        access_authorization=False,
    )


def test_a_bento_says_its_type_its_framework_and_its_resources() -> None:
    labels = {"model_type": "treatment", "framework": "onnx"}
    made = new(bento(labels=labels, resources={"cpu": "2", "memory": "1Gi", "gpu": "1"}))
    assert (made.model_type, made.framework, made.resources) == ("treatment", "onnx", Resources(2000, GIB, 1))


def test_a_label_that_is_no_type_of_model_is_another_one() -> None:
    assert new(bento(labels={"model_type": "a b", "framework": ""})).model_type == OTHER_TYPE


def test_a_bento_whose_file_names_no_service_has_its_own_name() -> None:
    assert new(bento(service="", services=())).name == "duo"


def test_everything_that_a_body_says_is_in_the_configuration() -> None:
    entry = {"instance_type": "cpu.small", "deployment_strategy": "Recreate", "scaling": {"min_replicas": 2}}
    made = new(
        **services(entry),
        access_authorization=True,
        labels=[{"key": "team", "value": "vision"}, {"key": "team", "value": "audio"}],
        secrets=["hf", "s3", "hf"],
        envs=[{"name": "APP_A", "value": "1"}, {"name": "OUR_PATH"}],
    )
    assert made.resource_requirements == SMALL
    assert (made.strategy, made.access_authorization) == (Strategy.RECREATE, True)
    assert made.labels == {"team": "audio"}
    assert [reference.name for reference in made.secrets] == ["hf", "s3"]
    assert made.environment_variables == {"APP_A": "1", "OUR_PATH": ""}
    assert made.scaling == Scaling(2, 2)


@pytest.mark.parametrize(
    ("given", "bounds"),
    [
        (None, (1, 1)),
        ({}, (1, 1)),
        ({"min_replicas": 0}, (0, 1)),
        ({"min_replicas": 3}, (3, 3)),
        ({"max_replicas": 4}, (1, 4)),
        ({"min_replicas": 0, "max_replicas": 0}, (0, 1)),
        ({"min_replicas": 2, "max_replicas": 5}, (2, 5)),
    ],
)
def test_the_bounds_of_replicas_that_are_not_said(given: dict[str, int] | None, bounds: tuple[int, int]) -> None:
    scaling = new(**services({"scaling": given})).scaling
    assert (scaling.min_replicas, scaling.max_replicas) == bounds


def test_variables_of_the_entry_service_come_after_those_of_the_deployment() -> None:
    own = {"envs": [{"name": "APP_A", "value": "service"}]}
    made = new(**services(own), envs=[{"name": "APP_A", "value": "all"}, {"name": "APP_B", "value": "all"}])
    assert made.environment_variables == {"APP_A": "service", "APP_B": "all"}


def test_the_settings_of_the_only_service_count_whatever_it_is_called() -> None:
    only: dict[str, Any] = {"services": {"an-older-name": {"instance_type": "cpu.small"}}}
    assert new(**only).resource_requirements == SMALL
    assert new(bento(service="", services=()), **only).resource_requirements == SMALL


def test_the_settings_of_another_service_of_the_bento_are_never_those_of_the_entry() -> None:
    assert problems(services={"Back": {"instance_type": "cpu.small"}}) == [
        ("services.Back.instance_type", "companion_service")
    ]


def test_unknown_services_beside_each_other_have_no_settings() -> None:
    asked = {"instance_type": "cpu.small"}
    assert problems(services={"one": asked, "other": asked}) == [
        ("services.one.instance_type", "companion_service"),
        ("services.other.instance_type", "companion_service"),
    ]


@pytest.mark.parametrize("scaling", [None, {}, {"min_replicas": 1, "max_replicas": 1}])
def test_a_companion_may_be_named_with_what_the_client_sends_by_itself(scaling: Any) -> None:
    back = {"scaling": scaling, "envs": [], "config_overrides": {}, "deployment_strategy": None}
    assert new(**services({"instance_type": "cpu.small"}, Back=back)).resource_requirements == SMALL


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("scaling", {"min_replicas": 1, "max_replicas": 2}),
        ("instance_type", "cpu.small"),
        ("envs", [{"name": "APP_A", "value": "1"}]),
        ("deployment_strategy", "Recreate"),
        ("extras", {"a": 1}),
        ("cold_start_timeout", 1),
        ("config_overrides", {"traffic": {}}),
    ],
)
def test_a_companion_has_no_settings_of_its_own(field: str, value: Any) -> None:
    assert problems(**services({}, Back={field: value})) == [(f"services.Back.{field}", "companion_service")]


def test_a_metric_is_what_scaling_aims_at_also_as_a_text() -> None:
    assert new(**metrics(("cpu", "60"), ("concurrency", 4))).scaling == Scaling(1, 2, 60, 4)


@pytest.mark.parametrize("value", [None, "", "ten", "9" * 5000, 1.5, True, 0, 101, -1, []])
def test_a_metric_needs_a_number_of_its_range(value: Any) -> None:
    with pytest.raises(InvalidModelConfig):
        new(**metrics(("cpu", value)))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"canary": {"versions": {}}}, ("canary", "not_here")),
        (services({"cold_start_timeout": 30}), ("services.Front.cold_start_timeout", "not_here")),
        (services({"config_overrides": {"a": 1}}), ("services.Front.config_overrides", "not_here")),
        (services({"extras": {"a": 1}}), ("services.Front.extras", "not_here")),
        *(
            (services({"scaling": {"policy": {name: 0}}}), (f"services.Front.scaling.policy.{name}", "not_here"))
            for name in (
                *("scale_down_behavior", "scale_up_behavior"),
                *("scale_down_stabilization_window", "scale_up_stabilization_window"),
            )
        ),
        (metrics(("qps", 1)), ("services.Front.scaling.policy.metrics.type", "choice")),
        (services({"instance_type": "gpu.8"}), ("instance_type", "choice")),
        (services({"deployment_strategy": "Canary"}), ("strategy", "choice")),
        (services({"scaling": {"min_replicas": 3, "max_replicas": 2}}), ("scaling_config", "scaling")),
        (services({"scaling": {"max_replicas": 65}}), ("scaling_config.max_replicas", "range")),
        ({"labels": [{"key": "", "value": "x"}]}, ("labels.", "label")),
        ({"secrets": ["No_Name"]}, ("secrets.0", "pattern")),
        ({"envs": [{"name": "LD_PRELOAD", "value": "x"}]}, ("environment_variables.LD_PRELOAD", "variable")),
    ],
)
def test_what_has_no_meaning_here_is_refused_and_named(fields: dict[str, Any], expected: tuple[str, str]) -> None:
    assert problems(**fields) == [expected]


def test_every_problem_with_a_meaning_is_named_at_once() -> None:
    found = problems(canary={"a": 1}, **services({"extras": {"a": 1}}, Back={"instance_type": "x"}))
    assert [field for field, _ in found] == ["canary", "services.Front.extras", "services.Back.instance_type"]


def test_an_update_removes_the_variables_that_it_does_not_name() -> None:
    before = config(environment_variables={"APP_A": "1", "APP_B": "2", "LD_PRELOAD": "of an earlier version"})
    after = changed(before, envs=[{"name": "APP_B", "value": "3"}, {"name": "APP_C", "value": "4"}])
    assert after.environment_variables == {"APP_B": "3", "APP_C": "4"}


def test_an_update_describes_all_but_the_resources() -> None:
    before = config(access_authorization=True, strategy=Strategy.RECREATE, labels={"a": "b"}, default_api="greet")
    after = changed(before)
    assert (after.version, after.docker_image) == ("1.2", "bentos/duo:1.2")
    assert (after.access_authorization, after.strategy, after.labels) == (False, Strategy.ROLLING_UPDATE, {})
    assert after.resource_requirements == before.resource_requirements
    assert (after.name, after.model_type, after.default_api) == (before.name, before.model_type, "greet")


def test_an_update_without_metrics_aims_at_what_a_new_deployment_does() -> None:
    before = config(scaling=Scaling(2, 8, 50, 3))
    assert changed(before).scaling == new().scaling
    assert changed(before, **metrics(("concurrency", 7))).scaling == Scaling(1, 2, 80, 7)


def test_an_update_with_an_instance_type_has_its_resources() -> None:
    assert changed(config(), **services({"instance_type": "cpu.small"})).resource_requirements == SMALL
