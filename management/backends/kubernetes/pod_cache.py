"""All Pods of a control plane, kept up to date by one list-and-watch, so that observing a replica asks no server.

A thread lists the Pods once, then watches what changes since the list's version. The API server ends each watch after
a few seconds; the next one resumes where it ended, and so does the one after a cut. Where the API server no longer
knows the changes since a version (``410 Gone``), everything is listed again. A cache without contact to the API server
answers nothing: an old state is no ground for a conclusion.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from management.backends.kubernetes.client import KubernetesApi, KubernetesRefused, ResourceVersionGone, unavailable
from management.backends.kubernetes.pod_state import PodState
from management.errors import BackendUnavailable

STALE_SECONDS: Final = 6.0
"""Seconds without contact after which the cache is not believed: those of a watch, and as many again."""
RETRY_SECONDS: Final = 0.5
"""Seconds between two attempts to reach the API server."""
LIST_SECONDS: Final = 60.0
"""Seconds for which what the watch tells stands for a list: a list of many Pods is long."""
FIRST_SECONDS: Final = 10.0
"""Seconds that the first list may take."""

logger = logging.getLogger(__name__)

Json = dict[str, Any]


class PodCache:
    """The Pods with certain labels, by name."""

    def __init__(self, api: KubernetesApi, selector: str, changed: Callable[[PodState], None]) -> None:
        """``changed`` is called for each Pod that is new, has changed or is gone, but not at the first list."""
        self._api, self._selector, self._pod_changed = api, selector, changed
        self._pods: dict[str, Json] = {}
        self._floor = 0
        """Version of the newest list: older changes are in it."""
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()
        self._contact_at = self._listed_at = 0.0
        self._problem = ""
        self._changed = asyncio.Event()
        self.lists = 0
        """How often everything was listed, for tests."""

    async def pod(self, name: str) -> PodState | None:
        """Return a Pod; None when there is none. Raises BackendUnavailable for a cache without contact."""
        await self._follow()
        pod = self._pods.get(name)
        return None if pod is None else PodState(pod)

    async def until(self, name: str, holds: Callable[[PodState | None], bool], seconds: float) -> bool:
        """Wait until a condition holds for a Pod. Return False where it does not in time. Raises BackendUnavailable."""
        deadline = time.monotonic() + seconds
        while not holds(await self.pod(name)):
            changed, left = self._changed, deadline - time.monotonic()
            if left <= 0:
                return False
            try:
                await asyncio.wait_for(changed.wait(), min(left, RETRY_SECONDS))
            except TimeoutError:
                continue
        return True

    async def known(self) -> list[PodState]:
        """Return all Pods as far as the watch has told. Raises BackendUnavailable for a cache without contact."""
        await self._follow()
        return [PodState(pod) for pod in self._pods.values()]

    async def listed(self) -> list[PodState]:
        """Return all Pods, asking the API server unless that was done within ``LIST_SECONDS``, and keep them."""
        await self._follow()
        if time.monotonic() - self._listed_at > LIST_SECONDS:
            self._replace(await self._api.pods(self._selector))
        return await self.known()

    def learn(self, pod: Json) -> None:
        """Keep what the API server answered to a change of a Pod, unless something newer is known."""
        self._put(pod)

    async def _follow(self) -> None:
        """Begin to follow the changes, and wait for the first list. Raises BackendUnavailable for an old cache."""
        if self._thread is None:
            loop = asyncio.get_running_loop()
            self._thread = threading.Thread(target=self._run, args=(loop,), name="kubernetes-watch", daemon=True)
            self._thread.start()
        if not self._contact_at:
            await self._first_contact()
        if time.monotonic() - self._contact_at > STALE_SECONDS:
            raise unavailable(self._problem or "nothing was heard of the API server")

    async def _first_contact(self) -> None:
        deadline = time.monotonic() + FIRST_SECONDS
        while not self._contact_at:
            if self._problem or time.monotonic() > deadline:
                raise unavailable(self._problem or "the API server does not answer")
            try:
                await asyncio.wait_for(self._changed.wait(), RETRY_SECONDS)
            except TimeoutError:
                continue

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        """List and watch until the cache is closed; the loop of its users keeps the Pods."""
        version: str | None = None
        while not self._closed.is_set():
            try:
                if version is None:
                    listed = self._api.list_pods(self._selector)
                    version = str(listed["metadata"]["resourceVersion"])
                    self.lists += 1
                    self._tell(loop, self._replace, listed)
                version = self._watched(loop, version)
            except ResourceVersionGone:
                version = None
            except (BackendUnavailable, KubernetesRefused) as error:
                self._failed(loop, error)
                self._closed.wait(RETRY_SECONDS)
            except Exception:
                logger.exception("the Pods cannot be watched")
                version = None
                self._closed.wait(RETRY_SECONDS)

    def _watched(self, loop: asyncio.AbstractEventLoop, version: str) -> str:
        """Watch once, and return the version of the last change."""
        try:
            for event in self._api.watch_pods(self._selector, version):
                pod = event["object"]
                version = str(pod["metadata"]["resourceVersion"])
                keep = {"BOOKMARK": self._contact, "DELETED": self._drop}.get(event["type"], self._put)
                self._tell(loop, keep, pod)
        except (BackendUnavailable, KubernetesRefused) as error:
            if self._closed.is_set():
                return version
            self._failed(loop, error)
            self._closed.wait(RETRY_SECONDS)
            return version
        self._tell(loop, self._contact, {})
        return version

    def _tell(self, loop: asyncio.AbstractEventLoop, keep: Callable[[Json], None], content: Json) -> None:
        now = time.monotonic()

        def tell() -> None:
            self._contact_at, self._problem = now, ""
            keep(content)
            self._wake()

        self._soon(loop, tell)

    def _failed(self, loop: asyncio.AbstractEventLoop, error: BackendUnavailable | KubernetesRefused) -> None:
        reason = str(error.details.get("reason")) if isinstance(error, BackendUnavailable) else str(error)

        def tell() -> None:
            self._problem = reason
            self._wake()

        self._soon(loop, tell)

    def _soon(self, loop: asyncio.AbstractEventLoop, tell: Callable[[], None]) -> None:
        """Have the loop call this; where it has ended, the thread ends, too."""
        try:
            loop.call_soon_threadsafe(tell)
        except RuntimeError:
            self._closed.set()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _contact(self, _: Json) -> None:
        """Note nothing but the contact."""

    def _put(self, pod: Json) -> None:
        version = _version(pod)
        known = self._pods.get(pod["metadata"]["name"])
        if version > self._floor and (known is None or version > _version(known)):
            self._pods[pod["metadata"]["name"]] = pod
            self._pod_changed(PodState(pod))

    def _drop(self, pod: Json) -> None:
        if _version(pod) > self._floor and self._pods.pop(pod["metadata"]["name"], None) is not None:
            self._pod_changed(PodState(pod))

    def _replace(self, listed: Json) -> None:
        floor = _version(listed)
        if floor < self._floor:
            return
        self._listed_at = time.monotonic()
        before, first = self._pods, not self._floor
        newer = {name: pod for name, pod in before.items() if _version(pod) > floor}
        self._pods = {**{pod["metadata"]["name"]: pod for pod in listed["items"]}, **newer}
        self._floor = floor
        for name in () if first else before.keys() | self._pods.keys():
            old, new = before.get(name), self._pods.get(name)
            if old is None or new is None or _version(old) != _version(new):
                self._pod_changed(PodState(new or old or {}))

    def close(self) -> None:
        """End the thread, without waiting for it."""
        self._closed.set()
        self._api.end_watch()


def _version(thing: Json) -> int:
    """Return a resource version, which grows with each change of a cluster's etcd."""
    return int(thing["metadata"]["resourceVersion"])
