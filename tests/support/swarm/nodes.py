"""Docker Swarms of several nodes on this machine, for the tests that are marked ``swarm``.

A node is a real dockerd in namespaces of its own: it has its own address on a switch that all nodes and this machine
are connected to, its own processes and mounts, its own folder and socket. So it can be killed with all that runs on
it, unplugged, and plugged in again, and nothing of it is left. It needs root, as dockerd does.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar

import psutil
import pytest

PROGRAMS: Final = ("dockerd", "docker", "ip", "iptables", "nsenter", "setpriv", "unshare")
START_SECONDS: Final = 60.0
HEARTBEAT: Final = "2s"
"""Time between two signs of life of a node, of which Swarm misses three before it takes the node for lost."""
ENOUGH_MEMORY: Final = 8 * 2**30
"""Free bytes of memory with which nodes keep their images in it."""
CGROUPS: Final = Path("/sys/fs/cgroup")

T = TypeVar("T")


def require() -> None:
    """Skip the current test unless this machine can run nodes."""
    if problem := _problem():
        pytest.skip(problem)


@cache
def _problem() -> str:
    if os.geteuid() != 0:
        return "nodes of a swarm need root"
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    return f"nodes of a swarm need {', '.join(missing)}" if missing else ""


def until(ask: Callable[[], T], seconds: float = START_SECONDS) -> T:
    """Return the first true answer; a failing command counts as no answer."""
    deadline = time.monotonic() + seconds
    while True:
        failure: Exception | None = None
        try:
            if answer := ask():
                return answer
        except subprocess.CalledProcessError as error:
            failure = error
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:g} s: {getattr(failure, 'stderr', failure)}")
        time.sleep(0.05)


def _run(*command: str, timeout: float = 60) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=timeout).stdout.strip()


@dataclass
class Node:
    """One node; its hostname is ``name``."""

    name: str
    folder: Path
    namespace: str
    address: str
    process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        """Socket of its engine."""
        return self.folder / "docker.sock"

    def docker(self, *arguments: str, timeout: float = 60) -> str:
        """Run a docker command on it, and return its output. Raises CalledProcessError."""
        return _run("docker", "--host", f"unix://{self.socket}", *arguments, timeout=timeout)

    def start(self) -> None:
        """Start its engine, with whatever its folder has from before; return once it answers."""
        for leftover in ("docker.sock", "docker.pid", "exec"):  # a killed engine leaves them
            path = self.folder / leftover
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        engine = f"dockerd --data-root {self.folder}/data --exec-root {self.folder}/exec --host unix://{self.socket}"
        options = (
            f"--pidfile {self.folder}/docker.pid --cgroup-parent /{self.namespace} --userland-proxy=false"
            f" --insecure-registry {self.gateway}/32"
        )
        # The shell is the first of the processes: when it is killed, so are all.
        script = f"hostname {self.name}; {engine} {options}; exit"
        namespaces = ("--pid", "--mount", "--uts", "--ipc", "--fork", "--kill-child", "--mount-proc")
        with (self.folder / "dockerd.log").open("ab") as log:
            self.process = subprocess.Popen(
                # It ends with the tests, however those end.
                [
                    "setpriv",
                    "--pdeathsig",
                    "KILL",
                    "nsenter",
                    f"--net=/run/netns/{self.namespace}",
                    "unshare",
                    *namespaces,
                    "sh",
                    "-c",
                    script,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until(lambda: self.docker("version"))

    @property
    def gateway(self) -> str:
        """This machine's address, as the node reaches it; a registry there needs no certificate."""
        return f"{self.address.rpartition('.')[0]}.1"

    @property
    def first_process(self) -> int:
        """Process id, on this machine, of the first process of the node."""
        assert self.process is not None
        (child,) = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(child)

    def kill(self) -> None:
        """End every process of the node at once and without a warning."""
        if self.process is None:
            return
        with suppress(ProcessLookupError, ValueError, FileNotFoundError):
            os.kill(self.first_process, signal.SIGKILL)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=30)
        self.process = None

    def unplug(self) -> None:
        """Cut the node off from all others and from this machine; what runs on it goes on."""
        _run("ip", "-n", self.namespace, "link", "set", "eth0", "down")

    def plug_in(self) -> None:
        """Connect it again."""
        _run("ip", "-n", self.namespace, "link", "set", "eth0", "up")

    def load(self, *images: str) -> None:
        """Give it images of this machine's engine."""
        with subprocess.Popen(["docker", "save", *images], stdout=subprocess.PIPE) as saving:
            command = ["docker", "--host", f"unix://{self.socket}", "load", "--quiet"]
            subprocess.run(command, stdin=saving.stdout, check=True, capture_output=True, timeout=300)
        assert saving.returncode == 0

    def containers(self) -> list[str]:
        """Return the ids of the containers of replicas that run on it."""
        return self.docker("ps", "--quiet", "--no-trunc", "--filter", "label=com.docker.swarm.service.name").split()

    def network_of(self, container: str) -> Path:
        """Return the network namespace of a container, as a file of this machine."""
        key = self.docker("inspect", "--format", "{{.NetworkSettings.SandboxKey}}", container)
        return Path(f"/proc/{self.first_process}/root{key}")

    def remove_traces(self) -> None:
        """Remove its folder, and its control groups once its processes have left them."""
        until(self._leaves_no_groups)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _leaves_no_groups(self) -> bool:
        groups = [group for controller in CGROUPS.iterdir() if (group := controller / self.namespace).is_dir()]
        for top in groups:
            for folder in (*sorted((each for each in top.rglob("*") if each.is_dir()), reverse=True), top):
                with suppress(OSError):
                    folder.rmdir()
        return not any(top.exists() for top in groups)


@dataclass(frozen=True)
class Nodes:
    """Nodes that form one swarm; the first is its manager."""

    all: Sequence[Node] = field(default_factory=list)

    @property
    def manager(self) -> Node:
        """The manager."""
        return self.all[0]

    @property
    def worker(self) -> Node:
        """The second node."""
        return self.all[1]

    def of(self, name: str) -> Node:
        """Return the node with that hostname."""
        return next(node for node in self.all if node.name == name)

    def listed(self) -> dict[str, str]:
        """Return each node's state by its hostname, as the manager sees it."""
        lines = self.manager.docker("node", "ls", "--format", "{{.Hostname}} {{.Status}}").splitlines()
        return dict(line.split(maxsplit=1) for line in lines)

    def update(self, node: Node, *options: str) -> None:
        """Change a node, by options of ``docker node update``."""
        self.manager.docker("node", "update", *options, node.name)

    def place_of(self, service: str) -> Node:
        """Return the node that a service's task was placed on."""
        tasks = self.manager.docker("service", "ps", "--format", "{{.Node}}", "--no-trunc", service).split()
        return self.of(tasks[-1])

    def services(self) -> list[dict[str, Any]]:
        """Return the descriptions of all services."""
        ids = self.manager.docker("service", "ls", "--quiet").split()
        return list(json.loads(self.manager.docker("service", "inspect", *ids))) if ids else []


@contextmanager
def nodes(count: int = 2) -> Iterator[Nodes]:
    """Run a swarm of so many nodes, which this machine reaches; nothing of it is left afterwards."""
    token = secrets.token_hex(2)
    net = f"10.199.{int(token, 16) % 250}"
    home = Path(tempfile.mkdtemp(prefix="at-swarm-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        if psutil.virtual_memory().available > ENOUGH_MEMORY:  # a busy disk takes a minute for the images
            _run("mount", "-t", "tmpfs", "none", str(home))
            stack.callback(_run, "umount", "--lazy", str(home))
        _switch(token, net, stack)
        running = [_node(token, f"{net}.{number + 1}", home, number, stack) for number in range(1, count + 1)]
        manager = running[0]
        advertised = ("--advertise-addr", manager.address)
        manager.docker("swarm", "init", *advertised, "--dispatcher-heartbeat", HEARTBEAT)
        secret = manager.docker("swarm", "join-token", "--quiet", "worker")
        for node in running[1:]:
            node.docker("swarm", "join", "--token", secret, f"{manager.address}:2377")
        swarm = Nodes(running)
        until(lambda: [*swarm.listed().values()].count("Ready") == count)
        yield swarm


def _switch(token: str, net: str, stack: ExitStack) -> None:
    """Make a switch in a namespace of its own, where no rule of this machine's engine filters what it passes on."""
    switch = f"at-{token}-switch"
    _run("ip", "netns", "add", switch)
    stack.callback(_run, "ip", "netns", "delete", switch)
    _run("ip", "-n", switch, "link", "add", "switch", "type", "bridge")
    _run("ip", "-n", switch, "link", "set", "switch", "up")
    _connect(switch, f"at{token}", None)
    stack.callback(_run, "ip", "link", "delete", f"at{token}")
    _run("ip", "address", "add", f"{net}.1/24", "dev", f"at{token}")
    _run("ip", "link", "set", f"at{token}", "up")


def _connect(switch: str, name: str, namespace: str | None) -> None:
    """Lay a cable from the switch to a namespace, or to this machine under that name; nodes have it as ``eth0``."""
    end = ("name", "eth0", "netns", namespace) if namespace else ("name", name)
    _run("ip", "link", "add", f"{name}p", "netns", switch, "type", "veth", "peer", *end)
    _run("ip", "-n", switch, "link", "set", f"{name}p", "master", "switch", "up")


def _node(token: str, address: str, home: Path, number: int, stack: ExitStack) -> Node:
    namespace = f"at-{token}-{number}"
    _run("ip", "netns", "add", namespace)
    stack.callback(_run, "ip", "netns", "delete", namespace)
    _connect(f"at-{token}-switch", f"at{token}n{number}", namespace)
    node = Node(f"node{number}", home / f"n{number}", namespace, address)
    for command in (("link", "set", "lo", "up"), ("address", "add", f"{address}/24", "dev", "eth0")):
        _run("ip", "-n", namespace, *command)
    _run("ip", "-n", namespace, "link", "set", "eth0", "up")
    _run("ip", "-n", namespace, "route", "add", "default", "via", node.gateway)
    node.folder.mkdir()
    stack.callback(node.remove_traces)
    stack.callback(node.kill)
    node.start()
    return node
