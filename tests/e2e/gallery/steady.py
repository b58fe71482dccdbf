"""Callers of a Bento at its own address, each of which sends the next request after an answer."""

from __future__ import annotations

import itertools
import threading
import uuid
from collections import Counter
from types import TracebackType
from typing import Any, Self

import httpx

from tests.e2e.gallery.bentos import Listed
from tests.support.management_servers import KEY, Management


def caller(server: Management, listed: Listed) -> httpx.Client:
    """Return a client of the Bento's own address."""
    url = f"{server.url}/models/{listed.name}"
    return httpx.Client(base_url=url, headers={"X-API-Key": KEY}, timeout=120, trust_env=False)


def call(client: httpx.Client, listed: Listed) -> httpx.Response:
    """Send the Bento's request, which may be repeated where a replica dies, and return the whole answer."""
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    if listed.files:
        types = {".csv": "text/csv", ".jpg": "image/jpeg"}
        files = {
            name: (path, (listed.folder / path).read_bytes(), types[path[path.rindex(".") :]])
            for name, path in listed.files.items()
        }
        return client.post(listed.path, files=files, headers=headers)
    if listed.json is None:
        return client.get(listed.path)
    return client.post(listed.path, json=listed.json, headers=headers)


class Steady:
    """Callers until the block ends, and what they were answered."""

    def __init__(self, server: Management, listed: Listed, callers: int = 2) -> None:
        self.answers = Counter[str]()
        """Number of answers by revision."""
        self.failures: list[str] = []
        """Every answer that was none of the Bento's, or said that something failed."""
        self._server, self._listed, self._over = server, listed, threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(callers)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        with caller(self._server, self._listed) as client:
            for number in itertools.count():
                if self._over.is_set():
                    return
                self._note(number, client)

    def _note(self, number: int, client: httpx.Client) -> None:
        try:
            answer = call(client, self._listed)
        except httpx.HTTPError as error:
            self.failures.append(f"call {number}: {error!r}")
            return
        if answer.is_success:
            self.answers[answer.headers["x-atelier-revision"]] += 1
        else:
            self.failures.append(f"call {number}: {answer.status_code} {_told(answer)}")


def _told(answer: httpx.Response) -> dict[str, Any]:
    return {"code": answer.headers.get("x-atelier-error"), "body": answer.text[:500]}
