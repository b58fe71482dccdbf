"""What a replica's Pod may do, and where it may run."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import kubernetes_validate
import pytest

from management.backends.kubernetes import manifest
from management.backends.kubernetes.manifest import PodTerms
from management.backends.kubernetes.settings import KubernetesSettings
from management.backends.launcher import Launch
from management.domain.records import Resources
from management.domain.secrets import SecretContent
from tests.doubles.launchers import launch

GIVEN = SecretContent({"KEY": "the-value"})
OLDEST = "1.28"


def terms(**changes: Any) -> PodTerms:
    return PodTerms("0123", 5.0, KubernetesSettings(**changes))


def spec(wanted: Launch | None = None, **changes: Any) -> dict[str, Any]:
    return dict(manifest.pod(wanted or launch(), terms(**changes))["spec"])


@pytest.mark.parametrize("version", [OLDEST, kubernetes_validate.latest_version()])
@pytest.mark.parametrize("secrets", [SecretContent(), GIVEN], ids=["plain", "with-secrets"])
def test_kubernetes_knows_every_field(version: str, secrets: SecretContent) -> None:
    wanted = replace(launch(), secrets=secrets, resources=Resources(500, 2**30, 2))
    full = terms(node_selector="a=b", tolerations="gpu:NoSchedule", pull_secrets="one", priority_class="high")
    for thing in (
        manifest.pod(wanted, full),
        manifest.files_secret(wanted, full, b"t"),
        manifest.given_secret(wanted, full),
    ):
        kubernetes_validate.validate(thing, version, strict=True)


@pytest.mark.parametrize("secrets", [SecretContent(), GIVEN], ids=["plain", "with-secrets"])
def test_a_pod_may_do_nothing_that_it_was_not_deployed_for(secrets: SecretContent) -> None:
    pod = spec(replace(launch(), secrets=secrets))
    assert (pod["restartPolicy"], pod["automountServiceAccountToken"], pod["enableServiceLinks"]) == (
        "Never",
        False,
        False,
    )
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in (*pod["containers"], *pod.get("initContainers", ())):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "privileged": False,
            "readOnlyRootFilesystem": True,
        }
        assert container["resources"]["limits"] == {"cpu": "100m", "memory": str(2**27)}
    kinds = {next(key for key in volume if key != "name") for volume in pod["volumes"]}
    assert kinds == {"secret", "emptyDir"}


def test_the_replica_alone_reads_its_files() -> None:
    pod = spec(replace(launch(), secrets=GIVEN))
    modes = {volume["name"]: volume["secret"]["defaultMode"] for volume in pod["volumes"] if "secret" in volume}
    assert modes == {"files": 0o440, "given": 0o440}
    (replica,) = pod["containers"]
    assert "given" not in [mount["name"] for mount in replica["volumeMounts"]]
    assert "the-value" not in json.dumps(pod)


def test_the_files_fit_into_a_secret() -> None:
    data = manifest.files_secret(launch(), terms(), b"token")["data"]
    assert {"host.py", "launch.json", "token"} <= set(data)
    assert sum(map(len, data.values())) < 2**20 // 4
    assert json.loads(base64.b64decode(data["launch.json"]))["port"] == 3000


def test_the_bento_is_the_images_whatever_a_caller_says() -> None:
    (replica,) = spec(replace(launch(), environment={"BENTO_PATH": "/x", "A": "$(HOME) $5"}))["containers"]
    variables = {variable["name"]: variable["value"] for variable in replica["env"]}
    assert "BENTO_PATH" not in variables
    assert variables["A"] == "$$(HOME) $5"


def test_gpus_are_asked_for_by_their_number() -> None:
    (replica,) = spec(replace(launch(), resources=Resources(5, 2**30, 2)))["containers"]
    assert replica["resources"]["limits"] == {"cpu": "10m", "memory": str(2**30), "nvidia.com/gpu": "2"}
    assert replica["resources"]["requests"] == replica["resources"]["limits"]


def test_labels_of_a_deployment_take_precedence_over_the_settings() -> None:
    labels = {
        "kubernetes.node-selector": "disk=ssd, zone=a",
        "kubernetes.tolerations": "gpu,team=vision:NoExecute",
        "kubernetes.spread": "topology.kubernetes.io/zone",
        "kubernetes.pull-secrets": "registry",
        "note": "for people",
    }
    pod = spec(replace(launch(), labels=labels), node_selector="disk=hdd", tolerations="old")
    assert pod["nodeSelector"] == {"disk": "ssd", "zone": "a"}
    assert pod["tolerations"] == [
        {"key": "gpu", "operator": "Exists"},
        {"key": "team", "operator": "Equal", "value": "vision", "effect": "NoExecute"},
    ]
    assert [spread["topologyKey"] for spread in pod["topologySpreadConstraints"]] == ["topology.kubernetes.io/zone"]
    assert pod["imagePullSecrets"] == [{"name": "registry"}]


def test_without_labels_the_settings_hold() -> None:
    pod = spec(node_selector="disk=ssd", spread="", pull_secrets="a,b")
    assert pod["nodeSelector"] == {"disk": "ssd"}
    assert pod["imagePullSecrets"] == [{"name": "a"}, {"name": "b"}]
    assert "topologySpreadConstraints" not in pod


@pytest.mark.parametrize(
    ("label", "text", "error"),
    [
        ("kubernetes.node-selector", "disk", "not KEY=VALUE"),
        ("kubernetes.node-selector", "a b=c", "not the key of a label"),
        ("kubernetes.node-selector", "a=b c", "not the value of a label"),
        ("kubernetes.tolerations", "gpu:Never", "none of NoSchedule"),
        ("kubernetes.spread", "/", "not the key of a label"),
        ("kubernetes.pull-secrets", "Registry", "not the name of an object"),
    ],
)
def test_a_label_that_cannot_be_read_is_named(label: str, text: str, error: str) -> None:
    with pytest.raises(ValueError, match=f"label '{label}' .*{error}"):
        manifest.pod(replace(launch(), labels={label: text}), terms())


@pytest.mark.parametrize("field", ["node_selector", "tolerations"])
def test_a_setting_that_cannot_be_read_ends_the_start(field: str) -> None:
    with pytest.raises(ValueError, match=field):
        terms(**{field: "a b:c"})


def test_a_model_id_that_is_no_label_is_an_annotation() -> None:
    pod = manifest.pod(replace(launch(), model_id="a" * 64), terms())
    assert "atelier.model" not in pod["metadata"]["labels"]
    assert pod["metadata"]["annotations"]["atelier.model"] == "a" * 64
