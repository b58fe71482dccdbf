"""deploy/swarm/stack.yaml on a real swarm: from the stack to a key, a deployment, an answer, and nothing left."""

from __future__ import annotations

import os
import subprocess

import httpx
import pytest

from tests.support.calls import deploy, infer
from tests.support.calls import until as until_true
from tests.support.servers import ROOT
from tests.support.swarm.nodes import Node, nodes, until

pytestmark = pytest.mark.swarm

STACK = ROOT / "deploy" / "swarm" / "stack.yaml"
ROOM = {"cpu": "1", "memory": "256Mi"}
KEY_FILE = "/home/bentoml/atelier/admin.key"


def stacked(manager: Node) -> None:
    """Deploy the stack on a manager whose socket is not where it usually is."""
    group = str(manager.socket.stat().st_gid)
    environment = {**os.environ, "DOCKER_SOCKET": str(manager.socket), "DOCKER_GROUP": group}
    command = ["docker", "--host", f"unix://{manager.socket}", "stack", "deploy", "--resolve-image", "never"]
    subprocess.run([*command, "-c", str(STACK), "atelier"], env=environment, check=True, capture_output=True)


def answers(client: httpx.Client) -> bool:
    try:
        return bool(client.get("/health").json()["lease"] == "held")
    except httpx.TransportError:
        return False


def test_the_stack_deploys_calls_and_deletes_a_model_in_its_network(atelier_image: str, echo_images: list[str]) -> None:
    with nodes(1) as swarm:
        manager = swarm.manager
        manager.load(atelier_image, echo_images[0])
        swarm.update(manager, "--label-add", "atelier=true")
        stacked(manager)
        url = f"http://{manager.address}:8080/api/v1"
        with httpx.Client(base_url=url, timeout=120, trust_env=False) as api:
            until(lambda: answers(api), 120)
            (container,) = manager.docker("ps", "--quiet", "--filter", "name=control-plane").split()
            api.headers["X-API-Key"] = manager.docker("exec", container, "cat", KEY_FILE)
            deployed = deploy(api, resource_requirements=ROOM)
            assert deployed.status_code == 200, deployed.text
            assert infer(api, {"n": 1}).json()["output_data"]["echo"] == {"n": 1}
            (service,) = [each for each in swarm.services() if "atelier.replica" in each["Spec"]["Labels"]]
            assert "Ports" not in service["Endpoint"], "it is called in the network alone"
            assert api.delete("/models/echo", params={"wait": 60}).status_code == 200
            until_true(lambda: [each["Spec"]["Name"] for each in swarm.services()] == ["atelier_control-plane"])
            state = "{{.State.Health.Status}}"
            until(lambda: manager.docker("inspect", "--format", state, container) == "healthy")
