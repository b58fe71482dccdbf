"""Control planes that follow one another on one home: started, armed, killed, and the state that each must reach."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import psutil

from management.store import Store
from tests.support.calls import until
from tests.support.management_servers import KEY, SERVE, Management, await_health, echo_config
from tests.support.running.preloaded import Command, Process, start
from tests.support.servers import ROOT, free_port
from tests.support.victims import processes

MODEL: Final = "echo"
LEASE_SECONDS: Final = 1.0
STOP_SECONDS: Final = 30.0


@dataclass
class ControlPlane:
    """A server that may end at any moment."""

    process: Process
    server: Management

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()


@dataclass(frozen=True)
class Wish:
    """What somebody wants; no replicas of no version where nothing is deployed."""

    version: str = ""
    replicas: int = 0


@dataclass
class Chain:
    """The servers of one home."""

    bentos: Path
    home: Path
    planes: list[ControlPlane] = field(default_factory=list)
    environment: Mapping[str, str] = field(default_factory=dict)
    """What every server is told besides."""

    @property
    def database(self) -> str:
        """The URL of the database of all."""
        return self.environment.get("ATELIER_DATABASE_URL", f"sqlite:///{self.home / 'atelier.db'}")

    def start(self, **own: str) -> ControlPlane:
        """Another one, which answers; ``own`` is what it alone is told."""
        plane = self.launch(**own)
        await_health(plane.process, plane.server.url, plane.server.log)
        return plane

    def launch(self, failpoint: str = "", **own: str) -> ControlPlane:
        """Another one, which may end itself before it answers."""
        log = Path(tempfile.mkstemp(prefix="atelier-chain-", suffix=".log")[1])
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        told = {
            "ATELIER_HOME": str(self.home),
            "ATELIER_API_KEY": KEY,
            "ATELIER_PUBLIC_URL": url,
            "ATELIER_LEASE_SECONDS": str(LEASE_SECONDS),
            "BENTOML_HOME": str(self.bentos),
            **self.environment,
            **own,
            **({"ATELIER_FAILPOINT": f"{failpoint}:exit"} if failpoint else {}),
        }
        with log.open("wb") as out:
            command = Command("server", "-c", SERVE, [str(port), "1"])
            process = start(command, cwd=ROOT, env={**os.environ, **told}, output=out)
        plane = ControlPlane(process, Management(url, process.pid, self.home, log))
        self.planes.append(plane)
        return plane

    def succeed(self, before: ControlPlane, plane: ControlPlane) -> None:
        """The one is killed, the other holds the lease after it."""
        with suppress(RuntimeError):  # it ended itself
            await_health(plane.process, plane.server.url, plane.server.log)
        before.kill()
        self.await_lead(or_ended=plane)

    def await_lead(self, or_ended: ControlPlane | None = None) -> None:
        """Wait until a server that still runs has renewed the lease, or that one has ended."""
        _, before = self._lease()
        until(lambda: (or_ended is not None and or_ended.ended) or self._lease()[1] > before)

    def holder(self) -> str:
        """Who held the lease last."""
        return self._lease()[0]

    def _lease(self) -> tuple[str, float]:
        """Who held the lease last, and until when."""
        with closing(Store(self.database)) as store, store.reading() as session:
            lease = session.leases.get()
        return ("", 0.0) if lease is None else (lease.held_by, lease.held_until)

    def truth(self, api: httpx.Client, wish: Wish) -> str:
        """What keeps the wish from being true; empty when it is, by what is recorded and by what runs."""
        answer = api.get(f"/models/{MODEL}/status")
        running = processes(self.home)
        if not wish.replicas:
            if answer.status_code != 404:
                return f"it is there: {answer.text}"
            return f"{sum(running.values())} processes of nobody" if running else ""
        told = answer.json()
        if answer.status_code != 200 or (told["version"], told["replicas"]["desired"]) != (wish.version, wish.replicas):
            return f"another wish: {answer.text}"
        alive = {
            replica["replica_id"]: replica
            for replica in told["replica_details"]
            if replica["state"] not in ("failed", "gone")
        }
        if any((replica["state"], replica["version"]) != ("ready", wish.version) for replica in alive.values()):
            return f"under way: {answer.text}"
        if len(alive) != wish.replicas or running != dict.fromkeys(alive, 1):
            return f"{len(alive)} replicas are recorded {sorted(alive)}, and {dict(running)} run"
        return ""

    def wish(self, api: httpx.Client) -> Wish:
        """What is recorded as wanted."""
        answer = api.get(f"/models/{MODEL}/status")
        if answer.status_code == 404:
            return Wish()
        answer.raise_for_status()
        told = answer.json()
        return Wish(told["version"], told["replicas"]["desired"]) if told["replicas"]["desired"] else Wish()

    def bring(self, api: httpx.Client, wish: Wish) -> None:
        """Makes it so, and waits for it."""
        found = self.wish(api)
        if found.version and not wish.replicas:
            change(api, "delete", wish).raise_for_status()
        elif wish.replicas:
            if not found.version:
                change(api, "deploy", wish).raise_for_status()
            elif found.version != wish.version:
                change(api, "update", wish).raise_for_status()
            change(api, "scale", wish).raise_for_status()
        until(lambda: not self.truth(api, wish))

    def close(self) -> None:
        """Ends every server in good order, the last one with the replicas."""
        living = [plane for plane in self.planes if not plane.ended]
        for plane in living:
            plane.process.terminate()
        for plane in living:
            try:
                plane.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                plane.kill()
        for plane in self.planes:
            plane.server.log.unlink(missing_ok=True)

    def logs(self) -> str:
        """The last lines of the last two servers."""
        return "\n".join(plane.server.log.read_text()[-2000:] for plane in self.planes[-2:])


@contextmanager
def chain(bentos: Path, home: Path, **environment: str) -> Iterator[Chain]:
    """Servers on that home until the block ends; nothing of it runs afterwards, whatever happened."""
    made = Chain(bentos, home, environment=environment)
    try:
        yield made
    finally:
        made.close()
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if Path(process.environ().get("HOME", "/")).is_relative_to(home):
                    process.kill()


def change(api: httpx.Client, kind: str, wish: Wish) -> httpx.Response:
    """Asks for it, and waits for nothing."""
    image = {"version": wish.version, "docker_image": f"tests/echo:{wish.version}"}
    variables = {"environment_variables": {"ECHO_VERSION": wish.version}}
    if kind == "deploy":
        scaling: dict[str, Any] = {"scaling_config": {"min_replicas": wish.replicas, "max_replicas": 4}}
        body = {"config": echo_config(MODEL, version=wish.version, **(variables | scaling))}
        return api.post("/models/deploy", json=body)
    if kind == "update":
        return api.put(f"/models/{MODEL}", json={"config": image | variables})
    if kind == "delete":
        return api.delete(f"/models/{MODEL}")
    return api.post(f"/models/{MODEL}/scale", json={"replicas": wish.replicas})
