"""Actions on real servers in tests of the management: deploy, call, wait, list processes, apply a load."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.support.management_servers import Management, echo_config, managing

SETTINGS = ("STEADY_SECONDS=2", "RETRY_SECONDS=0.1", "CONCURRENCY=2", "QUEUE_SIZE=2")


@contextmanager
def quick(bentos: Path, *, home: Path | None = None, workers: int = 1) -> Iterator[Management]:
    """Serve with a small queue and short retries."""
    pairs = dict(setting.split("=") for setting in SETTINGS)
    environment = {f"ATELIER_{name}": value for name, value in pairs.items()}
    with managing(bentos, home=home, workers=workers, **environment) as running:
        yield running


def deploy(api: httpx.Client, model_id: str = "echo", **fields: object) -> httpx.Response:
    usual = {"scaling_config": {"max_replicas": 4}, "environment_variables": {"ECHO_VERSION": "1.0.0"}}
    config = echo_config(model_id, **(usual | fields))  # type: ignore[arg-type]
    return api.post("/models/deploy", params={"wait": 60}, json={"config": config})


@contextmanager
def emptied(server: Management, wait: int = 30) -> Iterator[httpx.Client]:
    """Give a client; every model that is left is deleted at the end."""
    with server.client(**{"Accept-Language": "en"}) as client:
        yield client
        for model in client.get("/models").json():
            client.delete(f"/models/{model['model_id']}", params={"force": True, "wait": wait})


def infer(api: httpx.Client, input_data: dict[str, Any], model_id: str = "echo", **fields: object) -> httpx.Response:
    return api.post(f"/models/{model_id}/inference", json={"input_data": input_data, **fields})


def status(api: httpx.Client, model_id: str = "echo") -> dict[str, Any]:
    answer: dict[str, Any] = api.get(f"/models/{model_id}/status").json()
    return answer


def until(true: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.02)


def hosts(server: Management) -> list[psutil.Process]:
    """Return the processes of this server's replicas."""
    folder = str(server.home / "replicas")
    found = []
    for process in psutil.process_iter():
        try:
            if any(part.startswith(folder) for part in process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


class Load:
    """Callers that each send a request after an answer until the block ends, and counts of the answers."""

    def __init__(self, server: Management, callers: int = 2, input_data: dict[str, Any] | None = None) -> None:
        self._input = {"n": 1} if input_data is None else input_data
        self.statuses: Counter[int] = Counter()
        self.versions: Counter[str] = Counter()
        self.refusals: list[str] = []
        self._server, self._stop = server, threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(callers)]

    def _ask(self) -> None:
        with self._server.client() as client:
            while not self._stop.is_set():
                answer = infer(client, self._input)
                self.statuses[answer.status_code] += 1
                if answer.status_code != 200:
                    self.refusals.append(answer.text)
                if answer.status_code == 200:
                    self.versions[answer.json()["output_data"]["version"]] += 1

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
