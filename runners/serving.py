"""What every BentoML service of ours has in common: its configuration, its outermost layer, and how it is asked."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import aiohttp
import bentoml
from _bentoml_sdk import Service  # its public alias is typed as a decorator only
from bentoml.exceptions import BentoMLException
from starlette.routing import Match
from starlette.types import ASGIApp, Scope

from runners.contract import Infer, InferenceRequest, InferenceResult
from runners.edge import Edge, Limits, configure_access_log
from runners.errors import ModelUnavailable
from runners.machine import cores, gpus
from runners.native import CHECKED_INFER, INFER
from runners.reading import MAX_REQUEST_BYTES
from runners.settings import settings
from runners.slow_headers import limit_header_time

# Nothing is sent anywhere, however a service is started. BentoML understands no other word for yes.
os.environ["BENTOML_DO_NOT_TRACK"] = "True"

MIB: Final = 1024 * 1024
BODY_BYTES: Final = 24 * MIB  # an image of 16 MiB as base64 in JSON, and the rest of its request
LIST_BYTES: Final = MAX_REQUEST_BYTES  # a list of images
TRUSTED_BYTES: Final = 2 * LIST_BYTES  # the same list, downloaded, with what BentoML puts around it
HEADER_SECONDS: Final = 10.0
PROBE_SECONDS: Final = 1.0
MODELS: Final = 2  # that share the machine in one server


class EdgedService(Service[Any]):  # type: ignore[misc]
    """A BentoML service inside our outermost layer, instead of behind BentoML's metrics and timeout layers."""

    def to_asgi(self, is_main: bool = True) -> ASGIApp:
        """The application that ``bentoml serve`` runs; a service that another one depends on is not ``is_main``."""
        configure_access_log()
        limit_header_time(HEADER_SECONDS)
        app = super().to_asgi(is_main=is_main)
        return Edge(
            app,
            name=self.name,
            routes=_routes_of(app),
            limits=limits(trusted=not is_main),
            rewrites={INFER: CHECKED_INFER},
            hidden=frozenset({CHECKED_INFER}),
            trusted=not is_main,
        )


def limits(*, trusted: bool) -> Limits:
    """How much and how long a caller may ask, from the settings; a batch from our own front door has been counted."""
    return Limits(
        body_bytes=TRUSTED_BYTES if trusted else BODY_BYTES,
        body_bytes_of={} if trusted else dict.fromkeys((INFER, "/classify/batch", "/embed/batch"), LIST_BYTES),
        request_seconds=settings().request_seconds,
        body_seconds=settings().body_seconds,
        seconds_of={"/readyz": PROBE_SECONDS},
    )


def _routes_of(app: Any) -> Callable[[Scope], bool]:
    def known(scope: Scope) -> bool:
        return any(route.matches(scope)[0] is not Match.NONE for route in app.router.routes)

    return known


def configuration(port: int) -> dict[str, Any]:
    """The arguments of ``@bentoml.service`` that all our services share."""
    return {
        "service_class": EdgedService,
        "http": {"port": port},
        # Our own deadline answers first; BentoML's would leave the work running and its slot free.
        "traffic": {"timeout": int(settings().request_seconds + settings().body_seconds) + 60},
        # BentoML's client closes its session under the calls in flight after every 100 requests or 300 seconds:
        # one call in ten fails under load (bentoml issue 5540). So the session is never renewed.
        "runner_connection": {"max_requests": 1_000_000_000, "max_age": 1e9},
        # A path with %0a forges lines in BentoML's access log; the outermost layer writes one of its own.
        "logging": {"access": {"enabled": False}},
    }


def resources() -> dict[str, float]:
    """What a model asks for: a GPU of its own where there are enough, else a part of one; on a CPU nothing."""
    if not gpus():
        return {}
    return {"gpu": 1 if gpus() >= MODELS else gpus() / MODELS}


def threads() -> int:
    """CPU threads of a model beside the others; each taking every core would only make them wait for one another."""
    return settings().threads or max(1, cores() // MODELS)


def own_infer() -> Infer:
    """Asks the service that this process is, through its batcher."""
    return _asking(lambda: bentoml.get_current_service().to_async.infer)


def dependency_infer(name: str) -> Infer:
    """Asks the service that this process's service depends on under the attribute ``name``."""
    return _asking(lambda: getattr(bentoml.get_current_service(), name).to_async.infer)


def _asking(find: Callable[[], Callable[..., Awaitable[list[InferenceResult]]]]) -> Infer:
    async def infer(requests: Sequence[InferenceRequest]) -> list[InferenceResult]:
        try:
            return await find()(requests=list(requests))
        except (BentoMLException, aiohttp.ClientError, TimeoutError) as error:
            raise ModelUnavailable("the model does not answer; try again") from error

    return infer


async def own_ready() -> bool:
    """Whether this process's service has its instance: it is made, and warmed up, before any request is taken."""
    return bentoml.get_current_service() is not None


def dependency_ready(name: str) -> Callable[[], Awaitable[bool]]:
    """Asks the service under the attribute ``name`` whether it is ready."""

    async def ready() -> bool:
        return bool(await getattr(bentoml.get_current_service(), name).is_ready())

    return ready
