"""Worker process that calls BentoCloud by BentoML's client and talks to its parent in lines of JSON.

The first line of its input has the token, which is in no environment and in no argument. Each further line is one call,
and is answered by one line: ``{"found": ...}``, or ``{"fault": kind, "text": why}``. It is a process of its own so that
BentoML is loaded nowhere else, the client's prints are discarded, and a call that hangs ends with the process.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final

import bentoml.deployment
import httpx
from bentoml.cloud import BentoCloudClient
from bentoml.exceptions import BentoMLException, CloudRESTApiClientError, NotFound
from httpx_ws import WebSocketDisconnect, WebSocketUpgradeError

MISSING: Final = "missing"
REFUSED: Final = "refused"
UNAVAILABLE: Final = "unavailable"
BUILDER: Final = "yatai.ai/is-bento-image-builder"
UPLOAD: Final = "Failed to upload"
"""Beginning of the client's message for a failed upload; the message does not give the reason."""
LOG_SECONDS: Final = 2.0
"""Seconds for which a log is read: BentoCloud does not say where it ends."""
MAX_TEXT_CHARACTERS: Final = 400
"""Characters of an error's text that are passed on to the parent."""

Told = dict[str, Any]


class UnknownBentoError(BentoMLException):
    """The Bento is neither in the local store nor on BentoCloud."""


class Cloud:
    """The calls: each public method is a verb, and a line's ``asked`` are its arguments."""

    def __init__(self, endpoint: str, token: str, cluster: str | None, seconds: int) -> None:
        client: Any = BentoCloudClient  # a decorator hides its signature from type checkers
        self._client = client(api_key=token, endpoint=endpoint, timeout=seconds)
        self._scope: Told = {"cluster": cluster, "_cloud_client": self._client}

    def ping(self) -> str:
        """Return the name of the token's owner."""
        user = self._client.client.v1.get_current_user()
        return user.name if user else ""

    def instance_types(self) -> list[Told]:
        """Return the instance types of the cluster."""
        instance_types = self._client.deployment.list_instance_types(self._scope["cluster"])
        return [instance_type.to_dict() for instance_type in instance_types]

    def deployments(self) -> list[Told]:
        """Return all deployments; this answer does not have their URLs."""
        return [_described(deployment) for deployment in bentoml.deployment.list(**self._scope)]

    def get(self, name: str) -> Told:
        """Return one deployment with its URLs."""
        return _described(bentoml.deployment.get(name, **self._scope))

    def create(self, name: str, bento: str, **config: Any) -> Told:
        """Create a deployment; a Bento that BentoCloud lacks is uploaded first."""
        return _described(bentoml.deployment.create(name, bento=self._known_tag(bento), **config, **self._scope))

    def update(self, name: str, bento: str, **config: Any) -> Told:
        """Update a deployment; the same configuration starts one that was terminated.

        ``bentoml.deployment.start`` is not used, because it always fails: it does not verify what it creates.
        """
        return _described(bentoml.deployment.update(name, bento=self._known_tag(bento), **config, **self._scope))

    def terminate(self, name: str) -> Told:
        """End the deployment's replicas and keep its configuration."""
        return _described(bentoml.deployment.terminate(name, **self._scope))

    def delete(self, name: str) -> None:
        """Delete the deployment."""
        bentoml.deployment.delete(name, **self._scope)

    def pods(self, name: str) -> list[Told]:
        """Return name, service and readiness of each replica."""
        pods = self._client.client.v2.list_deployment_pods(name, self._scope["cluster"])
        return [
            {"name": pod.name, "service": pod.runner_name, "ready": pod.status.ready}
            for pod in pods
            if pod.labels.get(BUILDER) != "true"
        ]

    def log(self, name: str, lines: int) -> list[list[str]]:
        """Return the last lines of each replica with a readable log. Raises the first error when no log is readable."""
        deployment, pods = bentoml.deployment.get(name, **self._scope), self.pods(name)
        namespace = deployment._schema.kube_namespace
        with ThreadPoolExecutor(max(1, len(pods))) as threads:
            tails = list(threads.map(lambda pod: self._tail(deployment.cluster, namespace, pod["name"]), pods))
        logs = [tail[-lines:] for tail in tails if not isinstance(tail, Exception)]
        for tail in tails:
            if not logs and isinstance(tail, Exception) and fault(tail)[0] != MISSING:  # a pod that is gone has no log
                raise tail
        return logs

    def _tail(self, cluster: str, namespace: str, pod: str) -> list[str] | Exception:
        """Return the pod's log, or the error that kept it from being read, so that the other logs still are."""
        stop, output = threading.Event(), b""
        timer = threading.Timer(LOG_SECONDS, stop.set)
        timer.start()
        try:
            pieces = self._client.client.v2.tail_logs(
                cluster_name=cluster, namespace=namespace, pod_name=pod, stop_event=stop
            )
            for piece in pieces:
                output += base64.b64decode(piece)
        except WebSocketDisconnect:
            pass  # the pod ended, and its log is complete
        except Exception as error:
            if not output:
                return error
        finally:
            timer.cancel()
            stop.set()
        return output.decode(errors="replace").splitlines()

    def _known_tag(self, bento: str) -> Any:
        """Return the tag of a Bento that exists in the local store or on BentoCloud.

        The client would take any other name for a folder, and then for a module to import.
        """
        tag = bentoml.Tag.from_taglike(bento)
        try:
            bentoml.bentos.get(tag)
        except NotFound:
            self._require_on_cloud(tag)
        return tag

    def _require_on_cloud(self, tag: bentoml.Tag) -> None:
        try:
            self._client.bento.get(name=tag.name, version=tag.version)
        except NotFound as error:
            raise UnknownBentoError(f"the Bento {tag} is neither in the local store nor on BentoCloud") from error


def _described(deployment: Any) -> Told:
    """Return a deployment's description; without ``config`` when the client cannot read its configuration.

    An unreadable deployment must not hide the others.
    """
    try:
        described: Told = deployment.to_dict()
    except Exception:  # the client fails on canaries that its code does not foresee, with various errors
        urls = {"endpoint_urls": deployment._urls or []}
        status = {"status": deployment._schema.status}
        identity = {"name": deployment.name, "created_at": deployment.created_at}
        described = {**identity, "status": status, "config": None, **urls}
    labels = {label.key: label.value for label in deployment._schema.labels or ()}
    return {"urls": [], **described, "labels": labels}


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the error and its causes: the client reports every failure before a deployment as invalid input."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def fault(error: Exception) -> tuple[str, str]:
    """Return the kind of an error, and its text for the parent."""
    for cause in _causes(error):
        if isinstance(cause, UnknownBentoError):
            return REFUSED, cause.message
        if isinstance(cause, NotFound):
            return MISSING, cause.message
        if isinstance(cause, CloudRESTApiClientError | WebSocketUpgradeError):
            return _http_fault(*_http_answer(cause))
        if isinstance(cause, httpx.TransportError):
            return UNAVAILABLE, type(cause).__name__
    if isinstance(error, BentoMLException):
        return (UNAVAILABLE if error.message.startswith(UPLOAD) else REFUSED), error.message
    return UNAVAILABLE, f"{type(error).__name__}: its answer cannot be read"


def _http_answer(error: CloudRESTApiClientError | WebSocketUpgradeError) -> tuple[int, str]:
    if isinstance(error, WebSocketUpgradeError):
        return error.response.status_code, f"it answers {error.response.status_code}"
    return int(error.error_code), error.message


def _http_fault(status: int, text: str) -> tuple[str, str]:
    if status == 404:
        return MISSING, text
    if status in (401, 403):
        return UNAVAILABLE, "the token is refused"
    if status in (408, 429) or not 400 <= status < 500:
        return UNAVAILABLE, f"it answers {status}"
    return REFUSED, text


def main() -> None:
    """Answer calls until the parent closes the pipe."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 1)  # the client draws its progress there
    configuration = json.loads(sys.stdin.readline())
    cloud = Cloud(**configuration)
    for line in sys.stdin:
        answers.write(json.dumps(_answer(cloud, configuration["token"], **json.loads(line))) + "\n")
        answers.flush()


def _answer(cloud: Cloud, token: str, verb: str, seconds: int, asked: Told) -> Told:
    signal.alarm(seconds)  # ends this process if the parent is gone by then
    work: Callable[..., Any] = getattr(cloud, verb)
    try:
        return {"found": work(**asked)}
    except Exception as error:
        kind, text = fault(error)
        shown = "".join(letter if letter.isprintable() else " " for letter in text.replace(token, "***"))
        return {"fault": kind, "text": shown[:MAX_TEXT_CHARACTERS]}
    finally:
        signal.alarm(0)


if __name__ == "__main__":
    with suppress(BrokenPipeError):
        main()
