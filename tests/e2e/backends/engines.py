"""The backends as operators see them: how a replica is killed on each, what each keeps of replicas, and their nodes."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from management.backends.docker.container import INSTANCE as CONTAINER_INSTANCE
from management.backends.kubernetes.manifest import INSTANCE as POD_INSTANCE
from management.backends.kubernetes.manifest import REPLICA
from management.backends.replica import identity
from tests.support import kubernetes_cluster as kubernetes
from tests.support.calls import until
from tests.support.docker_engine import docker
from tests.support.swarm.nodes import Nodes
from tests.support.victims import pid_of, processes

KILLED: Final = "the container was killed"
LITTLE: Final = {"cpu": "100m", "memory": "256Mi"}
HALF_A_NODE: Final = {"cpu": "900m", "memory": "256Mi"}


class Engine(Protocol):
    """What runs the replicas of a home's control planes."""

    @property
    def reason(self) -> str:
        """How ``status`` begins to say why a replica that was killed has ended."""

    @property
    def room(self) -> Mapping[str, str]:
        """Resources of a replica; on two nodes two replicas need both."""

    def environment(self) -> dict[str, str]:
        """Return the variables that make control planes use it."""

    def kill(self, home: Path, replica_id: str) -> None:
        """End a replica's process at once."""

    def left(self, home: Path) -> list[str]:
        """Return the names of all that it keeps of the home's replicas, whether or not they run."""

    def clear(self, home: Path) -> None:
        """Remove what a failed test left."""


class NodesEngine(Engine, Protocol):
    """An engine of two nodes, which tests may lose."""

    def places(self, home: Path) -> dict[str, str]:
        """Return the node of each replica that runs, by replica."""

    @contextmanager
    def drained(self, node: str) -> Iterator[None]:
        """Let a node run nothing until the block ends."""
        yield

    @contextmanager
    def killed(self, node: str) -> Iterator[None]:
        """Let a node have lost its power until the block ends."""
        yield

    @contextmanager
    def unplugged(self, node: str) -> Iterator[None]:
        """Let no packet reach a node or leave it until the block ends."""
        yield

    def is_lost(self, node: str) -> bool:
        """Whether the engine itself takes the node for lost."""


class Processes:
    """Processes of this machine."""

    reason = "the process was ended by SIGKILL"
    room = LITTLE

    def environment(self) -> dict[str, str]:
        return {}

    def kill(self, home: Path, replica_id: str) -> None:
        os.kill(pid_of(home, replica_id), signal.SIGKILL)

    def left(self, home: Path) -> list[str]:
        return sorted(processes(home))

    def clear(self, home: Path) -> None:
        """Chains end processes themselves."""


class Docker:
    """Containers of this machine's Docker Engine."""

    reason = KILLED
    room = HALF_A_NODE

    def environment(self) -> dict[str, str]:
        return {"ATELIER_BACKEND": "docker"}

    def kill(self, home: Path, replica_id: str) -> None:
        docker("kill", "--signal", "KILL", f"atelier-{replica_id}")

    def left(self, home: Path) -> list[str]:
        label = f"label={CONTAINER_INSTANCE}={identity.of_home(home).id}"
        return docker("ps", "--all", "--filter", label, "--format", "{{.Names}}").split()

    def clear(self, home: Path) -> None:
        if names := self.left(home):
            docker("rm", "--force", *names)


class Kubernetes:
    """Pods of the cluster."""

    reason = KILLED
    room = HALF_A_NODE

    def environment(self) -> dict[str, str]:
        return {
            "ATELIER_BACKEND": "kubernetes",
            "ATELIER_KUBERNETES_KUBECONFIG": str(kubernetes.kubeconfig()),
            "ATELIER_KUBERNETES_PULL": "Never",
        }

    def kill(self, home: Path, replica_id: str) -> None:
        kubernetes.process_of(replica_id).send_signal(signal.SIGKILL)

    def left(self, home: Path) -> list[str]:
        return kubernetes.kubectl("get", "pods,secrets", "--selector", self._own(home), "--output", "name").split()

    def clear(self, home: Path) -> None:
        kubernetes.kubectl("delete", "pods,secrets", "--selector", self._own(home), "--grace-period=0", "--force")

    def places(self, home: Path) -> dict[str, str]:
        items = kubernetes.described("pods", "--selector", self._own(home))["items"]
        running = [pod for pod in items if pod["status"]["phase"] == "Running"]
        return {pod["metadata"]["labels"][REPLICA]: pod["spec"].get("nodeName", "") for pod in running}

    @contextmanager
    def drained(self, node: str) -> Iterator[None]:
        try:
            kubernetes.kubectl("drain", node, "--force", "--ignore-daemonsets", "--delete-emptydir-data")
            yield
        finally:
            kubernetes.kubectl("uncordon", node)

    @contextmanager
    def killed(self, node: str) -> Iterator[None]:
        own = kubernetes.Node(int(node.removeprefix("node")))
        own.kill()
        try:
            yield
        finally:
            own.start()

    @contextmanager
    def unplugged(self, node: str) -> Iterator[None]:
        own = kubernetes.Node(int(node.removeprefix("node")))
        own.cut()
        try:
            yield
        finally:
            own.heal()
            until(lambda: not self.is_lost(node), 120)

    def is_lost(self, node: str) -> bool:
        conditions = kubernetes.described("node", node)["status"]["conditions"]
        return not any((each["type"], each["status"]) == ("Ready", "True") for each in conditions)

    @staticmethod
    def _own(home: Path) -> str:
        return f"{POD_INSTANCE}={identity.of_home(home).id}"


@dataclass(frozen=True)
class Swarm:
    """Services of a swarm that one test after another has for itself."""

    nodes: Nodes
    reason = KILLED
    room = HALF_A_NODE

    def environment(self) -> dict[str, str]:
        return {
            "ATELIER_BACKEND": "swarm",
            "ATELIER_SWARM_SOCKET": str(self.nodes.manager.socket),
            "ATELIER_SWARM_ADDRESS": "host",
            "ATELIER_KEEP_REPLICAS": "true",
        }

    def kill(self, home: Path, replica_id: str) -> None:
        node = self.nodes.place_of(f"atelier-{replica_id}")
        name = f"name=^atelier-{replica_id}\\."
        (container,) = node.docker("ps", "--quiet", "--filter", name).split()
        node.docker("kill", "--signal", "KILL", container)

    def left(self, home: Path) -> list[str]:
        kinds = (("service", "ls", "--quiet"), ("secret", "ls", "--quiet"), ("config", "ls", "--quiet"))
        held = [each for kind in kinds for each in self.nodes.manager.docker(*kind).split()]
        return held + [each for node in self.nodes.all for each in node.containers()]

    def clear(self, home: Path) -> None:
        manager = self.nodes.manager
        for kind in ("service", "secret", "config"):
            if names := manager.docker(kind, "ls", "--quiet").split():
                manager.docker(kind, "rm", *names)

    def places(self, home: Path) -> dict[str, str]:
        found = {}
        for service in self.nodes.services():
            name = service["Spec"]["Name"]
            try:
                found[name.removeprefix("atelier-")] = self._place(name)
            except (subprocess.CalledProcessError, IndexError):  # it went meanwhile, or is not placed yet
                continue
        return found

    def _place(self, service: str) -> str:
        return self.nodes.place_of(service).name

    @contextmanager
    def drained(self, node: str) -> Iterator[None]:
        own = self.nodes.of(node)
        try:
            self.nodes.update(own, "--availability", "drain")
            yield
        finally:
            self.nodes.update(own, "--availability", "active")

    @contextmanager
    def killed(self, node: str) -> Iterator[None]:
        own = self.nodes.of(node)
        own.kill()
        try:
            yield
        finally:
            own.start()
            self._await_return(node)

    @contextmanager
    def unplugged(self, node: str) -> Iterator[None]:
        own = self.nodes.of(node)
        own.unplug()
        try:
            yield
        finally:
            own.plug_in()
            self._await_return(node)

    def _await_return(self, node: str) -> None:
        """Wait until a node is back, and has ended what it ran meanwhile."""
        until(lambda: not self.is_lost(node))
        until(lambda: not self.nodes.of(node).containers())

    def is_lost(self, node: str) -> bool:
        return self.nodes.listed()[node] != "Ready"
