"""A process of its own that speaks to BentoCloud by BentoML's client, and to its parent by lines of JSON.

The first line that it reads has the token: it is in no environment, and in no argument. Each further line asks for one
thing, and is answered by one line: ``{"found": ...}``, or ``{"fault": kind, "text": why}``. It stands alone, so that
BentoML is loaded here only, whatever the client prints goes nowhere, and a call that hangs ends with its process.
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
"""How the client begins to tell that a model could not be sent: for which reason, it leaves out."""
LOG_SECONDS: Final = 2.0
"""That are given to a log: its end cannot be asked for."""
LONGEST_TEXT: Final = 400

Told = dict[str, Any]


class UnknownBentoError(BentoMLException):
    """It is neither here nor there."""


class Cloud:
    """What can be asked for: each method is one, its arguments are the line's."""

    def __init__(self, endpoint: str, token: str, cluster: str | None, seconds: int) -> None:
        client: Any = BentoCloudClient  # its own signature is hidden from type checkers
        self._client = client(api_key=token, endpoint=endpoint, timeout=seconds)
        self._where: Told = {"cluster": cluster, "_cloud_client": self._client}

    def ping(self) -> str:
        """Whose token it is."""
        user = self._client.client.v1.get_current_user()
        return user.name if user else ""

    def instance_types(self) -> list[Told]:
        """Those of the cluster."""
        found = self._client.deployment.list_instance_types(self._where["cluster"])
        return [one.to_dict() for one in found]

    def deployments(self) -> list[Told]:
        """Every deployment; where they are reached is not among it."""
        return [_told(one) for one in bentoml.deployment.list(**self._where)]

    def get(self, name: str) -> Told:
        """One deployment."""
        return _told(bentoml.deployment.get(name, **self._where))

    def create(self, name: str, bento: str, **config: Any) -> Told:
        """A new deployment; its Bento is sent there first, if it is not there."""
        return _told(bentoml.deployment.create(name, bento=self._known(bento), **config, **self._where))

    def update(self, name: str, bento: str, **config: Any) -> Told:
        """The deployment with another configuration, or the same: that starts one which was terminated.

        ``bentoml.deployment.start`` would do that, too, if it did not fail always: it does not verify what it makes.
        """
        return _told(bentoml.deployment.update(name, bento=self._known(bento), **config, **self._where))

    def terminate(self, name: str) -> Told:
        """Its replicas are ended."""
        return _told(bentoml.deployment.terminate(name, **self._where))

    def delete(self, name: str) -> None:
        """It is no more."""
        bentoml.deployment.delete(name, **self._where)

    def pods(self, name: str) -> list[Told]:
        """Its replicas: their names, and whether they answer."""
        found = self._client.client.v2.list_deployment_pods(name, self._where["cluster"])
        return [
            {"name": one.name, "service": one.runner_name, "ready": one.status.ready}
            for one in found
            if one.labels.get(BUILDER) != "true"
        ]

    def log(self, name: str, lines: int) -> list[list[str]]:
        """The last lines of each replica whose log can be read. Raises what went wrong where that is none."""
        deployment, pods = bentoml.deployment.get(name, **self._where), self.pods(name)
        space = deployment._schema.kube_namespace
        with ThreadPoolExecutor(max(1, len(pods))) as threads:
            tails = list(threads.map(lambda one: self._tail(deployment.cluster, space, one["name"]), pods))
        read = [one[-lines:] for one in tails if not isinstance(one, Exception)]
        for one in tails:
            if not read and isinstance(one, Exception) and fault(one)[0] != MISSING:  # what is gone has no log
                raise one
        return read

    def _tail(self, cluster: str, namespace: str, pod: str) -> list[str] | Exception:
        """What it wrote, or why nobody can tell: one replica that ends must not be everybody's."""
        over, said = threading.Event(), b""
        timer = threading.Timer(LOG_SECONDS, over.set)
        timer.start()
        try:
            pieces = self._client.client.v2.tail_logs(
                cluster_name=cluster, namespace=namespace, pod_name=pod, stop_event=over
            )
            for piece in pieces:
                said += base64.b64decode(piece)
        except WebSocketDisconnect:
            pass  # it ended, and has said all
        except Exception as error:
            if not said:
                return error
        finally:
            timer.cancel()
            over.set()
        return said.decode(errors="replace").splitlines()

    def _known(self, bento: str) -> Any:
        """The tag of a Bento that is here, or there.

        Of any other name the client would make one: it takes it for a folder, then for a module to import.
        """
        tag = bentoml.Tag.from_taglike(bento)
        try:
            bentoml.bentos.get(tag)
        except NotFound:
            self._there(tag)
        return tag

    def _there(self, tag: bentoml.Tag) -> None:
        try:
            self._client.bento.get(name=tag.name, version=tag.version)
        except NotFound as error:
            raise UnknownBentoError(f"the Bento {tag} is neither in the store here nor on BentoCloud") from error


def _told(deployment: Any) -> Told:
    """A deployment without what nobody needs here; one whose configuration cannot be read hides no other."""
    try:
        told: Told = deployment.to_dict()
    except Exception:  # the client fails at some canaries: at whatever its code did not foresee
        urls = {"endpoint_urls": deployment._urls or []}
        status = {"status": deployment._schema.status}
        told = {"name": deployment.name, "created_at": deployment.created_at, "status": status, "config": None, **urls}
    labels = {one.key: one.value for one in deployment._schema.labels or ()}
    return {"urls": [], **told, "labels": labels}


def _faults(error: BaseException | None) -> Iterator[BaseException]:
    """It, and what it came from: the client says of everything that happens before a deployment that it is invalid."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def fault(error: Exception) -> tuple[str, str]:
    """The kind of an error, and what there is to say about it."""
    for one in _faults(error):
        if isinstance(one, UnknownBentoError):
            return REFUSED, one.message
        if isinstance(one, NotFound):
            return MISSING, one.message
        if isinstance(one, CloudRESTApiClientError | WebSocketUpgradeError):
            return _answered(*_answer_of(one))
        if isinstance(one, httpx.TransportError):
            return UNAVAILABLE, type(one).__name__
    if isinstance(error, BentoMLException):
        return (UNAVAILABLE if error.message.startswith(UPLOAD) else REFUSED), error.message
    return UNAVAILABLE, f"{type(error).__name__}: its answer cannot be read"


def _answer_of(error: CloudRESTApiClientError | WebSocketUpgradeError) -> tuple[int, str]:
    if isinstance(error, WebSocketUpgradeError):
        return error.response.status_code, f"it answers {error.response.status_code}"
    return int(error.error_code), error.message


def _answered(status: int, text: str) -> tuple[str, str]:
    if status == 404:
        return MISSING, text
    if status in (401, 403):
        return UNAVAILABLE, "the token is refused"
    if status in (408, 429) or not 400 <= status < 500:
        return UNAVAILABLE, f"it answers {status}"
    return REFUSED, text


def main() -> None:
    """Until the parent is gone."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)  # the client draws its progress there
    told = json.loads(sys.stdin.readline())
    cloud = Cloud(**told)
    for line in sys.stdin:
        answers.write(json.dumps(_answer(cloud, told["token"], **json.loads(line))) + "\n")
        answers.flush()


def _answer(cloud: Cloud, token: str, verb: str, seconds: int, asked: Told) -> Told:
    signal.alarm(seconds)  # ends this process, should the parent be gone by then
    work: Callable[..., Any] = getattr(cloud, verb)
    try:
        return {"found": work(**asked)}
    except Exception as error:
        kind, text = fault(error)
        shown = "".join(one if one.isprintable() else " " for one in text.replace(token, "***"))
        return {"fault": kind, "text": shown[:LONGEST_TEXT]}
    finally:
        signal.alarm(0)


if __name__ == "__main__":
    with suppress(BrokenPipeError):
        main()
