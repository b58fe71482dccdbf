"""The files of deploy/kubernetes: right by the newest schemas, no more rights than are used, and taken by a cluster."""

from __future__ import annotations

import ast
import base64
import re
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import kubernetes_validate
import pytest
import yaml  # type: ignore[import-untyped]

from management.backends.kubernetes import client
from management.backends.kubernetes.client import KubernetesApi
from management.backends.kubernetes.launcher import KubernetesLauncher
from management.backends.kubernetes.manifest import PORT, REPLICA
from management.backends.kubernetes.settings import KubernetesSettings
from management.backends.launcher import Phase
from tests.doubles.launchers import GRACE_SECONDS, launch
from tests.doubles.launchers import until as phase_until
from tests.doubles.management import settings
from tests.support import kubernetes_cluster as cluster
from tests.support.calls import deploy, infer, until
from tests.support.load import callers
from tests.support.management_servers import KEY, Management
from tests.support.postgresql.forwarder import forwarding
from tests.support.postgresql.server import PostgresqlServer
from tests.support.running.figures import Figure
from tests.support.servers import ROOT

FOLDER: Final = ROOT / "deploy" / "kubernetes"
NAMESPACE: Final = "atelier"
CALLS: Final = 2000
VERBS: Final = {"read": "get", "list": "list", "create": "create", "patch": "patch", "delete": "delete"}
RESOURCES: Final = {
    "pod": ("", "pods"),
    "pod_log": ("", "pods/log"),
    "secret": ("", "secrets"),
    "custom_object": ("metrics.k8s.io", "pods"),
    "node": ("", "nodes"),
}
_CALL: Final = re.compile(r"(read|list|create|patch|delete)_(?:namespaced_)?(pod_log|pod|secret|custom_object|node)\Z")


def documents() -> Iterator[dict[str, Any]]:
    for name in yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["resources"]:
        yield from yaml.safe_load_all((FOLDER / name).read_text())


def of_kind(kind: str) -> list[dict[str, Any]]:
    return [document for document in documents() if document["kind"] == kind]


@pytest.mark.parametrize("version", ["1.25", kubernetes_validate.latest_version()])
def test_kubernetes_knows_every_field(version: str) -> None:
    kinds = [
        document["kind"] for document in documents() if kubernetes_validate.validate(document, version, strict=True)
    ]
    assert {"Deployment", "Service", "Role", "NetworkPolicy", "PodDisruptionBudget"} <= set(kinds)


def used() -> dict[tuple[str, str], set[str]]:
    """The verbs that the client uses, by group and resource: each method of the library is an attribute in its file."""
    verbs: dict[tuple[str, str], set[str]] = defaultdict(set)
    tree = ast.parse(Path(client.__file__).read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and (call := _CALL.match(node.attr)):
            verbs[RESOURCES[call[2]]].add(VERBS[call[1]])
        if isinstance(node, ast.keyword) and node.arg == "watch":
            verbs[RESOURCES["pod"]].add("watch")
    return verbs


def test_the_control_plane_may_do_what_its_client_does_and_nothing_else() -> None:
    granted: dict[tuple[str, str], set[str]] = defaultdict(set)
    for role in (*of_kind("Role"), *of_kind("ClusterRole")):
        for rule in role["rules"]:
            for group in rule["apiGroups"]:
                for resource in rule["resources"]:
                    granted[group, resource] |= set(rule["verbs"])
    assert granted == used()
    (role,) = of_kind("ClusterRole")
    assert role["rules"] == [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]}]


def test_replicas_answer_their_control_plane_alone() -> None:
    (policy,) = of_kind("NetworkPolicy")
    (deployment,) = of_kind("Deployment")
    assert policy["spec"]["podSelector"] == {"matchExpressions": [{"key": REPLICA, "operator": "Exists"}]}
    (rule,) = policy["spec"]["ingress"]
    assert rule["ports"] == [{"protocol": "TCP", "port": PORT}]
    (source,) = rule["from"]
    own = deployment["spec"]["template"]["metadata"]["labels"]
    assert source["podSelector"]["matchLabels"].items() <= own.items()
    for kind in ("Service", "PodDisruptionBudget"):
        (thing,) = of_kind(kind)
        selector = thing["spec"]["selector"]
        assert selector.get("matchLabels", selector).items() <= own.items()


def test_the_control_plane_is_confined_like_its_replicas() -> None:
    (deployment,) = of_kind("Deployment")
    assert deployment["spec"]["replicas"] == 2
    pod = deployment["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    for container in (*pod["initContainers"], *pod["containers"]):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "privileged": False,
            "readOnlyRootFilesystem": True,
        }
        assert container["resources"]["limits"]
    (namespace,) = of_kind("Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@contextmanager
def applied(database: PostgresqlServer, url: str) -> Iterator[None]:
    """The files in the cluster, with that database, which this machine forwards to.

    The cluster's version knows an earlier form of the disruption budget.
    """
    address = cluster.own_address()
    with forwarding(database.port, address) as forwarder:
        given = {
            "api-key": KEY,
            "secrets.key": base64.b64encode(b"k" * 32).decode(),
            "instance.secret": "x" * 32,
            "database-url": url.replace(f"127.0.0.1:{database.port}", f"{address}:{forwarder.port}"),
        }
        try:
            cluster.kubectl("apply", "--filename", str(FOLDER / "namespace.yaml"))
            literals = [f"--from-literal={key}={value}" for key, value in given.items()]
            cluster.kubectl("create", "secret", "generic", "atelier", "--namespace", NAMESPACE, *literals)
            made = cluster.kubectl("kustomize", str(FOLDER))
            assert "policy/v1\n" in made
            cluster.kubectl("apply", "--filename", "-", text=made.replace("policy/v1\n", "policy/v1beta1\n"))
            yield
        finally:
            cluster.kubectl("delete", "namespace", NAMESPACE)
            cluster.kubectl("delete", "clusterrole,clusterrolebinding", "atelier-nodes", "--ignore-not-found")


def rolled_out() -> None:
    """Wait until every control plane is ready."""
    cluster.kubectl("rollout", "status", "deployment/atelier", "--namespace", NAMESPACE, "--timeout", "115s")


def planes() -> dict[str, str]:
    """The nodes of the control planes that are ready, by Pod."""
    items = cluster.described("pods", "--namespace", NAMESPACE, "--selector", "app.kubernetes.io/name=atelier")["items"]
    ready = [
        pod for pod in items if ("Ready", "True") in {(c["type"], c["status"]) for c in pod["status"]["conditions"]}
    ]
    return {pod["metadata"]["name"]: pod["spec"]["nodeName"] for pod in ready}


def replicas() -> dict[str, str]:
    """The nodes of the replicas, by Pod."""
    items = cluster.described("pods", "--namespace", NAMESPACE, "--selector", REPLICA)["items"]
    return {pod["metadata"]["name"]: pod["spec"]["nodeName"] for pod in items}


@pytest.mark.kubernetes
@pytest.mark.postgresql
def test_from_an_empty_cluster_to_answers_of_two_control_planes(
    atelier_image: str, echo_images: list[str], postgresql: PostgresqlServer, postgresql_url: str, figure: Figure
) -> None:
    cluster.give(atelier_image)
    cluster.give(*echo_images)
    began = time.monotonic()
    with applied(postgresql, postgresql_url):
        rolled_out()
        answered = time.monotonic() - began
        assert set(planes().values()) == {"node1", "node2"}
        service = cluster.described("service", "atelier", "--namespace", NAMESPACE)["spec"]["clusterIP"]
        server = Management(f"http://{service}", 0, Path(), Path())
        with server.client() as api:
            assert api.get("/health").json()["backend_state"] == "ok"
            deploy(api, labels={"kubernetes.node-selector": "kubernetes.io/hostname=node2"}).raise_for_status()
            until(lambda: infer(api, {"n": 1}).status_code == 200, 120)
            total = time.monotonic() - began
            before, replaced = replicas(), planes()
            assert set(before.values()) == {"node2"}
            with callers(server, 2) as traffic:
                cluster.kubectl("rollout", "restart", "deployment/atelier", "--namespace", NAMESPACE)
                rolled_out()
                until(lambda: len(traffic.answers) >= CALLS and planes().keys().isdisjoint(replaced), 120)
            assert replicas() == before
        with server.client() as api:  # a connection goes to one control plane
            assert api.delete("/models/echo", params={"wait": 60}).status_code == 200
    figure(
        f"two control planes answered after {answered:.0f} s, a model after {total:.0f} s; "
        f"{len(traffic.failed)} failed of {len(traffic.answers):,} while both were replaced",
        goal="an answer; 0 failed of 2,000",
    )
    assert not traffic.failed, traffic.told


@pytest.fixture
def account(tmp_path: Path, postgresql: PostgresqlServer, postgresql_url: str) -> Iterator[Path]:
    """The credentials of the files' service account, as a configuration."""
    with applied(postgresql, postgresql_url):
        secrets = cluster.described("secrets", "--namespace", NAMESPACE)["items"]
        (token,) = (
            base64.b64decode(secret["data"]["token"]).decode()
            for secret in secrets
            if secret["metadata"].get("annotations", {}).get("kubernetes.io/service-account.name") == "atelier"
        )
        configuration = yaml.safe_load(cluster.kubeconfig().read_text())
        configuration["users"][0]["user"] = {"token": token}
        file = tmp_path / "account"
        file.write_text(yaml.safe_dump(configuration))
        yield file


@pytest.mark.kubernetes
@pytest.mark.postgresql
async def test_a_cluster_takes_them_and_their_account_is_enough_for_a_replica(
    echo_images: list[str], account: Path, tmp_path: Path
) -> None:
    cluster.give(*echo_images)
    own = KubernetesSettings(kubeconfig=account, namespace=NAMESPACE, pull="Never")
    told = settings(tmp_path / "home")
    api = KubernetesApi(own)
    launcher = KubernetesLauncher(api, own, told.replicas, told.storage.home)
    one = launch()
    try:
        await launcher.start(one)
        await phase_until(launcher, one.replica_id, Phase.READY)
        assert len(api.nodes()) == 2
        assert await launcher.usage([one.replica_id]) == {}
        await launcher.log(one.replica_id, 5)
        await launcher.stop(one.replica_id, GRACE_SECONDS)
        assert await launcher.list_running() == []
        await launcher.remove_files(one.replica_id)
        assert await launcher.list_leftovers() == []
    finally:
        await launcher.close()
    for verb, resource in (("create", "deployments"), ("get", "secrets"), ("create", "configmaps")):
        assert not allowed(verb, resource)


def allowed(verb: str, resource: str) -> bool:
    user = f"system:serviceaccount:{NAMESPACE}:atelier"
    try:
        answer = cluster.kubectl("auth", "can-i", verb, resource, "--namespace", NAMESPACE, "--as", user)
    except subprocess.CalledProcessError as refused:
        answer = refused.stdout
    return answer.strip() == "yes"
