"""Version 1's calls on deployments, made by BentoML's own REST client."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from bentoml._internal.cloud.client import RestApiClient
from bentoml._internal.cloud.schemas.modelschemas import (
    DeploymentTargetConfig,
    DeploymentTargetHPAConf,
    DeploymentTargetResourceItem,
    DeploymentTargetResources,
    HPAMetric,
    HPAPolicy,
    LabelItemSchema,
)
from bentoml._internal.cloud.schemas.schemasv1 import (
    CreateDeploymentSchema,
    CreateDeploymentTargetSchema,
    DeploymentFullSchema,
    DeploymentTargetSchema,
    UpdateDeploymentSchema,
)
from bentoml.exceptions import CloudRESTApiClientError

from tests.support.calls import deploy, infer, until
from tests.support.management_servers import KEY, Management

pytestmark = pytest.mark.server
PLACE = ("default", "atelier")
SECRET = {"name": "hf", "content": {"type": "env", "items": [{"key": "HF_TOKEN", "value": "x"}]}}


@pytest.fixture(scope="module")
def client(server: Management) -> Iterator[RestApiClient]:
    """BentoML's own REST client."""
    rest = RestApiClient(server.url, KEY)
    yield rest
    rest.session.close()


@pytest.fixture
def viewer(client: RestApiClient, server: Management) -> Iterator[RestApiClient]:
    """The same with the key of a viewer."""
    made = client.session.post("/api/v1/api_tokens", json={"name": "v1", "scopes": ["read_cluster"]}).json()
    rest = RestApiClient(server.url, made["token"])
    yield rest
    rest.session.close()
    client.session.delete(f"/api/v1/api_tokens/{made['uid']}")


def target(**config: Any) -> CreateDeploymentTargetSchema:
    """A target with the echo."""
    return CreateDeploymentTargetSchema("echo", "1.0.0", DeploymentTargetConfig(**config))


def creation(name: str, *targets: CreateDeploymentTargetSchema, **fields: Any) -> CreateDeploymentSchema:
    return CreateDeploymentSchema(name=name, targets=list(targets), **({"kube_namespace": "atelier"} | fields))


def created(client: RestApiClient, name: str, **config: Any) -> DeploymentFullSchema:
    made = client.v1.create_deployment("default", creation(name, target(**config)))
    assert made is not None
    return made


def target_of(deployment: DeploymentFullSchema | None) -> DeploymentTargetSchema:
    """The only target of a deployment."""
    assert deployment is not None
    assert deployment.latest_revision is not None
    (found,) = deployment.latest_revision.targets
    return found


def everything() -> dict[str, Any]:
    """A configuration with all that has a meaning here."""
    amounts = DeploymentTargetResourceItem(cpu="100m", memory="128Mi")
    return {
        "resources": DeploymentTargetResources(requests=amounts, limits=DeploymentTargetResourceItem(cpu="0.1")),
        "hpa_conf": DeploymentTargetHPAConf(0, 3, HPAPolicy([HPAMetric("cpu", 60), HPAMetric("concurrency", "4")])),
        "envs": [LabelItemSchema("APP_A", "1")],
        "access_control": "public",
        "enable_ingress": True,
        "deployment_strategy": "Recreate",
        "enable_debug_mode": False,
    }


def test_a_deployment_is_what_its_target_says_at_each_front(
    client: RestApiClient, api: httpx.Client, pushed: None
) -> None:
    labels = [LabelItemSchema("team", "vision")]
    made = client.v1.create_deployment("default", creation("lesson", target(**everything()), labels=labels))
    found = target_of(made)
    assert (found.bento.repository.name, found.bento.version) == ("echo", "1.0.0")
    config = found.config
    assert config.hpa_conf == DeploymentTargetHPAConf(
        0, 3, HPAPolicy([HPAMetric("cpu", 60), HPAMetric("concurrency", 4)])
    )
    assert (config.envs, config.access_control) == ([LabelItemSchema("APP_A", "1")], "public")
    assert (config.resource_instance, config.deployment_strategy) == (None, "Recreate")
    requests = config.resources.requests if config.resources else None
    assert requests == DeploymentTargetResourceItem("100m", "128Mi")
    told = api.get("/models/lesson/status").json()["config"]
    assert (told["access_authorization"], told["labels"], told["strategy"]) == (False, {"team": "vision"}, "Recreate")
    second = client.v2.get_deployment("lesson")
    assert second.urls == made.urls if made else False


def test_what_is_read_can_be_sent_back_and_changes_nothing(
    client: RestApiClient, api: httpx.Client, pushed: None
) -> None:
    created(client, "back", **everything())
    created(client, "typed", resource_instance="cpu.small")
    for name in ("back", "typed"):
        before = client.v1.get_deployment(*PLACE, name)
        sent = CreateDeploymentTargetSchema("echo", "1.0.0", target_of(before).config)
        after = client.v1.update_deployment(*PLACE, name, UpdateDeploymentSchema(targets=[sent]))
        assert target_of(after).config == target_of(before).config
        assert api.get(f"/models/{name}/status").json()["revision"] == 1
    assert target_of(client.v1.get_deployment(*PLACE, "typed")).config.resource_instance == "cpu.small"


def test_an_update_keeps_what_version_1_has_no_word_for(client: RestApiClient, api: httpx.Client, pushed: None) -> None:
    client.session.post("/api/v1/org_secrets", json=SECRET).raise_for_status()
    deploy(api, "kept", secrets=["hf"], labels={"a": "b"}, access_authorization=True).raise_for_status()
    body = UpdateDeploymentSchema(targets=[target(envs=[LabelItemSchema("APP_B", "2")])])
    assert target_of(client.v1.update_deployment(*PLACE, "kept", body)).config.access_control == "protected"
    told = api.get("/models/kept/status").json()["config"]
    assert (told["secrets"], told.get("labels", {}), told.get("access_authorization", True)) == (
        ["hf"],
        {"a": "b"},
        True,
    )
    assert list(told["environment_variables"]) == ["APP_B"]
    body = UpdateDeploymentSchema(targets=[target(access_control="public")], labels=[])
    client.v1.update_deployment(*PLACE, "kept", body)
    told = api.get("/models/kept/status").json()["config"]
    assert (told["secrets"], told.get("labels", {}), told["access_authorization"]) == (["hf"], {}, False)


def test_a_deployment_is_called_terminated_started_and_deleted(
    client: RestApiClient, api: httpx.Client, pushed: None
) -> None:
    created(client, "life")
    until(lambda: infer(api, {"n": 1}, "life").status_code == 200)
    stopped = client.v1.terminate_deployment(*PLACE, "life")
    assert stopped is not None
    assert stopped.status in ("terminating", "terminated")
    started = client.v1.update_deployment(*PLACE, "life", UpdateDeploymentSchema(targets=[target()]))
    assert started is not None
    assert started.status not in ("terminating", "terminated")
    assert client.v1.delete_deployment(*PLACE, "life") is not None
    until(lambda: client.v1.get_deployment(*PLACE, "life") is None)


def test_lists_are_those_of_version_2(client: RestApiClient, api: httpx.Client, pushed: None) -> None:
    for name in ("one", "two", "other-one"):
        created(client, name, hpa_conf=DeploymentTargetHPAConf(0, 1))
    found = client.v1.get_organization_deployment_list(count=2, start=0)
    assert found is not None
    assert (found.total, [each.name for each in found.items]) == (3, ["other-one", "two"])
    of_cluster = client.v1.get_cluster_deployment_list("default", search="one")
    assert of_cluster is not None
    assert {each.name for each in of_cluster.items} == {"one", "other-one"}


def test_a_viewer_reads_without_values_and_changes_nothing(
    client: RestApiClient, viewer: RestApiClient, api: httpx.Client, pushed: None
) -> None:
    created(client, "seen", envs=[LabelItemSchema("APP_A", "sesame")], hpa_conf=DeploymentTargetHPAConf(0, 1))
    masked = target_of(viewer.v1.get_deployment(*PLACE, "seen")).config
    assert masked.envs == [LabelItemSchema("APP_A", "******")]
    assert viewer.v1.get_organization_deployment_list() is not None
    changes: tuple[Callable[[], object], ...] = (
        lambda: viewer.v1.create_deployment("default", creation("mine", target())),
        lambda: viewer.v1.update_deployment(*PLACE, "seen", UpdateDeploymentSchema(targets=[target()])),
        lambda: viewer.v1.terminate_deployment(*PLACE, "seen"),
        lambda: viewer.v1.delete_deployment(*PLACE, "seen"),
    )
    for change in changes:
        with pytest.raises(CloudRESTApiClientError, match="403"):
            change()


def test_there_is_nothing_in_another_cluster_or_namespace(
    client: RestApiClient, api: httpx.Client, pushed: None
) -> None:
    created(client, "here", hpa_conf=DeploymentTargetHPAConf(0, 1))
    assert client.v1.get_cluster_deployment_list("other") is None
    for place in (("other", "atelier"), ("default", "other")):
        assert client.v1.get_deployment(*place, "here") is None
        assert client.v1.update_deployment(*place, "here", UpdateDeploymentSchema(targets=[target()])) is None
        assert client.v1.terminate_deployment(*place, "here") is None
        assert client.v1.delete_deployment(*place, "here") is None
    with pytest.raises(CloudRESTApiClientError, match="404"):
        client.v1.create_deployment("other", creation("there", target()))
    with pytest.raises(CloudRESTApiClientError, match="kube_namespace must be one of: atelier"):
        client.v1.create_deployment("default", creation("there", target(), kube_namespace="yatai"))
    assert client.v1.get_deployment(*PLACE, "missing") is None


def test_what_has_no_meaning_here_is_refused_by_its_own_name(client: RestApiClient, pushed: None) -> None:
    with pytest.raises(CloudRESTApiClientError, match=r"400.*targets\.0\.config\.enable_debug_mode has no meaning"):
        client.v1.create_deployment("default", creation("x", target(enable_debug_mode=True)))


def test_the_paths_are_the_clients_alone(server: Management) -> None:
    with server.client() as documented:
        assert documented.get("/deployments").status_code == 404
    key = {"X-API-Key": KEY}
    assert httpx.get(f"{server.url}/bentoml/api/v1/deployments", headers=key, trust_env=False).status_code == 200
