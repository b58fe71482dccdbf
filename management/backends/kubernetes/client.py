"""The launcher's calls to a cluster's API server, by the ``kubernetes`` library.

Every call has a deadline and runs in a thread; objects go in and come out as the API's own JSON. The errors of the
library and of ``urllib3`` are translated here, once:

    the API server does not answer, or not in time      BackendUnavailable
    it no longer knows a version to watch from          ResourceVersionGone
    there is no such object                             KubernetesNotFound
    anything else that it refuses                       KubernetesRefused
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import kubernetes
import urllib3
from kubernetes.client.rest import ApiException

from management.backends.kubernetes.settings import KubernetesSettings
from management.backends.launcher import TAIL_BYTES
from management.backends.ping import Ping
from management.errors import BackendUnavailable

CONNECT_SECONDS: Final = 2.0
"""Seconds that a connection may take."""
CALL_SECONDS: Final = 10.0
"""Seconds that the API server has to answer."""
WATCH_SECONDS: Final = 3
"""Seconds after which the API server ends a watch: its regular end shows that the connection is alive."""
WATCH_SILENCE_SECONDS: Final = WATCH_SECONDS + 2.0
"""Seconds without a byte after which the connection of a watch is taken for broken."""
MAX_THREADS: Final = 16
"""Calls that run at the same time."""
AWAY_STATUSES: Final = (401, 429, 500, 502, 503, 504)
"""HTTP statuses that say nothing of the call itself: the API server is overloaded, starts, or does not know us now."""
MAX_REFUSAL_CHARACTERS: Final = 300
"""Characters of the API server's error text that are kept."""
NAMESPACE_FILE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
"""File with the namespace of the Pod that this process runs in."""
METADATA_ALONE: Final = {"Accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"}
"""Header with which the API server lists objects without their content."""
METRICS: Final = ("metrics.k8s.io", "v1beta1")
"""Group and version of the API of the metrics server."""

logger = logging.getLogger(__name__)

Json = dict[str, Any]
Method = Callable[[Any], Callable[..., Any]]
"""Returns a method of the library's, of an API of this client."""


class KubernetesRefused(Exception):
    """The API server refused the call; the text is its own."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(" ".join(text.split())[:MAX_REFUSAL_CHARACTERS])
        self.status = status


class KubernetesNotFound(KubernetesRefused):
    """There is no object of that name."""


class ResourceVersionGone(Exception):
    """The changes since a version are no longer known: everything has to be listed again."""


def unavailable(reason: str = "the API server does not answer") -> BackendUnavailable:
    """Return the error for a cluster that cannot be asked now."""
    return BackendUnavailable({"backend": "kubernetes", "reason": reason}, retry_after=5)


class KubernetesApi:
    """The objects of one namespace; connected at the first call."""

    def __init__(self, settings: KubernetesSettings) -> None:
        self._settings = settings
        self._pool = ThreadPoolExecutor(MAX_THREADS, thread_name_prefix="kubernetes")
        self._connecting = threading.Lock()
        self._client: Any = None
        self._namespace = ""
        self._ping = Ping(self._ask, BackendUnavailable, KubernetesRefused)
        self._watch: Any = None

    async def answers(self) -> bool:
        """Return whether the API server answers; concurrent callers share one ping."""
        return await self._ping.answers()

    async def _ask(self) -> None:
        await self._json(lambda client: kubernetes.client.VersionApi(client).get_code, namespaced=False)

    async def create_pod(self, pod: Json) -> Json:
        """Create a Pod, and return it as the API server made it."""
        return await self._json(lambda client: _core(client).create_namespaced_pod, body=pod)

    async def pod(self, name: str) -> Json | None:
        """Return a Pod as it is now; None when there is none of that name."""
        try:
            return await self._json(lambda client: _core(client).read_namespaced_pod, name=name)
        except KubernetesNotFound:
            return None

    async def end_pod(self, name: str) -> Json:
        """Have the kubelet end the Pod's containers after their grace period; the Pod stays, with its log."""
        patch = {"spec": {"activeDeadlineSeconds": 1}}
        return await self._json(lambda client: _core(client).patch_namespaced_pod, name=name, body=patch)

    async def delete_pod(self, name: str, grace_seconds: int) -> None:
        """Begin to delete a Pod. With a grace of 0 the API server forgets it at once, whatever its node does."""
        options = {"gracePeriodSeconds": grace_seconds}
        await self._json(lambda client: _core(client).delete_namespaced_pod, name=name, body=options)

    async def pods(self, selector: str) -> Json:
        """Return the list of all Pods with these labels, as they are now."""
        listed: Json = await self._run(self.list_pods, selector)
        return listed

    def list_pods(self, selector: str) -> Json:
        """Return the same from a thread of the caller."""
        return self._read(lambda client: _core(client).list_namespaced_pod, label_selector=selector)

    def watch_pods(self, selector: str, version: str) -> Iterator[Json]:
        """Yield the changes of these Pods since a version until the API server ends the watch, in the caller's thread.

        Raises ResourceVersionGone.
        """
        answer = self._answer(
            lambda client: _core(client).list_namespaced_pod,
            timeout=WATCH_SILENCE_SECONDS,
            label_selector=selector,
            resource_version=version,
            watch=True,
            allow_watch_bookmarks=True,
            timeout_seconds=WATCH_SECONDS,
        )
        self._watch = answer
        try:
            with _translated(), closing(answer):
                rest = b""
                for piece in answer.stream(None):
                    *lines, rest = (rest + piece).split(b"\n")
                    for line in filter(None, lines):
                        yield _change(json.loads(line))
        finally:
            self._watch = None

    async def create_secret(self, secret: Json) -> Json:
        """Create a Secret."""
        return await self._json(lambda client: _core(client).create_namespaced_secret, body=secret)

    async def own_secret(self, name: str, pod: Json) -> None:
        """Have the cluster remove a Secret together with a Pod."""
        owner = {"apiVersion": "v1", "kind": "Pod", "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]}
        patch = {"metadata": {"ownerReferences": [owner]}}
        await self._json(lambda client: _core(client).patch_namespaced_secret, name=name, body=patch)

    async def delete_secret(self, name: str) -> None:
        """Delete a Secret, unless it is gone."""
        with suppress(KubernetesNotFound):
            await self._json(lambda client: _core(client).delete_namespaced_secret, name=name)

    async def secrets(self, selector: str) -> list[Json]:
        """Return the Secrets with these labels, without their content."""
        listed = await self._json(
            lambda client: _core(client).list_namespaced_secret, label_selector=selector, _headers=METADATA_ALONE
        )
        return list(listed["items"] or ())  # null in an empty list of this form

    async def log(self, name: str, lines: int) -> bytes:
        """Return the last lines that a Pod's container wrote, and of long ones the last ``TAIL_BYTES``."""
        content: bytes = await self._run(self._tail, name, lines)
        return content

    def _tail(self, name: str, lines: int) -> bytes:
        """Read all that the kubelet has of these lines: its own limit would leave out the end."""
        answer = self._answer(lambda client: _core(client).read_namespaced_pod_log, name=name, tail_lines=lines)
        tail = b""
        with _translated(), closing(answer):
            for piece in answer.stream(TAIL_BYTES):
                tail = (tail + piece)[-TAIL_BYTES:]
        return tail

    async def metrics(self, selector: str) -> list[Json]:
        """Return what the metrics server measured of these Pods. Raises KubernetesNotFound where there is none."""
        group, version = METRICS
        listed = await self._json(
            lambda client: kubernetes.client.CustomObjectsApi(client).list_namespaced_custom_object,
            group=group,
            version=version,
            plural="pods",
            label_selector=selector,
        )
        return list(listed["items"])

    def nodes(self) -> list[Json]:
        """Return all nodes of the cluster, in the caller's thread."""
        answer = self._answer(lambda client: _core(client).list_node, namespaced=False)
        return list(json.loads(answer.data)["items"])

    async def _run(self, call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._pool, partial(call, *arguments, **named))

    async def _json(self, method: Method, **named: Any) -> Json:
        answer: Json = await self._run(self._read, method, **named)
        return answer

    def _read(self, method: Method, **named: Any) -> Json:
        with _translated():
            answer: Json = json.loads(self._bytes(method, **named))
            return answer

    def _bytes(self, method: Method, **named: Any) -> bytes:
        with _translated():
            return bytes(self._answer(method, **named).data)

    def _answer(
        self,
        method: Method,
        *,
        timeout: float = CALL_SECONDS,
        namespaced: bool = True,
        **named: Any,
    ) -> Any:
        """Return the library's raw response: its models would cost more time than the calls."""
        with _translated():
            call = method(self._connected())
            place = {"namespace": self._namespace} if namespaced else {}
            return call(**place, **named, _preload_content=False, _request_timeout=(CONNECT_SECONDS, timeout))

    def _connected(self) -> Any:
        with self._connecting:
            if self._client is None:
                self._client, self._namespace = _connect(self._settings)
            return self._client

    async def close(self) -> None:
        """Close the connections without waiting for calls that hang: each has a deadline."""
        self.end_watch()
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._client is not None:
            self._client.close()

    def end_watch(self) -> None:
        """End a watch that is under way in another thread."""
        if (watch := self._watch) is not None:
            with suppress(Exception):  # it ends at the same moment
                watch.shutdown()


def _core(client: Any) -> Any:
    return kubernetes.client.CoreV1Api(client)


def _connect(settings: KubernetesSettings) -> tuple[Any, str]:
    """Return a client for the configured cluster, and the namespace."""
    configuration = kubernetes.client.Configuration()
    configuration.retries = urllib3.Retry(0)  # the caller tries again, with deadlines of its own
    configuration.connection_pool_maxsize = MAX_THREADS + 1
    file = None if settings.kubeconfig is None else str(settings.kubeconfig)
    namespace = ""
    if file is None and not settings.context and NAMESPACE_FILE.exists():
        kubernetes.config.load_incluster_config(client_configuration=configuration)
        namespace = NAMESPACE_FILE.read_text(encoding="utf-8").strip()
    else:
        context = settings.context or None
        kubernetes.config.load_kube_config(file, context, client_configuration=configuration, persist_config=False)
        contexts, active = kubernetes.config.list_kube_config_contexts(file)
        chosen = next((known for known in contexts if known["name"] == context), active)
        namespace = chosen["context"].get("namespace", "")
    return kubernetes.client.ApiClient(configuration), settings.namespace or namespace or "default"


def _change(event: Json) -> Json:
    """Return a change of a watch. Raises ResourceVersionGone and BackendUnavailable for errors in its place."""
    if event["type"] != "ERROR":
        return event
    status = event["object"]
    if status.get("code") == 410:
        raise ResourceVersionGone
    raise unavailable(str(status.get("message", ""))[:MAX_REFUSAL_CHARACTERS])


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except ApiException as error:
        raise _refusal(error) from error
    except kubernetes.config.ConfigException as error:
        raise unavailable(f"the cluster's configuration cannot be used: {error}") from error
    except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        logger.debug("the API server does not answer", exc_info=error)
        raise unavailable() from error


def _refusal(error: Any) -> Exception:
    text = _text(error)
    if error.status == 410:
        return ResourceVersionGone()
    if error.status == 404:
        return KubernetesNotFound(text, 404)
    if error.status in AWAY_STATUSES or not error.status:
        return unavailable("the API server does not know these credentials" if error.status == 401 else text)
    return KubernetesRefused(text, error.status)


def _text(error: Any) -> str:
    try:
        return str(json.loads(error.body)["message"])
    except (ValueError, TypeError, KeyError):
        return str(error.reason or "no reason given")
